// What the image routes ask of the engine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "backend/containers.h"
#include "backend/streams.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::backend {

struct ImageSummary {
  std::string id;
  std::vector<std::string> tags;
  int64_t created = 0;  // seconds since 1970
  int64_t size = 0;
  std::map<std::string, std::string> labels;
  int64_t containers = 0;
};

struct ImageDetails {
  std::string id;
  std::vector<std::string> tags;
  std::string comment;
  std::string author;
  absl::Time created = absl::InfinitePast();
  std::string architecture;
  std::string os;
  std::string variant;
  int64_t size = 0;
  Json config = Json::object();            // `config` of the image-spec document
  Json container_config = Json::object();  // `container_config`: what Docker's builds before BuildKit leave
  std::vector<std::string> layers;
};

struct ImageRemoval {
  std::vector<std::string> untagged;
  std::vector<std::string> deleted;
};

struct ImageImport {
  std::string reference = {};  // empty: it has no name
  std::string message = {};
  std::vector<std::string> changes = {};  // Dockerfile lines
  std::string platform = {};              // "os[/architecture[/variant]]"; empty: this machine's
};

class ImageBackend {
 public:
  virtual ~ImageBackend() = default;

  // Messages for the client, one line each.
  using OnMessage = std::function<void(const std::string& line)>;

  virtual Status LoadImages(const ByteSource& body, const OnMessage& on_message, std::stop_token cancel) = 0;
  // Returns the id of the new image.
  virtual StatusOr<std::string> ImportImage(const ByteSource& body, const ImageImport& request,
                                            std::stop_token cancel) = 0;
  virtual StatusOr<std::vector<ImageSummary>> ListImages(bool all, const Filters& filters) = 0;
  virtual StatusOr<ImageDetails> InspectImage(const std::string& image) = 0;
  virtual StatusOr<ImageRemoval> RemoveImage(const std::string& image, bool force) = 0;
  virtual Status TagImage(const std::string& image, const std::string& reference) = 0;
};

}  // namespace stasis::backend
