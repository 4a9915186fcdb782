// The documents of an image: its configuration (image-spec, config.md), the manifests and index of an OCI
// layout (manifest.md, image-index.md), and the manifest.json of a `docker save` archive. They come from
// strangers: every field is checked before it is used.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/json.h"
#include "base/names.h"
#include "base/status.h"
#include "oci/platform.h"

namespace stasis::oci {

// As many layers as Docker allows; overlayfs itself stops at 500.
inline constexpr size_t kMaxLayers = 127;

struct ImageConfig {
  Platform platform;  // as it says; any part may be empty
  absl::Time created = absl::InfinitePast();
  std::vector<Digest> layers;  // rootfs.diff_ids, lowest first

  // What a container is made with unless it says otherwise.
  std::vector<std::string> env;
  std::vector<std::string> cmd;
  std::vector<std::string> entrypoint;
  std::string working_dir;
  std::string user;
  std::string stop_signal;
  std::map<std::string, std::string> labels;
  std::vector<std::string> exposed_ports;  // "80/tcp"
  std::vector<std::string> volumes;        // absolute paths
};

// Labels are copied into the records and the events of every container: bytes of all names and values.
inline constexpr size_t kMaxLabels = 64 << 10;
// kInvalidArgument when they have more.
Status CheckLabels(const std::map<std::string, std::string>& labels);

// kInvalidArgument names the field. Labels beyond kMaxLabels and documents of more than 16384 values (an
// entry of a list is one) are refused. An image of another os than linux is refused: image operating system
// "windows" cannot be used on this platform.
StatusOr<ImageConfig> ReadImageConfig(const Json& config);

// One image of a docker-archive.
struct ArchiveImage {
  std::string config;               // path in the archive
  std::vector<std::string> tags;    // as written, not normalized
  std::vector<std::string> layers;  // paths in the archive, lowest first
};
StatusOr<std::vector<ArchiveImage>> ReadArchiveManifest(const Json& manifest);

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  std::map<std::string, std::string> annotations;
  std::string architecture;  // of `platform`, or empty
  std::string os;
};
// The manifests that an image index lists.
StatusOr<std::vector<Descriptor>> ReadImageIndex(const Json& index);

struct ImageManifest {
  Descriptor config;
  std::vector<Descriptor> layers;
};
StatusOr<ImageManifest> ReadImageManifest(const Json& manifest);

// Whether a descriptor's media type is that of an index, which lists manifests.
bool IsImageIndex(const Descriptor& descriptor);

}  // namespace stasis::oci
