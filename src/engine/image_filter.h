// The filters of `docker images`.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "backend/containers.h"
#include "base/status.h"
#include "image/image_store.h"

namespace stasis::engine {

// The labels of the image's configuration; a damaged image has its damage in "stasis.damaged" as well.
std::map<std::string, std::string> LabelsOf(const image::Image& image);

// Read once, asked for each image. Thread-compatible.
class ImageFilter {
 public:
  // Names of images in `before` and `since` are looked up by `find`, and must be there. kInvalidArgument,
  // with Docker's words: a filter that there is not, or a value that it does not take.
  static StatusOr<ImageFilter> Create(
      const backend::Filters& filters,
      const std::function<StatusOr<image::Image>(const std::string& reference)>& find);

  bool Matches(const image::Image& image) const;
  // Those of the image's tags that are listed: all, or where `reference` filters those that match.
  std::vector<std::string> TagsOf(const image::Image& image) const;

 private:
  std::vector<std::string> references_;
  std::vector<std::string> labels_;
  std::optional<bool> dangling_;
  std::optional<absl::Time> created_before_;
  std::optional<absl::Time> created_after_;
};

}  // namespace stasis::engine
