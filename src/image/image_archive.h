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
  std::string config_text;        // its sha256 is the image's id
  std::vector<std::string> tags;  // normalized
  struct LayerFile {
    std::string path;              // in the archive
    std::optional<Digest> digest;  // of the file as it is, where the archive says it
  };
  std::vector<LayerFile> layers;  // one for each that the configuration names
};

class ImageArchive {
 public:
  // Reads the stream into a directory of its own below `spool`; it is removed with this object.
  // kInvalidArgument: not a tar, a hostile name, too many entries, files (their holes too) of more than
  // kMaxUncompressed bytes in all or than the disk has free.
  static StatusOr<std::unique_ptr<ImageArchive>> Spool(const ReadBytes& read, const std::string& spool,
                                                       std::stop_token cancel);

  // What it holds, by its manifest.json (`docker save`) or, without one, its index.json (OCI layout; of an
  // index of several platforms, this machine's). A configuration that is listed more than once is one image
  // with all the tags. kInvalidArgument also for configurations of more than 1 MiB, or 16 MiB in all.
  StatusOr<std::vector<ArchivedImage>> Images(const std::stop_token& cancel) const;

  // A layer's bytes as they are. Checks them against the digest first, where there is one.
  StatusOr<ReadBytes> OpenLayer(const ArchivedImage::LayerFile& layer, const std::stop_token& cancel) const;

 private:
  struct File {
    std::string stored;  // its name in the spool directory
    std::string link;    // or the path it stands for
  };

  // What Images has read so far.
  struct Found {
    std::vector<ArchivedImage> images;
    std::map<std::string, size_t> by_config;  // where in `images`, by the name in the spool directory
    size_t config_bytes = 0;
  };

  ImageArchive(TemporaryDirectory directory, uint64_t limit)
      : directory_(std::move(directory)), left_(limit) {}
  Status Take(class TarReader& tar, const struct TarEntry& entry);
  Status TakeContent(TarReader& tar, const TarEntry& entry, const std::string& stored);
  StatusOr<std::string> Locate(const std::string& path) const;
  bool Has(const std::string& path) const { return files_.contains(path); }
  StatusOr<std::string> ReadDocument(const std::string& path, size_t limit) const;
  StatusOr<std::string> ReadBlob(const oci::Descriptor& descriptor) const;
  Status FindDockerImages(const std::stop_token& cancel, Found* found) const;
  Status FindLayoutImages(const std::stop_token& cancel, Found* found) const;
  Status FindLayoutImage(const oci::Descriptor& descriptor, Found* found) const;
  StatusOr<oci::Descriptor> ForThisMachine(oci::Descriptor descriptor) const;
  Status Add(const std::string& config, const std::optional<Digest>& digest, ArchivedImage image,
             Found* found) const;

  TemporaryDirectory directory_;
  uint64_t left_;  // bytes that files may still have
  std::map<std::string, File> files_;
};

}  // namespace stasis::image
