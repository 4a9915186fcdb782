// The names of the files of a checkpoint's archive, in the order in which they stand in it.
#pragma once

#include <cstdint>
#include <string>

#include "manifest/manifest.h"

namespace stasis::transfer {

inline constexpr char kHeadFile[] = "stasis-checkpoint.json";
// Then manifest.json and manifest.sha256, as in a checkpoint's directory; then, where it has a layer:
inline constexpr char kLayerFile[] = "layer.json";
// Each of the manifest's files.
inline std::string FilePath(const ManifestFile& file) { return "files/" + file.name; }
// Each regular file of the layer, counted from 0 in the order of its entries.
inline std::string LayerPath(uint64_t number) { return "layer/" + std::to_string(number); }

}  // namespace stasis::transfer
