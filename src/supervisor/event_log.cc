#include "supervisor/event_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "linux/files.h"
#include "linux/regular_file.h"

namespace stasis::supervisor {
namespace {

// One line of the file: an event with its source, or the source alone (a mark, which says how far a shim's
// events were logged when the events themselves have been cut away).
std::string EventLine(const types::Event& event, const EventSource& source) {
  Json line = {{"type", event.type()},
               {"id", event.id()},
               {"pid", event.pid()},
               {"status", event.status()},
               {"timestamp", absl::ToUnixNanos(FromProto(event.timestamp()))},
               {"at", absl::ToUnixNanos(FromProto(event.at()))},
               {"oom_killed", event.oom_killed()},
               {"reason", event.reason()},
               {"shim", source.shim},
               {"sequence", source.sequence}};
  return DumpJson(line) + "\n";
}

std::string MarkLine(const std::string& shim, uint64_t sequence) {
  return DumpJson({{"shim", shim}, {"sequence", sequence}}) + "\n";
}

struct Line {
  types::Event event;  // without type: a mark
  EventSource source;
};

StatusOr<Line> ParseLine(std::string_view text) {
  STASIS_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  if (!json.is_object()) return DataLoss("not an object");
  Line line;
  std::string type, id, pid, reason;
  uint32_t status = 0;
  int64_t timestamp = 0, at = 0;
  bool oom_killed = false;
  JsonReader reader(json);
  reader.Get("type", &type);
  reader.Get("id", &id);
  reader.Get("pid", &pid);
  reader.Get("status", &status);
  reader.Get("timestamp", &timestamp);
  reader.Get("at", &at);
  reader.Get("oom_killed", &oom_killed);
  reader.Get("reason", &reason);
  reader.Get("shim", &line.source.shim);
  reader.Get("sequence", &line.source.sequence);
  STASIS_RETURN_IF_ERROR(reader.status());
  line.event.set_type(type);
  line.event.set_id(id);
  line.event.set_pid(pid);
  line.event.set_status(status);
  line.event.set_oom_killed(oom_killed);
  line.event.set_reason(reason);
  ToProto(absl::FromUnixNanos(timestamp), line.event.mutable_timestamp());
  ToProto(absl::FromUnixNanos(at), line.event.mutable_at());
  return line;
}

}  // namespace

absl::Time FromProto(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

void ToProto(absl::Time time, google::protobuf::Timestamp* out) {
  int64_t seconds = absl::ToUnixSeconds(time);  // rounds down
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

StatusOr<std::unique_ptr<EventLog>> EventLog::Open(const std::string& path, Limits limits) {
  std::unique_ptr<EventLog> log(new EventLog(path, limits));
  STASIS_RETURN_IF_ERROR(Annotate(log->Load(), "event log " + path));
  return log;
}

Status EventLog::Load() {
  std::string text;
  if (Exists(path_)) {
    STASIS_ASSIGN_OR_RETURN(text, ReadFile(path_, 2 * limits_.max_bytes + (1 << 20)));
  }
  bool damaged = false;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) {  // the writer was killed within the line
      damaged = true;
      break;
    }
    std::string_view raw(text.data() + begin, end - begin);
    begin = end + 1;
    StatusOr<Line> line = ParseLine(raw);
    if (!line.ok()) {
      damaged = true;
      continue;
    }
    Note(line->source);
    if (line->event.type().empty()) continue;
    last_time_ = std::max(last_time_, FromProto(line->event.timestamp()));
    absl::Time time = FromProto(line->event.timestamp());
    entries_.push_back({std::move(line->event), time, raw.size() + 1});
  }
  if (damaged) {  // writes only whole lines
    STASIS_RETURN_IF_ERROR(CutToHalf());
  }
  STASIS_ASSIGN_OR_RETURN(file_, OpenRegularFile(path_, O_WRONLY | O_CREAT | O_APPEND, 0600));
  off_t size = ::lseek(file_.get(), 0, SEEK_END);
  if (size < 0) return ErrnoError(errno, "lseek");
  file_bytes_ = static_cast<size_t>(size);
  return {};
}

Status EventLog::Append(types::Event event, const EventSource& source) {
  std::lock_guard lock(mutex_);
  if (auto last = sequences_.find(source.shim); last != sequences_.end()) {
    if (source.sequence != 0 && source.sequence <= last->second) return {};
  }
  absl::Time time = std::max(absl::Now(), last_time_ + absl::Nanoseconds(1));
  time = absl::FromUnixNanos(absl::ToUnixNanos(time));  // what the file and the wire can hold
  if (time <= last_time_) time = last_time_ + absl::Nanoseconds(1);
  ToProto(time, event.mutable_timestamp());
  if (!event.has_at()) *event.mutable_at() = event.timestamp();

  std::string line = EventLine(event, source);
  if (Status status = WriteAll(file_.get(), line); !status.ok()) {
    // A part of the line may stand there; it must not run into the next.
    [[maybe_unused]] int ignored = ::ftruncate(file_.get(), static_cast<off_t>(file_bytes_));
    return Annotate(status, "event log " + path_);
  }
  file_bytes_ += line.size();
  Note(source);
  last_time_ = time;
  entries_.push_back({std::move(event), time, line.size()});
  grown_.notify_all();
  // The event is logged whether or not the file could be cut; if not, the next event tries again.
  if (file_bytes_ > limits_.max_bytes) CutToHalf().IgnoreError();
  return {};
}

void EventLog::Note(const EventSource& source) {
  if (source.sequence == 0) return;
  uint64_t& last = sequences_[source.shim];
  last = std::max(last, source.sequence);
}

// Rewrites the file with the younger half of what it may hold, behind a mark for every shim.
Status EventLog::CutToHalf() {
  size_t kept = 0;
  auto from = entries_.end();
  while (from != entries_.begin() && kept + std::prev(from)->bytes <= limits_.max_bytes / 2) {
    --from;
    kept += from->bytes;
  }
  std::string text;
  for (const auto& [shim, sequence] : sequences_) text += MarkLine(shim, sequence);
  for (auto entry = from; entry != entries_.end(); ++entry) text += EventLine(entry->event, EventSource());
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(path_, text));
  first_ += static_cast<uint64_t>(from - entries_.begin());
  entries_.erase(entries_.begin(), from);
  STASIS_ASSIGN_OR_RETURN(file_, OpenRegularFile(path_, O_WRONLY | O_APPEND));
  file_bytes_ = text.size();
  return {};
}

uint64_t EventLog::LastSequence(const std::string& shim) const {
  std::lock_guard lock(mutex_);
  auto found = sequences_.find(shim);
  return found == sequences_.end() ? 0 : found->second;
}

void EventLog::Forget(const std::string& shim) {
  std::lock_guard lock(mutex_);
  sequences_.erase(shim);
}

uint64_t EventLog::End() const {
  std::lock_guard lock(mutex_);
  return first_ + entries_.size();
}

uint64_t EventLog::FirstAfter(absl::Time time) const {
  std::lock_guard lock(mutex_);
  auto found = std::upper_bound(entries_.begin(), entries_.end(), time,
                                [](absl::Time wanted, const Entry& entry) { return wanted < entry.time; });
  return first_ + static_cast<uint64_t>(found - entries_.begin());
}

StatusOr<std::optional<types::Event>> EventLog::Next(uint64_t position, Deadline deadline) const {
  std::unique_lock lock(mutex_);
  bool there = grown_.wait_until(lock, deadline, [&] { return position < first_ + entries_.size(); });
  if (!there) return std::nullopt;
  if (position < first_) return MakeError(StatusCode::kResourceExhausted, "events before these are not kept");
  return entries_[position - first_].event;
}

}  // namespace stasis::supervisor
