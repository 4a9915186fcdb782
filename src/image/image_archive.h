// The archive of `docker load`, spooled to disk: its manifest may be the last entry, so it is first written
// out whole.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "image/image_store.h"
#include "linux/files.h"
#include "oci/image_config.h"

namespace stasis::image {

// One image of an archive, checked as far as it can be without unpacking its layers.
struct ArchivedImage {
  std::string config_text;  // its sha256 is the image's id
  oci::ImageConfig config;
  std::vector<std::string> tags;  // normalized
  struct LayerFile {
    std::string path;              // in the archive
    std::optional<Digest> digest;  // of the file as it is, where the archive says it
  };
  std::vector<LayerFile> layers;  // one for each of config.layers
};

class ImageArchive {
 public:
  // Reads the stream into a directory of its own below `spool`; it is removed with this object.
  // kInvalidArgument: not a tar, a hostile name, too many entries.
  static StatusOr<std::unique_ptr<ImageArchive>> Spool(const ReadBytes& read, const std::string& spool,
                                                       std::stop_token cancel);

  // What it holds, by its manifest.json (`docker save`) or, without one, its index.json (OCI layout; of an
  // index of several platforms, this machine's).
  StatusOr<std::vector<ArchivedImage>> Images() const;

  // A layer's bytes as they are. Checks them against the digest first, where there is one.
  StatusOr<ReadBytes> OpenLayer(const ArchivedImage::LayerFile& layer) const;

 private:
  struct File {
    std::string stored;  // its name in the spool directory
    std::string link;    // or the path it stands for
  };

  explicit ImageArchive(TemporaryDirectory directory) : directory_(std::move(directory)) {}
  Status Take(class TarReader& tar, const struct TarEntry& entry);
  StatusOr<std::string> Locate(const std::string& path) const;
  bool Has(const std::string& path) const { return files_.contains(path); }
  StatusOr<std::string> ReadDocument(const std::string& path) const;
  StatusOr<std::string> ReadBlob(const oci::Descriptor& descriptor) const;
  StatusOr<std::vector<ArchivedImage>> DockerImages() const;
  StatusOr<std::vector<ArchivedImage>> LayoutImages() const;
  StatusOr<ArchivedImage> LayoutImage(const oci::Descriptor& descriptor) const;
  StatusOr<oci::Descriptor> ForThisMachine(oci::Descriptor descriptor) const;

  TemporaryDirectory directory_;
  std::map<std::string, File> files_;
};

}  // namespace stasis::image
