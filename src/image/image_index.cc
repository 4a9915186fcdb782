#include "image/image_index.h"

#include <unistd.h>

#include <algorithm>

#include "base/sha256.h"
#include "linux/files.h"
#include "oci/image_config.h"

namespace stasis::image {
namespace {

constexpr char kFile[] = "images.json";
constexpr int kVersion = 1;
constexpr size_t kMinPrefix = 1;

Status NoSuchImage(const std::string& name) { return NotFound("No such image: " + name); }

void TakeTag(std::map<Digest, Image>& images, const std::string& reference) {
  for (auto& [id, image] : images) std::erase(image.tags, reference);
}

void AddTag(Image& image, const std::string& reference) {
  auto at = std::lower_bound(image.tags.begin(), image.tags.end(), reference);
  if (at == image.tags.end() || *at != reference) image.tags.insert(at, reference);
}

}  // namespace

StatusOr<Image> ImageFromConfig(const std::string& config_text) {
  STASIS_ASSIGN_OR_RETURN(Json config, ParseJson(config_text));
  STASIS_ASSIGN_OR_RETURN(oci::ImageConfig read, oci::ReadImageConfig(config));
  return Image{Sha256Of(config_text),
               {},
               std::move(read.layers),
               std::make_shared<const Json>(std::move(config)),
               read.created,
               std::move(read.platform),
               0};
}

StatusOr<std::unique_ptr<ImageIndex>> ImageIndex::Open(const std::string& directory, const LayerStore& layers,
                                                       bool recover) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(directory + "/content/sha256"));
  std::unique_ptr<ImageIndex> index(new ImageIndex(directory));
  const std::string file = directory + "/" + kFile;
  if (Exists(file)) {
    const Status read = index->ReadList(layers);
    if (!absl::IsDataLoss(read) || !recover) {
      STASIS_RETURN_IF_ERROR(read);
      return index;
    }
    if (::rename(file.c_str(), (file + ".damaged").c_str()) != 0) return ErrnoError(errno, "rename " + file);
  }
  STASIS_RETURN_IF_ERROR(index->ListContent(layers));
  return index;
}

Status ImageIndex::ReadList(const LayerStore& layers) {
  const std::string file = directory_ + "/" + kFile;
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const StatusOr<Json> document = ParseJson(text);
  if (!document.ok()) return DataLoss(file + ": " + Message(document.status()));
  int version = 0;
  JsonReader reader(*document, kFile);
  reader.Get("version", &version);
  if (!reader.status().ok()) return DataLoss(file + ": " + Message(reader.status()));
  if (version != kVersion) return Unimplemented(file + ": written by another version of Stasis");
  const Json* records = reader.Find("images");
  if (!records || !records->is_array()) return DataLoss(file + ": no images");
  for (const Json& record : *records) {
    const StatusOr<Image> image = ReadImage(record, layers);
    if (image.ok()) {
      images_.emplace(image->id, *image);
    } else {
      unreadable_.push_back(record);
    }
  }
  return absl::OkStatus();
}

Status ImageIndex::ListContent(const LayerStore& layers) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListDirectory(directory_ + "/content/sha256"));
  Images images;
  for (const std::string& name : names) {
    const StatusOr<Image> image = ReadImage({{"id", "sha256:" + name}}, layers);
    if (image.ok()) images.emplace(image->id, *image);
  }
  if (images.empty()) return absl::OkStatus();
  for (auto& [id, image] : images) {
    for (const Digest& layer : image.layers) image.size += layers.Find(layer).value_or(Layer{layer, 0}).size;
  }
  return Write(std::move(images));
}

StatusOr<Image> ImageIndex::ReadImage(const Json& record, const LayerStore& layers) const {
  std::string id;
  uint64_t size = 0;
  std::vector<std::string> tags, listed;
  JsonReader reader(record, kFile);
  reader.Get("id", &id);
  STASIS_ASSIGN_OR_RETURN(const Digest digest, Digest::Parse(id));
  reader.Get("size", &size);
  reader.Get("tags", &tags);
  reader.Get("layers", &listed);
  StatusOr<Image> image = ReadWhole(digest, layers);
  if (!image.ok()) {
    std::string damage = Message(image.status());
    image = Image{digest, {}, {}, std::make_shared<const Json>(Json::object()), absl::InfinitePast(), {}, 0};
    image->damage = std::move(damage);
    image->layers_known = reader.Find("layers") != nullptr;
    for (const std::string& text : listed) {
      StatusOr<Digest> layer = Digest::Parse(text);
      if (layer.ok()) image->layers.push_back(*std::move(layer));
      image->layers_known = image->layers_known && layer.ok();
    }
  }
  image->size = size;
  // An earlier program kept "library/NAME" apart from "NAME".
  for (std::string& tag : tags) tag = NormalizeReference(tag).value_or(tag);
  std::sort(tags.begin(), tags.end());
  image->tags = std::move(tags);
  return image;
}

StatusOr<Image> ImageIndex::ReadWhole(const Digest& id, const LayerStore& layers) const {
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile(ContentPath(id)));
  if (Sha256Of(text) != id) return DataLoss("its configuration " + ContentPath(id) + " is damaged");
  STASIS_ASSIGN_OR_RETURN(Image image, ImageFromConfig(text));
  for (const Digest& layer : image.layers) {
    if (!layers.Find(layer)) return DataLoss("its layer " + layer.str() + " is missing");
  }
  return image;
}

bool ImageIndex::KnowsAllLayers() const {
  return unreadable_.empty() && std::all_of(images_.begin(), images_.end(),
                                            [](const auto& entry) { return entry.second.layers_known; });
}

std::string ImageIndex::ContentPath(const Digest& id) const {
  return directory_ + "/content/sha256/" + Hex(id);
}

std::vector<Image> ImageIndex::List() const {
  std::vector<Image> out;
  for (const auto& [id, image] : images_) out.push_back(image);
  std::stable_sort(out.begin(), out.end(),
                   [](const Image& a, const Image& b) { return a.created > b.created; });
  return out;
}

const Image* ImageIndex::Get(const Digest& id) const {
  auto found = images_.find(id);
  return found == images_.end() ? nullptr : &found->second;
}

const Image* ImageIndex::Tagged(const std::string& reference) const {
  for (const auto& [id, image] : images_) {
    if (std::binary_search(image.tags.begin(), image.tags.end(), reference)) return &image;
  }
  return nullptr;
}

StatusOr<Image> ImageIndex::Find(const std::string& reference_or_id) const {
  // A full id first, then a name, then the beginning of an id: Docker's order.
  std::string prefix = reference_or_id.starts_with("sha256:") ? reference_or_id : "sha256:" + reference_or_id;
  if (StatusOr<Digest> id = Digest::Parse(prefix); id.ok()) {
    const Image* image = Get(*id);
    return image ? StatusOr<Image>(*image) : NoSuchImage(reference_or_id);
  }
  StatusOr<std::string> reference = NormalizeReference(reference_or_id);
  if (reference.ok()) {
    if (const Image* image = Tagged(*reference)) return *image;
  }
  std::string shown = reference.ok() ? *reference : reference_or_id;
  if (prefix.size() < 7 + kMinPrefix) return NoSuchImage(shown);
  const Image* found = nullptr;
  for (const auto& [id, image] : images_) {
    if (!id.str().starts_with(prefix)) continue;
    if (found) return NoSuchImage(shown);  // ambiguous
    found = &image;
  }
  return found ? StatusOr<Image>(*found) : NoSuchImage(shown);
}

Status ImageIndex::Add(const Image& image, const std::string& config_text) {
  STASIS_RETURN_IF_ERROR(WriteFileDurably(ContentPath(image.id), config_text));
  Images images = images_;
  const auto [at, is_new] = images.emplace(image.id, image);
  Image& mine = at->second;
  if (!is_new && !mine.damage.empty()) {  // it is whole again, and keeps its names
    std::vector<std::string> tags = std::move(mine.tags);
    mine = image;
    mine.tags = std::move(tags);
  }
  mine.size = image.size;
  for (const std::string& tag : image.tags) {
    TakeTag(images, tag);
    AddTag(mine, tag);
  }
  return Write(std::move(images));
}

Status ImageIndex::Tag(const Digest& id, const std::string& reference) {
  Images images = images_;
  auto found = images.find(id);
  if (found == images.end()) return NoSuchImage(id.str());
  TakeTag(images, reference);
  AddTag(found->second, reference);
  return Write(std::move(images));
}

Status ImageIndex::Untag(const Digest& id, const std::vector<std::string>& references) {
  Images images = images_;
  auto found = images.find(id);
  if (found == images.end()) return NoSuchImage(id.str());
  for (const std::string& reference : references) std::erase(found->second.tags, reference);
  return Write(std::move(images));
}

Status ImageIndex::Remove(const Digest& id) {
  Images images = images_;
  images.erase(id);
  STASIS_RETURN_IF_ERROR(Write(std::move(images)));
  ::unlink(ContentPath(id).c_str());
  return absl::OkStatus();
}

Status ImageIndex::Write(Images images) {
  Json records = unreadable_;
  for (const auto& [id, image] : images) {
    Json record = {{"id", id.str()}, {"size", image.size}, {"tags", image.tags}};
    if (image.layers_known) record["layers"] = Json::array();
    for (const Digest& layer : image.layers) record["layers"].push_back(layer.str());
    records.push_back(std::move(record));
  }
  Json document = {{"version", kVersion}, {"images", std::move(records)}};
  STASIS_RETURN_IF_ERROR(WriteFileDurably(directory_ + "/" + kFile, DumpJson(document)));
  images_ = std::move(images);
  return absl::OkStatus();
}

}  // namespace stasis::image
