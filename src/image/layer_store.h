// Layers, each unpacked once into a directory named by its diff id, and the short links that mounts name them
// by:
//
//   DIR/HEX/{diff,size,link}   diff: the tree; size: its bytes in decimal; link: the short link's name
//   DIR/l/SHORT                -> ../HEX/diff
//   DIR/.aside-*               being unpacked; removed by Open
//
// A layer is there whole or not at all, also after a crash: it is unpacked aside, its file system is synced,
// and it is renamed. Thread-safe: two that unpack the same layer both succeed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "image/image_store.h"

namespace stasis::image {

struct Layer {
  Digest diff_id;
  uint64_t size = 0;  // bytes of all regular files
};

class LayerStore {
 public:
  // Makes the directory where it is missing.
  static StatusOr<std::unique_ptr<LayerStore>> Open(const std::string& directory);

  // The layer, or nothing when it is not here.
  std::optional<Layer> Find(const Digest& diff_id) const;

  // Unpacks a tar (plain or compressed). kInvalidArgument when `expected` is given and the archive's own is
  // another.
  StatusOr<Layer> Unpack(const ReadBytes& read, const std::optional<Digest>& expected,
                         std::stop_token cancel) const;

  // Removes it from sight and returns the path where it is now, for the caller to remove: that takes longer.
  // The caller knows that no mount uses it.
  StatusOr<std::string> Hide(const Digest& diff_id) const;
  // All that are here.
  StatusOr<std::vector<Digest>> List() const;

  // The lowerdir= option of overlayfs, to be used with directory() as working directory: short, so that 127
  // layers fit into a mount's page of options and into the line of mountinfo that CRIU reads. Highest layer
  // first, as overlayfs wants; a layer that comes twice is named once, at its highest place, which looks the
  // same. Never empty: no layers at all are an empty directory.
  StatusOr<std::string> LowerDirectories(const std::vector<Digest>& layers) const;

  const std::string& directory() const { return directory_; }

 private:
  explicit LayerStore(std::string directory) : directory_(std::move(directory)) {}
  std::string PathOf(const Digest& diff_id) const;
  Status RemoveHalfMade() const;
  Status Publish(const std::string& aside, int root, const Layer& layer) const;

  const std::string directory_;
};

}  // namespace stasis::image
