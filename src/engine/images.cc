// Images: the store does the work, the engine says who needs them.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"

namespace stasis::engine {
namespace {

constexpr size_t kShortId = 12;

std::map<std::string, std::string> LabelsOf(const image::Image& image) {
  std::map<std::string, std::string> labels;
  if (!image.config->contains("config")) return labels;
  const Json& config = (*image.config)["config"];
  if (!config.is_object() || !config.contains("Labels") || !config["Labels"].is_object()) return labels;
  for (const auto& [name, value] : config["Labels"].items()) {
    if (value.is_string()) labels[name] = value.get<std::string>();
  }
  return labels;
}

bool HasLabel(const std::map<std::string, std::string>& labels, const std::string& wanted) {
  const size_t equals = wanted.find('=');
  const auto found = labels.find(wanted.substr(0, equals));
  return found != labels.end() && (equals == std::string::npos || found->second == wanted.substr(equals + 1));
}

// `*` stands for any text without a slash.
bool MatchesReference(const std::string& tag, const std::string& pattern) {
  const size_t colon = tag.rfind(':');
  const auto glob = [](std::string_view text, std::string_view glob_text, auto&& self) -> bool {
    if (glob_text.empty()) return text.empty();
    if (glob_text[0] == '*') {
      return self(text, glob_text.substr(1), self) ||
             (!text.empty() && text[0] != '/' && self(text.substr(1), glob_text, self));
    }
    return !text.empty() && text[0] == glob_text[0] && self(text.substr(1), glob_text.substr(1), self);
  };
  if (pattern.size() > 256 || std::count(pattern.begin(), pattern.end(), '*') > 4) return false;
  return glob(tag, pattern, glob) || glob(tag.substr(0, colon), pattern, glob);
}

StatusOr<bool> Chosen(const image::Image& image, const backend::Filters& filters) {
  for (const auto& [name, values] : filters) {
    const auto any = [&, &all = values](const auto& matches) {
      return all.empty() || std::any_of(all.begin(), all.end(), matches);
    };
    bool match = false;
    if (name == "reference") {
      match = any([&](const std::string& pattern) {
        return std::any_of(image.tags.begin(), image.tags.end(),
                           [&](const std::string& tag) { return MatchesReference(tag, pattern); });
      });
    } else if (name == "label") {
      const auto labels = LabelsOf(image);
      match = std::all_of(values.begin(), values.end(),
                          [&](const std::string& label) { return HasLabel(labels, label); });
    } else if (name == "dangling") {
      match = any(
          [&](const std::string& value) { return image.tags.empty() == (value == "true" || value == "1"); });
    } else {
      return InvalidArgument("invalid filter '" + name + "'");
    }
    if (!match) return false;
  }
  return true;
}

std::string TextOf(const Json& object, const char* field) {
  if (!object.is_object() || !object.contains(field) || !object[field].is_string()) return "";
  return object[field].get<std::string>();
}

}  // namespace

void Engine::EmitImageEvent(const std::string& action, const std::string& id, const std::string& name) {
  backend::EventMessage event;
  event.type = "image";
  event.action = action;
  event.actor_id = id;
  event.attributes = {{"name", name}};
  event.at = absl::Now();
  Emit(std::move(event));
}

Status Engine::LoadImages(const backend::ByteSource& body, const OnMessage& on_message,
                          std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<image::Image> loaded,
                          images_->Load(body, on_message, std::move(cancel)));
  for (const image::Image& image : loaded) {
    EmitImageEvent("load", image.id.str(), image.tags.empty() ? image.id.str() : image.tags.front());
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
  EmitImageEvent("import", image.id.str(), request.reference.empty() ? image.id.str() : request.reference);
  return image.id.str();
}

StatusOr<std::vector<backend::ImageSummary>> Engine::ListImages(bool all, const backend::Filters& filters) {
  (void)all;  // there are no intermediate images
  std::map<std::string, int64_t> users;
  for (const ContainerRef& container : containers_.All()) ++users[container->Record().image_id];
  std::vector<backend::ImageSummary> summaries;
  for (const image::Image& image : images_->List()) {
    STASIS_ASSIGN_OR_RETURN(const bool chosen, Chosen(image, filters));
    if (!chosen) continue;
    backend::ImageSummary summary;
    summary.id = image.id.str();
    summary.tags = image.tags;
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
  details.comment = TextOf(*image.config, "comment");
  details.author = TextOf(*image.config, "author");
  details.created = image.created;
  details.architecture = image.platform.architecture;
  details.os = image.platform.os;
  details.variant = image.platform.variant;
  details.size = static_cast<int64_t>(image.size);
  if (image.config->contains("config")) details.config = (*image.config)["config"];
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
  STASIS_ASSIGN_OR_RETURN(const image::RemoveResult result,
                          images_->Remove(reference, force, [&](const image::Image& image) {
                            return CheckImageUnused(image, reference, force);
                          }));
  for (const std::string& tag : result.untagged) EmitImageEvent("untag", tag, tag);
  for (const std::string& digest : result.deleted) EmitImageEvent("delete", digest, digest);
  return backend::ImageRemoval{result.untagged, result.deleted};
}

Status Engine::TagImage(const std::string& reference, const std::string& tag) {
  STASIS_ASSIGN_OR_RETURN(const image::Image image, images_->Find(reference));
  STASIS_RETURN_IF_ERROR(images_->Tag(image.id, tag));
  EmitImageEvent("tag", image.id.str(), tag);
  return {};
}

}  // namespace stasis::engine
