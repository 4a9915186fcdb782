#include "cli/orphan.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "linux/files.h"
#include "linux/proc.h"

namespace stasis::cli {

StatusOr<Orphan> Orphan::FromPidFile(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadFile(path, 64));
  STASIS_ASSIGN_OR_RETURN(ProcessHandle process, ProcessHandle::Open(std::atoi(text.c_str())));
  return Orphan(std::move(process));
}

Orphan::~Orphan() {
  if (process_->fd() < 0) return;  // moved from
  process_->Signal(SIGKILL).IgnoreError();
  process_->WaitEnded(After(std::chrono::seconds(5)), {}).IgnoreError();
  ::waitpid(process_->pid(), nullptr, WNOHANG);
}

void EndChildren() {
  const Deadline deadline = After(std::chrono::seconds(5));
  for (;;) {
    const std::vector<pid_t> children = ListChildren(::getpid());
    if (children.empty() || std::chrono::steady_clock::now() >= deadline) return;
    for (const pid_t child : children) {
      auto process = ProcessHandle::Open(child);
      if (!process.ok()) continue;
      process->Signal(SIGKILL).IgnoreError();
      process->WaitEnded(deadline, {}).IgnoreError();
      ::waitpid(child, nullptr, WNOHANG);
    }
  }
}

}  // namespace stasis::cli
