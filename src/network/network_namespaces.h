// The network namespaces of containers: made by the engine, pinned under the state directory, given to the
// runtime by path. A namespace that is the engine's is external to CRIU: nothing of it is dumped or locked,
// and a restored container finds its addresses and connections where it left them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/names.h"
#include "base/status.h"

namespace stasis::network {

enum class ModeKind {
  kOwn,        // "", "default", "bridge", "none": an own namespace with loopback
  kHost,       // "host"
  kContainer,  // "container:NAME"
};

struct Mode {
  ModeKind kind = ModeKind::kOwn;
  std::string container;  // kContainer: as the user wrote it
};

// HostConfig.NetworkMode. kInvalidArgument "network %s not found: ..." for a network of any other name: those
// are a later issue's. (The docker CLI takes a 404 of create for a missing image.)
StatusOr<Mode> ParseMode(std::string_view network_mode);

// Thread-safe for different containers; one call at a time for each.
class NetworkNamespaces {
 public:
  // `directory` (STATE/netns) is made where it is missing.
  static StatusOr<NetworkNamespaces> Open(const std::string& directory);

  // Where a container's own namespace is pinned, whether it is there or not.
  std::string PathOf(const ContainerId& container) const;
  // Makes it, loopback up, with these sysctls ("net.*"): neither CRIU nor `runc restore` writes any. One that
  // is pinned there already is kept as it is, so that what was checkpointed in it comes back to it.
  Status Ensure(const ContainerId& container, const std::map<std::string, std::string>& sysctls = {});
  // Idempotent. Who still runs in it keeps it.
  Status Remove(const ContainerId& container);
  // Removes the pins of containers that `keep` does not want. For the engine's start.
  template <typename Keep>
  Status RemoveOthers(const Keep& keep);

 private:
  explicit NetworkNamespaces(std::string directory) : directory_(std::move(directory)) {}
  StatusOr<std::vector<ContainerId>> List() const;
  std::string directory_;
};

template <typename Keep>
Status NetworkNamespaces::RemoveOthers(const Keep& keep) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<ContainerId> containers, List());
  for (const ContainerId& container : containers) {
    if (keep(container)) continue;
    STASIS_RETURN_IF_ERROR(Remove(container));
  }
  return {};
}

}  // namespace stasis::network
