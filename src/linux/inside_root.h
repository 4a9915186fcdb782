// Paths that a stranger chose, resolved as if ROOT were "/": openat2(2) with RESOLVE_IN_ROOT. A link to
// /etc/passwd in a container's root opens that root's own etc/passwd.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <stop_token>
#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

// open(2) below `root`, magic links refused. kAborted when the path keeps changing under us. Kernels without
// openat2 (before 5.6): kUnimplemented; there is no unsafe fallback.
StatusOr<UniqueFd> OpenInRoot(int root, const std::string& path, int flags, mode_t mode = 0);

// mkdir -p below `root`, through links as the container would see them. What it makes has this mode, whatever
// the umask. Needs time in proportion to the length of `path`. Returns the directory, opened O_PATH.
StatusOr<UniqueFd> MakeDirectoriesInRoot(int root, const std::string& path, mode_t mode,
                                         const std::stop_token& cancel);

// open(2) below `directory` that meets no link and no other mount on the way: the error then has errno ELOOP
// or EXDEV (GetErrno). For walking trees that a stranger filled.
StatusOr<UniqueFd> OpenBeneath(int directory, const std::string& path, int flags);

// Splits "a/b/c" into its parent "a/b" and name "c"; the parent of "c" is ".", of "/c" is "/".
// kInvalidArgument when the last part is empty, "." or "..".
struct ParentAndName {
  std::string parent;
  std::string name;
};
StatusOr<ParentAndName> SplitPath(const std::string& path);

}  // namespace stasis
