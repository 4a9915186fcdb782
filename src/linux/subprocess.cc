#include "linux/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstdlib>

#include "linux/cancel.h"
#include "linux/files.h"
#include "linux/unix_socket.h"

namespace stasis {
namespace {

constexpr size_t kErrorTail = 8192;
constexpr std::chrono::seconds kKilledEnds{10};
constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// One captured stream: a pipe whose read end never blocks.
class Capture {
 public:
  static StatusOr<Capture> Create() {
    Capture capture;
    STASIS_ASSIGN_OR_RETURN(capture.pipe_, MakePipe());
    if (::fcntl(capture.read_end(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError(errno, "fcntl");
    return capture;
  }
  int read_end() const { return pipe_.read_end.get(); }
  int write_end() const { return pipe_.write_end.get(); }
  void CloseWriteEnd() { pipe_.write_end.reset(); }

  // Hands what is there to `keep`. Never more than a full pipe in one call: a grandchild may write without
  // end.
  template <typename Keep>
  void Drain(Keep keep) {
    constexpr size_t kFullPipe = 1 << 20;  // the most an unprivileged F_SETPIPE_SZ makes it
    char buffer[16384];
    for (size_t total = 0; pipe_.read_end.valid() && total < kFullPipe;) {
      ssize_t got = ::read(read_end(), buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return pipe_.read_end.reset();
      keep(std::string_view(buffer, static_cast<size_t>(got)));
      total += static_cast<size_t>(got);
    }
  }

 private:
  Pipe pipe_;
};

// A child whose end, output and limits are watched by one poll loop.
class Watcher {
 public:
  Watcher(const Command& command, const RunLimits& limits) : command_(command), limits_(limits) {}
  StatusOr<CommandResult> Run();

 private:
  Status Start();
  Status Loop(int cancel_fd);
  void Drain();
  // Moves from running to SIGTERM sent to SIGKILL sent.
  void EndIt(Status why);

  Command command_;  // a copy: the captured descriptors are put into it
  const RunLimits& limits_;
  UniqueFd input_;
  std::optional<Capture> output_, error_;
  std::optional<Child> child_;
  CommandResult result_;
  Status ended_by_us_;
  Deadline next_signal_ = kNoDeadline;
  bool killed_ = false;
};

// A file in memory, not a pipe: nothing to feed, and no SIGPIPE where the child does not read it all.
StatusOr<UniqueFd> MakeInput(const std::string& input) {
  UniqueFd file(::memfd_create("stdin", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoError(errno, "memfd_create");
  STASIS_RETURN_IF_ERROR(WriteAll(file.get(), input));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return ErrnoError(errno, "lseek");
  return file;
}

Status Watcher::Start() {
  if (!command_.input.empty()) {
    STASIS_ASSIGN_OR_RETURN(input_, MakeInput(command_.input));
    command_.fds[0] = input_.get();
  }
  if (!command_.fds.contains(1)) {
    STASIS_ASSIGN_OR_RETURN(output_, Capture::Create());
    command_.fds[1] = output_->write_end();
  }
  if (!command_.fds.contains(2)) {
    STASIS_ASSIGN_OR_RETURN(error_, Capture::Create());
    command_.fds[2] = error_->write_end();
  }
  STASIS_ASSIGN_OR_RETURN(child_, Spawn(command_));
  if (output_) output_->CloseWriteEnd();
  if (error_) error_->CloseWriteEnd();
  return absl::OkStatus();
}

void Watcher::Drain() {
  if (output_) {
    output_->Drain([this](std::string_view bytes) {
      result_.output.append(bytes.substr(0, limits_.output_limit - result_.output.size()));
    });
  }
  if (error_) {
    error_->Drain([this](std::string_view bytes) {
      std::string& tail = result_.error_tail;
      tail.append(bytes);
      if (tail.size() > kErrorTail) tail.erase(0, tail.size() - kErrorTail);
    });
  }
}

void Watcher::EndIt(Status why) {
  if (ended_by_us_.ok()) {
    ended_by_us_ = std::move(why);
    next_signal_ = After(limits_.grace);
    child_->process().Signal(SIGTERM).IgnoreError();  // it may end by itself meanwhile
  } else if (!killed_) {
    killed_ = true;
    next_signal_ = kNoDeadline;
    child_->process().Signal(SIGKILL).IgnoreError();
  }
}

Status Watcher::Loop(int cancel_fd) {
  next_signal_ = limits_.deadline;
  for (;;) {
    pollfd polled[4] = {{child_->process().fd(), POLLIN, 0},
                        {ended_by_us_.ok() ? cancel_fd : -1, POLLIN, 0},
                        {output_ ? output_->read_end() : -1, POLLIN, 0},
                        {error_ ? error_->read_end() : -1, POLLIN, 0}};
    if (::poll(polled, 4, PollTimeout(next_signal_)) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    Drain();
    if (polled[0].revents) return absl::OkStatus();
    if (polled[1].revents) {
      EndIt(Cancelled(command_.argv[0] + ": cancelled"));
    } else if (std::chrono::steady_clock::now() >= next_signal_) {
      EndIt(DeadlineExceeded(command_.argv[0] + ": timed out"));
    }
  }
}

StatusOr<CommandResult> Watcher::Run() {
  STASIS_ASSIGN_OR_RETURN(auto cancel, CancelFd::Create(limits_.cancel));
  STASIS_RETURN_IF_ERROR(Start());
  STASIS_RETURN_IF_ERROR(Loop(cancel->get()));
  Drain();  // what it wrote between the last look and its end
  STASIS_ASSIGN_OR_RETURN(result_.exit, child_->Wait(kNoDeadline, {}));
  if (!ended_by_us_.ok()) return ended_by_us_;
  return std::move(result_);
}

}  // namespace

std::map<std::string, std::string> BaseEnvironment(std::map<std::string, std::string> overrides) {
  const char* path = ::getenv("PATH");
  overrides.emplace("PATH", path && *path ? path : kDefaultPath);
  return overrides;
}

StatusOr<CommandResult> Run(const Command& command, const RunLimits& limits) {
  if (limits.cancel.stop_requested()) return Cancelled("cancelled before the start of a program");
  return Watcher(command, limits).Run();
}

Child::Child(Child&& other) noexcept
    : process_(std::move(other.process_)), owned_(std::exchange(other.owned_, false)) {}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(process_, other.process_);
  std::swap(owned_, other.owned_);
  return *this;
}

Child::~Child() { Kill(); }

StatusOr<ExitStatus> Child::Wait(Deadline deadline, std::stop_token cancel) {
  if (!owned_) return FailedPrecondition("wait for a child that was reaped or handed over");
  STASIS_RETURN_IF_ERROR(process_->WaitEnded(deadline, std::move(cancel)));
  return Reap();
}

StatusOr<ExitStatus> Child::Reap() {
  siginfo_t info = {};
  int rc;
  do {
    // By pidfd: whoever reaps orphans beside us cannot make us reap another process of the same number.
    rc = ::waitid(P_PIDFD, static_cast<id_t>(process_->fd()), &info, WEXITED);
  } while (rc != 0 && errno == EINTR);
  owned_ = false;
  if (rc != 0) return ErrnoError(errno, "waitid " + std::to_string(process_->pid()));
  if (info.si_code == CLD_EXITED) return ExitStatus{.code = info.si_status, .signal = 0};
  return ExitStatus{.code = 0, .signal = info.si_status};
}

void Child::Kill() {
  if (!owned_) return;
  process_->Signal(SIGKILL).IgnoreError();  // already ended: only reaped
  // One that waits for a dead disk does not end: it must not hold us up too.
  if (process_->WaitEnded(After(kKilledEnds), {}).ok()) return Reap().IgnoreError();
  owned_ = false;
}

ProcessHandle Child::Detach() && {
  owned_ = false;
  return *std::move(process_);
}

Status SetChildSubreaper() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return ErrnoError(errno, "PR_SET_CHILD_SUBREAPER");
  return absl::OkStatus();
}

}  // namespace stasis
