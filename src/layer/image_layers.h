// The layers of an image as one tree, as overlayfs shows them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "layer/entry.h"
#include "linux/unique_fd.h"

namespace stasis::layer {

// Thread-safe.
class ImageLayers {
 public:
  // Their directories, the highest first.
  static StatusOr<ImageLayers> Open(const std::vector<std::string>& directories);

  // The file at "a/b", as Look has it; nothing: there is none.
  StatusOr<std::optional<Entry>> Find(const std::string& path) const;

 private:
  explicit ImageLayers(std::vector<UniqueFd> layers) : layers_(std::move(layers)) {}

  std::vector<UniqueFd> layers_;
};

}  // namespace stasis::layer
