#include "layer/capture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "layer/look.h"
#include "linux/files.h"
#include "linux/inside_root.h"
#include "store/stream_writer.h"

namespace stasis::layer {
namespace {

// More than the steps in which the kernel counts file times.
constexpr int64_t kTick = 20'000'000;  // ns
constexpr time_t kLongAfter = 4'000'000'000;

int64_t Nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

timespec Now() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now;
}

// Whether any change after `moment` would show in its times.
bool IsSettled(const Entry& entry, const timespec& moment) {
  const int64_t last = std::max(Nanoseconds(entry.changed), Nanoseconds(entry.modified));
  return Nanoseconds(moment) - last > kTick;
}

// In /proc/PID/maps a newline is written as "\\012", and a backslash as itself.
std::string WithNewlines(std::string path) {
  constexpr std::string_view kEscaped = "\\012";
  for (size_t at = 0; (at = path.find(kEscaped, at)) != path.npos; ++at)
    path.replace(at, kEscaped.size(), "\n");
  return path;
}

}  // namespace

Capture::Capture(UniqueFd directory, store::Writer* writer, OnBytes on_bytes, MappedFiles mapped)
    : directory_(std::move(directory)),
      writer_(writer),
      on_bytes_(std::move(on_bytes)),
      mapped_(std::move(mapped)) {}

Status Capture::StartFrom(std::vector<Entry> earlier) {
  for (Entry& entry : earlier) {
    if (!entry.IsRegular()) continue;
    // It may be collected meanwhile: then it is read again.
    STASIS_ASSIGN_OR_RETURN(const bool there, writer_->Adopt(entry.content));
    if (!there) continue;
    Known known{std::move(entry), {}};
    known.asked_at.tv_sec = kLongAfter;  // else Finish would have left out its inode
    known_.emplace(known.entry.path, std::move(known));
  }
  return absl::OkStatus();
}

bool Capture::IsKnown(const Entry& now, const Known& known) const {
  return IsUnchanged(now, known.entry) && !ever_mapped_.contains(now.inode) && IsSettled(now, known.asked_at);
}

std::set<uint64_t> Capture::FindMapped() const {
  std::set<uint64_t> inodes;
  for (const std::string& path : mapped_()) {
    for (const std::string& name : {path, WithNewlines(path)}) {
      // One that is not there is of the image or of a volume, or has been renamed since, which its times
      // show.
      const auto file = OpenBeneath(directory_.get(), name, O_PATH | O_NOFOLLOW);
      struct stat info;
      if (file.ok() && ::fstat(file->get(), &info) == 0) inodes.insert(info.st_ino);
    }
  }
  return inodes;
}

StatusOr<bool> Capture::ReadContent(int directory, const std::string& name, Entry* entry,
                                    const std::stop_token& cancel) {
  uint64_t size = 0;
  const auto file = OpenRegular(directory, name, &size);
  if (HasGone(GetErrno(file.status()))) return false;
  if (!file.ok()) return file.status();
  auto content = store::AddFile(writer_, file->get(), size, on_bytes_, cancel);
  if (!content.ok()) return Annotate(content.status(), entry->path);
  entry->content = *content;
  known_[entry->path] = {*entry, asked_at_};
  return true;
}

StatusOr<bool> Capture::Take(int directory, const std::string& name, Entry entry,
                             const std::stop_token& cancel) {
  if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
  if (entries_.size() == kMaxEntries) return Internal("the container has too many files to save");
  if (S_ISREG(entry.mode)) {
    const auto [first, is_first] = hard_links_.emplace(entry.inode, entry.path);
    if (!is_first) entry.hard_link = first->second;
  }
  // Of links the kernel has no attributes of users, and what security modules put there comes back by itself.
  if (!S_ISLNK(entry.mode) && entry.hard_link.empty()) {
    STASIS_ASSIGN_OR_RETURN(entry.attributes, ReadAttributes(directory, name));
  }
  if (entry.IsRegular()) {
    const auto known = known_.find(entry.path);
    if (known != known_.end() && IsKnown(entry, known->second)) {
      entry.content = known->second.entry.content;
    } else {
      STASIS_ASSIGN_OR_RETURN(const bool read, ReadContent(directory, name, &entry, cancel));
      if (!read) return false;
    }
  }
  entries_.push_back(std::move(entry));
  return true;
}

Status Capture::Read(const std::stop_token& cancel) {
  entries_.clear();
  hard_links_.clear();
  asked_at_ = Now();
  mapped_now_ = FindMapped();
  ever_mapped_.insert(mapped_now_.begin(), mapped_now_.end());
  return WalkLayer(directory_.get(), "saved", [&](int directory, const std::string& name, Entry entry) {
    return Take(directory, name, std::move(entry), cancel);
  });
}

Status Capture::Finish(const std::stop_token& cancel) {
  STASIS_RETURN_IF_ERROR(Read(cancel));
  for (Entry& entry : entries_) {
    if (!IsSettled(entry, asked_at_) || mapped_now_.contains(entry.inode)) entry.inode = 0;
  }
  return absl::OkStatus();
}

uint64_t Capture::bytes() const {
  uint64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.IsRegular() ? entry.content.size : 0;
  return bytes;
}

namespace {

// Of a directory its entries tell, not its times: CRIU itself makes and removes some in /tmp.
StatusOr<bool> IsSame(int directory, const std::string& name, const Entry& entry, const Entry& captured) {
  if (!S_ISDIR(entry.mode)) return IsUnchanged(entry, captured);
  if (entry.path != captured.path || entry.mode != captured.mode || entry.user != captured.user ||
      entry.group != captured.group)
    return false;
  STASIS_ASSIGN_OR_RETURN(const auto attributes, ReadAttributes(directory, name));
  return attributes == captured.attributes;
}

}  // namespace

StatusOr<bool> IsAsCaptured(int directory, const std::vector<Entry>& captured,
                            const std::stop_token& cancel) {
  // Both are in the same order.
  size_t next = 0;
  bool same = true;
  const auto compare = [&](int parent, const std::string& name, Entry entry) -> StatusOr<bool> {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    same = next < captured.size();
    if (same) {
      const Entry& expected = captured[next++];
      // A hard link's entry has no content of its own.
      if (!expected.hard_link.empty()) entry.content.size = 0;
      STASIS_ASSIGN_OR_RETURN(same, IsSame(parent, name, entry, expected));
    }
    if (!same) return MakeError(StatusCode::kAborted, "it differs");  // nothing more to look at
    return true;
  };
  const Status walked = WalkLayer(directory, "compared", compare);
  if (!same) return false;
  STASIS_RETURN_IF_ERROR(walked);
  return next == captured.size();
}

}  // namespace stasis::layer
