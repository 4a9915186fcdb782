#include "engine/log_reader.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "engine/log_entry.h"
#include "engine/log_files.h"
#include "linux/cancel.h"
#include "linux/clock.h"

namespace stasis::engine {
namespace {

constexpr size_t kBatch = 32 << 10;  // bytes handed to the sink at once

// Wakes a follower when something happens in the log's directory, when the container ends, or at the client's
// leaving.
class Waiter {
 public:
  static StatusOr<Waiter> Create(const std::string& log_path, std::stop_token ended, std::stop_token cancel) {
    Waiter waiter;
    waiter.inotify_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!waiter.inotify_.valid()) return ErrnoError(errno, "inotify_init1");
    const std::string directory = log_path.substr(0, log_path.rfind('/'));
    constexpr uint32_t kEvents = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_ONLYDIR;
    if (::inotify_add_watch(waiter.inotify_.get(), directory.c_str(), kEvents) < 0) {
      return ErrnoError(errno, "inotify_add_watch " + directory);
    }
    STASIS_ASSIGN_OR_RETURN(waiter.ended_, CancelFd::Create(std::move(ended)));
    STASIS_ASSIGN_OR_RETURN(waiter.cancel_, CancelFd::Create(std::move(cancel)));
    return waiter;
  }

  Status Wait(Deadline deadline) const {
    std::array<pollfd, 3> fds = {
        {{inotify_.get(), POLLIN, 0}, {ended_->get(), POLLIN, 0}, {cancel_->get(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), PollTimeout(deadline)) < 0 && errno != EINTR) {
      return ErrnoError(errno, "poll");
    }
    std::array<char, 8192> events{};
    while (::read(inotify_.get(), events.data(), events.size()) > 0) {  // what happened is looked up anew
    }
    return {};
  }

 private:
  UniqueFd inotify_;
  std::unique_ptr<CancelFd> ended_;
  std::unique_ptr<CancelFd> cancel_;
};

class Reading {
 public:
  Reading(const LogSource& source, const backend::LogOptions& options, const backend::ByteSink& sink,
          std::stop_token cancel)
      : source_(source), options_(options), sink_(sink), cancel_(std::move(cancel)) {}

  Status Run() {
    // Before the files are opened, so that nothing is missed between the two.
    std::optional<Waiter> waiter;
    if (options_.follow) {
      STASIS_ASSIGN_OR_RETURN(waiter, Waiter::Create(source_.path, source_.ended, cancel_));
    }
    const bool ended_before = source_.ended.stop_requested();
    STASIS_ASSIGN_OR_RETURN(std::vector<LogFile> files, OpenLogFiles(source_.path));
    if (options_.tail >= 0) {
      STASIS_RETURN_IF_ERROR(SeekToTail(&files, options_.tail));
    }
    for (LogFile& file : files) {
      STASIS_ASSIGN_OR_RETURN(const bool more, ReadToEnd(&file));
      if (!more) return Flush();
    }
    STASIS_RETURN_IF_ERROR(Flush());
    if (!waiter || ended_before) return {};
    std::optional<LogFile> current;
    if (!files.empty()) current = std::move(files.back());
    return Follow(*waiter, std::move(current));
  }

 private:
  Status Follow(const Waiter& waiter, std::optional<LogFile> current) {
    Deadline deadline = kNoDeadline;
    if (options_.until != absl::InfiniteFuture()) {
      deadline = After(absl::ToChronoMilliseconds(options_.until - absl::Now()));
    }
    while (!cancel_.stop_requested()) {
      const bool ended = source_.ended.stop_requested();  // asked first: then the reading below is the last
      STASIS_ASSIGN_OR_RETURN(const bool more, ReadWhatIsThere(&current));
      STASIS_RETURN_IF_ERROR(Flush());
      if (!more || ended || PollTimeout(deadline) == 0) return {};
      STASIS_RETURN_IF_ERROR(waiter.Wait(deadline));
    }
    return {};
  }

  // To the end of the current file, and on through those that came behind it.
  StatusOr<bool> ReadWhatIsThere(std::optional<LogFile>* current) {
    while (!cancel_.stop_requested()) {
      if (*current) {
        STASIS_ASSIGN_OR_RETURN(const bool more, ReadToEnd(&**current));
        if (!more) return false;
      }
      STASIS_ASSIGN_OR_RETURN(std::optional<LogFile> next,
                              OpenSuccessor(source_.path, *current ? (*current)->inode : 0));
      if (!next) return true;
      if (*current) {  // what was written between the last read and the rename
        STASIS_ASSIGN_OR_RETURN(const bool more, ReadToEnd(&**current));
        if (!more) return false;
      }
      *current = std::move(next);
    }
    return true;
  }

  // False: `until` is reached, or the client is gone.
  StatusOr<bool> ReadToEnd(LogFile* file) {
    return ReadLines(file, [&](std::string_view line) -> StatusOr<bool> {
      if (cancel_.stop_requested()) return false;
      const StatusOr<LogEntry> entry = ParseLogEntry(line);
      if (!entry.ok()) return true;  // half a line of a killed writer
      if (entry->at > options_.until) return false;
      if (!Wanted(*entry, options_)) return true;
      batch_ += Render(*entry, options_.timestamps, source_.raw, source_.attributes);
      if (batch_.size() >= kBatch) {
        STASIS_RETURN_IF_ERROR(Flush());
      }
      return true;
    });
  }

  Status Flush() {
    if (batch_.empty()) return {};
    const std::string bytes = std::move(batch_);
    batch_.clear();
    return sink_(bytes);
  }

  const LogSource& source_;
  const backend::LogOptions& options_;
  const backend::ByteSink& sink_;
  const std::stop_token cancel_;
  std::string batch_;
};

}  // namespace

Status ReadLog(const LogSource& source, const backend::LogOptions& options, const backend::ByteSink& sink,
               std::stop_token cancel) {
  return Reading(source, options, sink, std::move(cancel)).Run();
}

}  // namespace stasis::engine
