#include "cli/orphan.h"

#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>
#include <utility>

#include "linux/files.h"

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

}  // namespace stasis::cli
