#include "criu/posix_locks.h"

#include <fcntl.h>

#include <string>

#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"

namespace stasis::criu {
namespace {

constexpr char kImage[] = "filelocks.img";
constexpr uint32_t kPosix = 1;  // FL_POSIX, include/linux/filelock.h

}  // namespace

Status ListPosixLocks(int images) {
  auto reader = ImageReader::Open(images, kImage, kCommonMagic, kFileLocksMagic);
  if (absl::IsNotFound(reader.status())) return absl::OkStatus();
  if (!reader.ok()) return reader.status();
  std::string lines;
  while (!reader->AtEnd()) {
    images::FileLockEntry lock;
    STASIS_RETURN_IF_ERROR(reader->Next(&lock));
    if ((lock.flag() & kPosix) == 0) continue;
    lines += std::to_string(lock.pid()) + " " + std::to_string(lock.fd()) + " " +
             std::to_string(lock.type()) + " " + std::to_string(lock.start()) + " " +
             std::to_string(lock.len()) + "\n";
  }
  if (lines.empty()) return absl::OkStatus();
  STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFileAt(images, kPosixLocksFile,
                                                          O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  return WriteAllAt(file.get(), lines, 0);
}

}  // namespace stasis::criu
