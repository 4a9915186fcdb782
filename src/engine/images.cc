// Images: the store does the work, the engine says who needs them.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "engine/engine.h"
#include "engine/image_filter.h"

namespace stasis::engine {
namespace {

constexpr size_t kShortId = 12;

std::string TextOf(const Json& object, const char* field) {
  if (!object.is_object() || !object.contains(field) || !object[field].is_string()) return "";
  return object[field].get<std::string>();
}

// Of the image itself, or of the step that made its last layer: `docker import -m` has it there.
std::string CommentOf(const Json& config) {
  const std::string comment = TextOf(config, "comment");
  if (!comment.empty() || !config.contains("history")) return comment;
  const Json& history = config["history"];
  return history.is_array() && !history.empty() ? TextOf(history.back(), "comment") : "";
}

}  // namespace

void Engine::EmitImageEvent(const std::string& action, const image::Image& image, const std::string& tag) {
  backend::EventMessage event;
  event.type = "image";
  event.action = action;
  event.actor_id = image.id.str();
  event.attributes = LabelsOf(image);
  event.attributes["name"] = tag.empty() ? image.id.str() : tag;
  event.at = absl::Now();
  Emit(std::move(event));
}

Status Engine::LoadImages(const backend::ByteSource& body, const OnMessage& on_message,
                          std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<image::Image> loaded,
                          images_->Load(body, on_message, std::move(cancel)));
  for (const image::Image& image : loaded) {
    EmitImageEvent("load", image);
  }
  return {};
}

StatusOr<std::string> Engine::ImportImage(const backend::ByteSource& body,
                                          const backend::ImageImport& request, std::stop_token cancel) {
  image::ImportOptions options = {request.reference, request.message, request.changes};
  if (!request.platform.empty()) {
    STASIS_ASSIGN_OR_RETURN(options.platform, oci::ParsePlatform(request.platform));
    if (options.platform.os != "linux") return InvalidArgument("operating system is not supported");
  }
  STASIS_ASSIGN_OR_RETURN(const image::Image image, images_->Import(body, options, std::move(cancel)));
  if (!request.reference.empty()) EmitImageEvent("tag", image, *image::NormalizeReference(request.reference));
  EmitImageEvent("import", image);
  return image.id.str();
}

StatusOr<std::vector<backend::ImageSummary>> Engine::ListImages(bool all, const backend::Filters& filters) {
  (void)all;  // there are no intermediate images
  std::map<std::string, int64_t> users;
  for (const ContainerRef& container : containers_.All()) ++users[container->Record().image_id];
  const auto find = [&](const std::string& reference) { return images_->Find(reference); };
  STASIS_ASSIGN_OR_RETURN(const ImageFilter filter, ImageFilter::Create(filters, find));
  std::vector<backend::ImageSummary> summaries;
  for (const image::Image& image : images_->List()) {
    if (!filter.Matches(image)) continue;
    backend::ImageSummary summary;
    summary.id = image.id.str();
    summary.tags = filter.TagsOf(image);
    summary.created = image.created == absl::InfinitePast() ? 0 : absl::ToUnixSeconds(image.created);
    summary.size = static_cast<int64_t>(image.size);
    summary.labels = LabelsOf(image);
    summary.containers = users[summary.id];
    summaries.push_back(std::move(summary));
  }
  std::sort(summaries.begin(), summaries.end(),
            [](const auto& a, const auto& b) { return a.created > b.created; });
  return summaries;
}

StatusOr<backend::ImageDetails> Engine::InspectImage(const std::string& reference) {
  STASIS_ASSIGN_OR_RETURN(const image::Image image, images_->Find(reference));
  backend::ImageDetails details;
  details.id = image.id.str();
  details.tags = image.tags;
  details.comment = image.damage.empty() ? CommentOf(*image.config)
                                         : "damaged (" + image.damage + "): load it again, or remove it";
  details.author = TextOf(*image.config, "author");
  details.created = image.created;
  details.architecture = image.platform.architecture;
  details.os = image.platform.os;
  details.variant = image.platform.variant;
  details.size = static_cast<int64_t>(image.size);
  if (image.config->contains("config")) details.config = (*image.config)["config"];
  if (image.config->contains("container_config")) {
    details.container_config = (*image.config)["container_config"];
  }
  for (const Digest& layer : image.layers) details.layers.push_back(layer.str());
  return details;
}

Status Engine::CheckImageUnused(const image::Image& image, const std::string& reference, bool force) const {
  const std::string hex = Hex(image.id);
  const bool by_id = hex.rfind(reference, 0) == 0 || image.id.str().rfind(reference, 0) == 0;
  for (const ContainerRef& container : containers_.All()) {
    const ContainerRecord record = container->Record();
    if (record.image_id != image.id.str()) continue;
    const std::string short_container = record.id.str().substr(0, kShortId);
    const std::string short_image = hex.substr(0, kShortId);
    if (IsAlive(record.state.phase)) {
      return FailedPrecondition("conflict: unable to delete " + (by_id ? short_image : reference) +
                                " (cannot be forced) - image is being used by running container " +
                                short_container);
    }
    // By force a tag goes all the same (the store sees to that), but never what a container stands on.
    if (by_id) {
      return FailedPrecondition("conflict: unable to delete " + short_image +
                                (force ? " (cannot be forced)" : " (must be forced)") +
                                " - image is being used by stopped container " + short_container);
    }
    return FailedPrecondition("conflict: unable to remove repository reference \"" + reference +
                              "\" (must force) - container " + short_container +
                              " is using its referenced image " + short_image);
  }
  return {};
}

StatusOr<backend::ImageRemoval> Engine::RemoveImage(const std::string& reference, bool force) {
  if (absl::StripAsciiWhitespace(reference).empty()) return InvalidArgument("image name cannot be blank");
  STASIS_ASSIGN_OR_RETURN(const image::RemoveResult result,
                          images_->Remove(reference, force, [&](const image::Image& image) {
                            return CheckImageUnused(image, reference, force);
                          }));
  for (size_t i = 0; i < result.untagged.size(); ++i) EmitImageEvent("untag", result.image);
  if (!result.deleted.empty()) EmitImageEvent("delete", result.image);
  return backend::ImageRemoval{result.untagged, result.deleted};
}

Status Engine::TagImage(const std::string& reference, const std::string& tag) {
  STASIS_ASSIGN_OR_RETURN(const image::Image image, images_->Find(reference));
  STASIS_RETURN_IF_ERROR(images_->Tag(image.id, tag));
  STASIS_ASSIGN_OR_RETURN(const std::string name, image::NormalizeReference(tag));
  EmitImageEvent("tag", image, name);
  return {};
}

}  // namespace stasis::engine
