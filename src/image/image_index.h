// Which images there are, and what they are called: images.json and the configurations it names.
//
//   DIR/images.json          {"version": 1, "images": [{"id": ..., "size": ..., "tags": [...], "layers":
//   [...]}]},
//                            written durably; what earlier programs wrote has no "layers"
//   DIR/content/sha256/HEX   configurations
//
// An image that cannot be read stays in the list, with what the list says of it.
//
// For one thread at a time: ImageStore holds its lock.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "image/image_store.h"
#include "image/layer_store.h"

namespace stasis::image {

class ImageIndex {
 public:
  // As ImageStore::Open.
  static StatusOr<std::unique_ptr<ImageIndex>> Open(const std::string& directory, const LayerStore& layers,
                                                    bool recover);

  std::vector<Image> List() const;  // newest first
  // See ImageStore::Find.
  StatusOr<Image> Find(const std::string& reference_or_id) const;
  const Image* Get(const Digest& id) const;
  const Image* Tagged(const std::string& reference) const;
  // Whether List tells every layer that is needed.
  bool KnowsAllLayers() const;

  // Each is durable when it returns; on failure nothing is changed. A tag is taken from the image that had
  // it.
  Status Add(const Image& image, const std::string& config_text);
  Status Tag(const Digest& id, const std::string& reference);
  Status Untag(const Digest& id, const std::vector<std::string>& references);
  Status Remove(const Digest& id);

 private:
  using Images = std::map<Digest, Image>;
  explicit ImageIndex(std::string directory) : directory_(std::move(directory)) {}
  Status ReadList(const LayerStore& layers);
  // Lists the configurations that are there, without tags.
  Status ListContent(const LayerStore& layers);
  // kInvalidArgument: `record` does not even name an image.
  StatusOr<Image> ReadImage(const Json& record, const LayerStore& layers) const;
  StatusOr<Image> ReadWhole(const Digest& id, const LayerStore& layers) const;
  std::string ContentPath(const Digest& id) const;
  Status Write(Images images);

  const std::string directory_;
  Images images_;
  Json unreadable_ = Json::array();  // entries of the list that name no image; they are written back
};

// The image as its configuration describes it, without tags and size. kInvalidArgument for a bad
// configuration.
StatusOr<Image> ImageFromConfig(const std::string& config_text);

}  // namespace stasis::image
