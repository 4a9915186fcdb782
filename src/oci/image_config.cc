#include "oci/image_config.h"

#include "base/time.h"

namespace stasis::oci {
namespace {

constexpr size_t kMaxImages = 1024;   // of one archive
constexpr size_t kMaxValues = 16384;  // of one configuration

// A value takes a hundred bytes, and work later on, where its text may have two. ParseJson bounds the depth.
size_t CountValues(const Json& value) {
  size_t count = 1;
  if (!value.is_structured()) return count;
  for (const Json& item : value) count += CountValues(item);
  return count;
}

Status CheckNoNul(const char* field, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    if (text.find('\0') != std::string::npos) return InvalidArgument(std::string(field) + ": a NUL byte");
  }
  return absl::OkStatus();
}

StatusOr<std::map<std::string, std::string>> ReadTexts(const JsonReader& reader, const char* field) {
  std::map<std::string, std::string> out;
  const Json* object = reader.Find(field);
  if (!object) return out;
  if (!object->is_object()) return InvalidArgument(std::string(field) + ": want an object");
  for (const auto& [key, value] : object->items()) {
    if (!value.is_string()) return InvalidArgument(std::string(field) + "." + key + ": want a string");
    out[key] = value.get<std::string>();
  }
  return out;
}

// A set is written as an object with empty values: {"80/tcp": {}}.
StatusOr<std::vector<std::string>> ReadKeys(const JsonReader& reader, const char* field) {
  std::vector<std::string> out;
  const Json* object = reader.Find(field);
  if (!object) return out;
  if (!object->is_object()) return InvalidArgument(std::string(field) + ": want an object");
  for (const auto& [key, value] : object->items()) out.push_back(key);
  return out;
}

// Old images have "Entrypoint": "command" too.
Status ReadCommand(JsonReader& reader, const char* field, std::vector<std::string>* out) {
  const Json* value = reader.Find(field);
  if (value && value->is_string()) {
    out->push_back(value->get<std::string>());
    return absl::OkStatus();
  }
  reader.Get(field, out);
  return reader.status();
}

Status ReadExecution(const Json& object, ImageConfig* out) {
  JsonReader reader(object, "config");
  STASIS_RETURN_IF_ERROR(reader.status());
  reader.Get("Env", &out->env);
  reader.Get("WorkingDir", &out->working_dir);
  reader.Get("User", &out->user);
  reader.Get("StopSignal", &out->stop_signal);
  STASIS_RETURN_IF_ERROR(ReadCommand(reader, "Cmd", &out->cmd));
  STASIS_RETURN_IF_ERROR(ReadCommand(reader, "Entrypoint", &out->entrypoint));
  STASIS_ASSIGN_OR_RETURN(out->labels, ReadTexts(reader, "Labels"));
  STASIS_RETURN_IF_ERROR(CheckLabels(out->labels));
  STASIS_ASSIGN_OR_RETURN(out->exposed_ports, ReadKeys(reader, "ExposedPorts"));
  STASIS_ASSIGN_OR_RETURN(out->volumes, ReadKeys(reader, "Volumes"));
  STASIS_RETURN_IF_ERROR(CheckNoNul("config.Env", out->env));
  STASIS_RETURN_IF_ERROR(CheckNoNul("config.Cmd", out->cmd));
  STASIS_RETURN_IF_ERROR(CheckNoNul("config.Entrypoint", out->entrypoint));
  return CheckNoNul("config", {out->working_dir, out->user, out->stop_signal});
}

Status ReadLayers(const Json* rootfs, ImageConfig* out) {
  if (!rootfs) return InvalidArgument("invalid image configuration: no rootfs");
  std::string type = "layers";
  std::vector<std::string> diff_ids;
  JsonReader reader(*rootfs, "rootfs");
  reader.Get("type", &type);
  reader.Get("diff_ids", &diff_ids);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (type != "layers") return InvalidArgument("rootfs.type: want \"layers\", got \"" + type + "\"");
  if (diff_ids.size() > kMaxLayers) return InvalidArgument("max depth exceeded: more than 127 layers");
  for (const std::string& raw : diff_ids) {
    StatusOr<Digest> digest = Digest::Parse(raw);
    if (!digest.ok()) return Annotate(digest.status(), "rootfs.diff_ids");
    out->layers.push_back(*std::move(digest));
  }
  return absl::OkStatus();
}

StatusOr<Descriptor> ReadDescriptor(const Json& object, const char* name) {
  std::string media_type, digest;
  uint64_t size = 0;
  JsonReader reader(object, name);
  reader.Get("mediaType", &media_type);
  reader.Get("digest", &digest);
  reader.Get("size", &size);
  STASIS_RETURN_IF_ERROR(reader.status());
  StatusOr<Digest> parsed = Digest::Parse(digest);
  if (!parsed.ok()) return Annotate(parsed.status(), name);
  Descriptor out = {media_type, *std::move(parsed), size, {}, "", ""};
  STASIS_ASSIGN_OR_RETURN(out.annotations, ReadTexts(reader, "annotations"));
  if (const Json* platform = reader.Find("platform")) {
    JsonReader platform_reader(*platform, "platform");
    platform_reader.Get("architecture", &out.architecture);
    platform_reader.Get("os", &out.os);
    STASIS_RETURN_IF_ERROR(platform_reader.status());
  }
  return out;
}

StatusOr<std::vector<Descriptor>> ReadDescriptors(const JsonReader& reader, const char* field, size_t limit) {
  std::vector<Descriptor> out;
  const Json* list = reader.Find(field);
  if (!list) return out;
  if (!list->is_array()) return InvalidArgument(std::string(field) + ": want a list");
  if (list->size() > limit) return InvalidArgument(std::string(field) + ": too many");
  for (const Json& item : *list) {
    STASIS_ASSIGN_OR_RETURN(Descriptor descriptor, ReadDescriptor(item, field));
    out.push_back(std::move(descriptor));
  }
  return out;
}

}  // namespace

Status CheckLabels(const std::map<std::string, std::string>& labels) {
  size_t bytes = 0;
  for (const auto& [name, value] : labels) bytes += name.size() + value.size();
  if (bytes <= kMaxLabels) return absl::OkStatus();
  return InvalidArgument("labels: " + std::to_string(bytes) + " bytes in all, at most " +
                         std::to_string(kMaxLabels) + " are allowed");
}

StatusOr<ImageConfig> ReadImageConfig(const Json& config) {
  if (!config.is_object()) return InvalidArgument("invalid image configuration: want an object");
  if (CountValues(config) > kMaxValues)
    return InvalidArgument("invalid image configuration: too many values");
  ImageConfig out;
  std::string created;
  JsonReader reader(config);
  reader.Get("architecture", &out.platform.architecture);
  reader.Get("os", &out.platform.os);
  reader.Get("variant", &out.platform.variant);
  reader.Get("created", &created);
  STASIS_RETURN_IF_ERROR(reader.status());
  const std::string& os = out.platform.os;
  if (!os.empty() && os != "linux") {
    return InvalidArgument("image operating system \"" + os + "\" cannot be used on this platform");
  }
  if (!created.empty()) {
    STASIS_ASSIGN_OR_RETURN(out.created, FromRfc3339(created));
  }
  STASIS_RETURN_IF_ERROR(ReadLayers(reader.Find("rootfs"), &out));
  if (const Json* execution = reader.Find("config")) {
    STASIS_RETURN_IF_ERROR(ReadExecution(*execution, &out));
  }
  return out;
}

StatusOr<std::vector<ArchiveImage>> ReadArchiveManifest(const Json& manifest) {
  if (!manifest.is_array()) return InvalidArgument("manifest.json: want a list");
  if (manifest.size() > kMaxImages) return InvalidArgument("manifest.json: too many images");
  std::vector<ArchiveImage> out;
  for (const Json& item : manifest) {
    ArchiveImage image;
    JsonReader reader(item, "manifest.json");
    reader.Get("Config", &image.config);
    reader.Get("RepoTags", &image.tags);
    reader.Get("Layers", &image.layers);
    STASIS_RETURN_IF_ERROR(reader.status());
    if (image.config.empty()) return InvalidArgument("manifest.json: an image without Config");
    if (image.layers.size() > kMaxLayers) return InvalidArgument("max depth exceeded: more than 127 layers");
    out.push_back(std::move(image));
  }
  return out;
}

StatusOr<std::vector<Descriptor>> ReadImageIndex(const Json& index) {
  JsonReader reader(index, "image index");
  STASIS_RETURN_IF_ERROR(reader.status());
  return ReadDescriptors(reader, "manifests", kMaxImages);
}

StatusOr<ImageManifest> ReadImageManifest(const Json& manifest) {
  JsonReader reader(manifest, "image manifest");
  STASIS_RETURN_IF_ERROR(reader.status());
  const Json* config = reader.Find("config");
  if (!config) return InvalidArgument("image manifest: no config");
  STASIS_ASSIGN_OR_RETURN(Descriptor descriptor, ReadDescriptor(*config, "config"));
  STASIS_ASSIGN_OR_RETURN(std::vector<Descriptor> layers, ReadDescriptors(reader, "layers", kMaxLayers));
  return ImageManifest{std::move(descriptor), std::move(layers)};
}

bool IsImageIndex(const Descriptor& descriptor) {
  return descriptor.media_type == "application/vnd.oci.image.index.v1+json" ||
         descriptor.media_type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

}  // namespace stasis::oci
