#include "shim/shim_log.h"

#include <sys/stat.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "base/time.h"
#include "linux/files.h"

namespace stasis {

void ShimLog::Line(std::string_view text) {
  std::string line = ToLogTime(absl::Now()) + " ";
  for (char c : text.substr(0, 4096)) line += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  line += '\n';
  std::lock_guard lock(mutex_);
  struct stat info;
  if (::fstat(file_.get(), &info) == 0 && info.st_size > static_cast<off_t>(kMaxSize)) {
    if (::ftruncate(file_.get(), 0) != 0) return;
  }
  WriteAll(file_.get(), line).IgnoreError();  // nowhere to say it
}

void ShimLog::IfError(std::string_view what, const Status& status) {
  if (!status.ok()) Line(std::string(what) + ": " + Message(status));
}

}  // namespace stasis
