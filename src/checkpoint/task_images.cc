#include "checkpoint/task_images.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "linux/files.h"

namespace stasis::checkpoint {

StatusOr<TaskImages> TaskImages::Make() {
  const UniqueFd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context.valid()) return ErrnoError(errno, "open a tmpfs");
  if (::fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "0700", 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return ErrnoError(errno, "make a tmpfs");
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  if (!mount.valid()) return ErrnoError(errno, "mount a tmpfs");
  // That of the mount is a path only (O_PATH).
  STASIS_ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectoryAt(mount.get(), "."));
  return TaskImages(std::move(directory));
}

std::string TaskImages::path() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(directory_.get());
}

Status TaskImages::BringInto(int images) const {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory_.get()));
  for (const std::string& name : names) {
    STASIS_ASSIGN_OR_RETURN(const std::string bytes, ReadFileAt(directory_.get(), name));
    STASIS_ASSIGN_OR_RETURN(const UniqueFd image,
                            OpenFileAt(images, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    STASIS_RETURN_IF_ERROR(Annotate(WriteAll(image.get(), bytes), name));
  }
  return absl::OkStatus();
}

}  // namespace stasis::checkpoint
