// Who a container's process is: "user[:group]" by name or number, looked up in the texts of the image's own
// etc/passwd and etc/group (passwd(5), group(5)), never in the host's. image/root_user.h reads them from a
// root.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace stasis::oci {

struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> additional_gids;  // `gid` first, then the groups that list the user, each once
  std::string home = "/";
};

// An empty `spec` is root. A numeric user need not be listed; a name must. Without a group: the user's own,
// and those that list the user as a member; with one: that only. Lines that are malformed are skipped, as
// libc does. kInvalidArgument with Docker's messages: unable to find user x: no matching entries in passwd
// file; and for more groups than the 65536 that setgroups(2) takes.
StatusOr<User> ResolveUser(std::string_view spec, std::string_view passwd, std::string_view group);

// The id of a group named by name or number (--group-add). unable to find group x: no matching entries in
// group file.
StatusOr<uint32_t> ResolveGroup(std::string_view spec, std::string_view group);

}  // namespace stasis::oci
