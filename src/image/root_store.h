// The root file systems of containers: overlayfs over the layers of an image.
//
//   DIR/CONTAINER/layers   their number, then diff ids, one a line, lowest first: what `lower` is, whatever
//                          happens to the image
//   DIR/CONTAINER/{upper,work,merged}
//   DIR/CONTAINER/upper-replaced         what ReplaceUpper replaced, until it is kept or reverted
//   DIR/CONTAINER/upper-kept-TIME        what was replaced and kept; TIME: microseconds, 16 digits of hex
//
// Thread-safe for different containers; calls about one container come one at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "image/image_store.h"
#include "image/layer_store.h"

namespace stasis::image {

class RootStore {
 public:
  // Removes what a crash left half-made. Keeps a reference to `layers`.
  static StatusOr<std::unique_ptr<RootStore>> Open(const std::string& directory, const LayerStore& layers);

  // All idempotent. What Create makes is durable. A root of an earlier program whose list of layers a power
  // cut took gets it from the `layers` of Mount.
  bool Has(const ContainerId& container) const;
  Status Create(const ContainerId& container, const std::vector<Digest>& layers) const;
  StatusOr<std::string> Mount(const ContainerId& container, const std::vector<Digest>& layers) const;
  Status Unmount(const ContainerId& container) const;
  Status Remove(const ContainerId& container) const;
  // As image_store.h has them.
  Status ReplaceUpper(const ContainerId& container, const std::function<Status(int)>& fill) const;
  bool IsUpperReplaced(const ContainerId& container) const;
  Status KeepUpper(const ContainerId& container) const;
  StatusOr<std::vector<KeptUpper>> KeptUppers(const ContainerId& container) const;
  Status RemoveKeptUpper(const KeptUpper& kept) const;
  Status RevertUpper(const ContainerId& container) const;

  StatusOr<std::vector<std::string>> LowerDirectories(const ContainerId& container) const;
  StatusOr<std::vector<std::string>> LowerDirectories(const std::vector<Digest>& layers) const;
  std::string UpperDirectory(const ContainerId& container) const { return PathOf(container) + "/upper"; }

  // The layers that any root stands on. An error: a root's list of layers cannot be read.
  StatusOr<std::vector<Digest>> LayersInUse() const;

 private:
  RootStore(std::string directory, const LayerStore& layers)
      : directory_(std::move(directory)), layers_(layers) {}
  std::string PathOf(const ContainerId& container) const { return directory_ + "/" + container.str(); }
  StatusOr<std::vector<Digest>> ReadLayers(const std::string& container) const;
  Status Populate(const std::string& path, const std::vector<Digest>& layers) const;

  const std::string directory_;
  const LayerStore& layers_;
};

}  // namespace stasis::image
