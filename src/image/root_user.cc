#include "image/root_user.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "linux/files.h"
#include "linux/inside_root.h"

namespace stasis::image {
namespace {

constexpr size_t kMaxFile = 4 << 20;

StatusOr<std::string> ReadInRoot(const std::string& root, const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectory(root));
  // By O_PATH first: to open a device node does something to the device.
  auto found = OpenInRoot(directory.get(), path, O_PATH);
  int error = GetErrno(found.status());
  if (error == ENOENT || error == ENOTDIR) return std::string();
  if (!found.ok()) return found.status();
  struct stat info;
  if (::fstat(found->get(), &info) != 0) return ErrnoError(errno, "stat " + path);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path + " is not a regular file");
  StatusOr<std::string> text = ReadFile("/proc/self/fd/" + std::to_string(found->get()), kMaxFile);
  if (text.status().code() == StatusCode::kOutOfRange) return InvalidArgument(path + " is too large");
  return text;
}

}  // namespace

StatusOr<oci::User> ResolveUserInRoot(const std::string& root, const std::string& spec) {
  STASIS_ASSIGN_OR_RETURN(std::string passwd, ReadInRoot(root, "etc/passwd"));
  STASIS_ASSIGN_OR_RETURN(std::string group, ReadInRoot(root, "etc/group"));
  return oci::ResolveUser(spec, passwd, group);
}

StatusOr<uint32_t> ResolveGroupInRoot(const std::string& root, const std::string& spec) {
  STASIS_ASSIGN_OR_RETURN(std::string group, ReadInRoot(root, "etc/group"));
  return oci::ResolveGroup(spec, group);
}

}  // namespace stasis::image
