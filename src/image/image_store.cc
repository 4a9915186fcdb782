#include "image/image_store.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "base/log.h"
#include "base/sha256.h"
#include "base/time.h"
#include "image/changes.h"
#include "image/image_archive.h"
#include "image/image_index.h"
#include "image/layer_store.h"
#include "image/root_store.h"
#include "linux/files.h"

namespace stasis::image {
namespace {

constexpr size_t kShortId = 12;
constexpr size_t kMaxMessage = 64 << 10;
constexpr size_t kMaxError = 2048;

std::string ShortId(const Digest& id) { return Hex(id).substr(0, kShortId); }

// What names in an archive say must not be obeyed by the terminal that the error reaches.
Status Shown(const Status& status) { return WithMessage(status, Printable(Message(status), kMaxError)); }

// The configuration of an imported image.
StatusOr<std::string> ImportedConfig(const Digest& layer, const ImportOptions& options) {
  Json config = Json::object();
  for (const std::string& change : options.changes) {
    STASIS_RETURN_IF_ERROR(ApplyChange(change, &config));
  }
  std::string now = ToRfc3339(absl::Now());
  Json document = {
      {"architecture", options.platform.architecture},
      {"os", options.platform.os},
      {"created", now},
      {"config", std::move(config)},
      {"rootfs", {{"type", "layers"}, {"diff_ids", {layer.str()}}}},
      {"history",
       Json::array({{{"created", now},
                     {"comment", options.message.empty() ? "Imported from -" : options.message}}})}};
  if (!options.platform.variant.empty()) document["variant"] = options.platform.variant;
  return DumpJson(document);
}

class Store : public ImageStore {
 public:
  Store(std::unique_ptr<LayerStore> layers, std::unique_ptr<RootStore> roots,
        std::unique_ptr<ImageIndex> index, std::string spool)
      : spool_(std::move(spool)),
        layers_(std::move(layers)),
        roots_(std::move(roots)),
        index_(std::move(index)) {}

  StatusOr<std::vector<Image>> Load(const ReadBytes& read, const OnProgress& progress,
                                    std::stop_token cancel) override;
  StatusOr<Image> Import(const ReadBytes& read, const ImportOptions& options,
                         std::stop_token cancel) override;
  std::vector<Image> List() const override;
  StatusOr<Image> Find(const std::string& reference_or_id) const override;
  StatusOr<RemoveResult> Remove(const std::string& reference_or_id, bool force,
                                const std::function<Status(const Image&)>& in_use) override;
  Status Tag(const Digest& id, const std::string& reference) override;

  Status CreateRoot(const ContainerId& container, const Image& image) override;
  StatusOr<std::string> MountRoot(const ContainerId& container, const Image& image) override {
    return roots_->Mount(container, image.layers);
  }
  std::string UpperDirectory(const ContainerId& container) const override {
    return roots_->UpperDirectory(container);
  }
  StatusOr<std::vector<std::string>> LowerDirectories(const ContainerId& container) const override {
    return roots_->LowerDirectories(container);
  }
  StatusOr<std::vector<std::string>> LowerDirectories(const Image& image) const override {
    return roots_->LowerDirectories(image.layers);
  }
  Status UnmountRoot(const ContainerId& container) override { return roots_->Unmount(container); }
  Status ReplaceUpper(const ContainerId& container, const std::function<Status(int)>& fill) override {
    return roots_->ReplaceUpper(container, fill);
  }
  bool IsUpperReplaced(const ContainerId& container) const override {
    return roots_->IsUpperReplaced(container);
  }
  Status KeepUpper(const ContainerId& container) override { return roots_->KeepUpper(container); }
  StatusOr<std::vector<KeptUpper>> KeptUppers(const ContainerId& container) override {
    return roots_->KeptUppers(container);
  }
  Status RemoveKeptUpper(const KeptUpper& kept) override { return roots_->RemoveKeptUpper(kept); }
  Status RevertUpper(const ContainerId& container) override { return roots_->RevertUpper(container); }
  Status RemoveRoot(const ContainerId& container) override { return roots_->Remove(container); }

  // Removes layers that no image, no root and no load under way needs.
  Status CollectGarbage();

 private:
  // Keeps layers from the collector while an image that needs them is being made.
  class Pin {
   public:
    Pin(Store& store, std::vector<Digest> layers) : store_(store), layers_(std::move(layers)) {
      std::scoped_lock lock(store_.mutex_);
      store_.pinned_.insert(layers_.begin(), layers_.end());
    }
    ~Pin() {
      std::scoped_lock lock(store_.mutex_);
      for (const Digest& layer : layers_) store_.pinned_.erase(store_.pinned_.find(layer));
    }
    Pin(const Pin&) = delete;

   private:
    Store& store_;
    const std::vector<Digest> layers_;
  };

  StatusOr<std::vector<Image>> LoadAll(const ImageArchive& archive, const OnProgress& progress,
                                       std::stop_token cancel);
  StatusOr<Image> LoadOne(const ImageArchive& archive, const ArchivedImage& archived,
                          const OnProgress& progress, std::stop_token cancel);
  Status HideUnneeded(std::vector<std::string>* trees);
  StatusOr<Image> Untag(const Image& image, std::vector<std::string> references, RemoveResult* result);

  const std::string spool_;
  const std::unique_ptr<LayerStore> layers_;
  const std::unique_ptr<RootStore> roots_;
  mutable std::mutex mutex_;  // guards what follows
  const std::unique_ptr<ImageIndex> index_;
  std::multiset<Digest> pinned_;
};

StatusOr<std::vector<Image>> Store::Load(const ReadBytes& read, const OnProgress& progress,
                                         std::stop_token cancel) {
  auto archive = ImageArchive::Spool(read, spool_, cancel);
  if (!archive.ok()) return Shown(archive.status());
  StatusOr<std::vector<Image>> loaded = LoadAll(**archive, progress, cancel);
  if (loaded.ok()) return loaded;
  CollectGarbage().IgnoreError();  // layers of an image that did not come to be
  return Shown(loaded.status());
}

StatusOr<std::vector<Image>> Store::LoadAll(const ImageArchive& archive, const OnProgress& progress,
                                            std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(std::vector<ArchivedImage> images, archive.Images(cancel));
  std::vector<Image> out;
  for (const ArchivedImage& archived : images) {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    STASIS_ASSIGN_OR_RETURN(Image image, LoadOne(archive, archived, progress, cancel));
    out.push_back(std::move(image));
  }
  return out;
}

StatusOr<Image> Store::LoadOne(const ImageArchive& archive, const ArchivedImage& archived,
                               const OnProgress& progress, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(Image image, ImageFromConfig(archived.config_text));
  image.tags = archived.tags;
  std::sort(image.tags.begin(), image.tags.end());
  image.tags.erase(std::unique(image.tags.begin(), image.tags.end()), image.tags.end());
  Pin pin(*this, image.layers);
  for (size_t i = 0; i < image.layers.size(); ++i) {
    std::optional<Layer> layer = layers_->Find(image.layers[i]);
    if (!layer) {
      STASIS_ASSIGN_OR_RETURN(ReadBytes bytes, archive.OpenLayer(archived.layers[i], cancel));
      STASIS_ASSIGN_OR_RETURN(layer, layers_->Unpack(bytes, image.layers[i], cancel));
    }
    image.size += layer->size;
  }
  {
    std::scoped_lock lock(mutex_);
    for (const std::string& tag : image.tags) {
      const Image* before = index_->Tagged(tag);
      if (!before || before->id == image.id) continue;
      progress("The image " + tag + " already exists, renaming the old one with ID " + before->id.str() +
               " to empty string");
    }
    STASIS_RETURN_IF_ERROR(index_->Add(image, archived.config_text));
    image = *index_->Get(image.id);
  }
  for (const std::string& tag : archived.tags) progress("Loaded image: " + tag);
  if (archived.tags.empty()) progress("Loaded image ID: " + image.id.str());
  return image;
}

StatusOr<Image> Store::Import(const ReadBytes& read, const ImportOptions& options, std::stop_token cancel) {
  std::vector<std::string> tags;
  if (!options.reference.empty()) {
    if (options.reference.find('@') != std::string::npos) {
      return InvalidArgument("cannot import digest reference");
    }
    STASIS_ASSIGN_OR_RETURN(std::string tag, NormalizeNewTag(options.reference));
    tags.push_back(std::move(tag));
  }
  if (options.message.size() > kMaxMessage) return InvalidArgument("import message is too long");
  // Before the bytes come in: a wrong change should not cost a whole upload.
  STASIS_ASSIGN_OR_RETURN(const std::string trial, ImportedConfig(Sha256Of(""), options));
  STASIS_RETURN_IF_ERROR(ImageFromConfig(trial).status());
  StatusOr<Layer> layer = layers_->Unpack(read, std::nullopt, cancel);
  if (!layer.ok()) return Shown(layer.status());
  // From here to the Pin the collector may take the layer; then it is not found, and the client tries again.
  Pin pin(*this, {layer->diff_id});
  if (!layers_->Find(layer->diff_id)) return Unavailable("the layer was removed meanwhile, try again");
  STASIS_ASSIGN_OR_RETURN(std::string config, ImportedConfig(layer->diff_id, options));
  STASIS_ASSIGN_OR_RETURN(Image image, ImageFromConfig(config));
  image.tags = std::move(tags);
  image.size = layer->size;
  std::scoped_lock lock(mutex_);
  STASIS_RETURN_IF_ERROR(index_->Add(image, config));
  return *index_->Get(image.id);
}

std::vector<Image> Store::List() const {
  std::scoped_lock lock(mutex_);
  return index_->List();
}

StatusOr<Image> Store::Find(const std::string& reference_or_id) const {
  std::scoped_lock lock(mutex_);
  return index_->Find(reference_or_id);
}

Status Store::Tag(const Digest& id, const std::string& reference) {
  STASIS_ASSIGN_OR_RETURN(std::string tag, NormalizeNewTag(reference));
  std::scoped_lock lock(mutex_);
  return index_->Tag(id, tag);
}

StatusOr<Image> Store::Untag(const Image& image, std::vector<std::string> references, RemoveResult* result) {
  std::scoped_lock lock(mutex_);
  STASIS_RETURN_IF_ERROR(index_->Untag(image.id, references));
  result->untagged = std::move(references);
  return *index_->Get(image.id);
}

StatusOr<RemoveResult> Store::Remove(const std::string& reference_or_id, bool force,
                                     const std::function<Status(const Image&)>& in_use) {
  STASIS_ASSIGN_OR_RETURN(Image image, Find(reference_or_id));
  RemoveResult result = {image, {}, {}};
  StatusOr<std::string> reference = NormalizeReference(reference_or_id);
  bool by_tag = reference.ok() && std::binary_search(image.tags.begin(), image.tags.end(), *reference);
  if (by_tag && image.tags.size() > 1) {
    STASIS_RETURN_IF_ERROR(Untag(image, {*reference}, &result).status());
    return result;
  }
  if (!by_tag && image.tags.size() > 1 && !force) {
    return FailedPrecondition("conflict: unable to delete " + ShortId(image.id) +
                              " (must be forced) - image is referenced in multiple repositories");
  }
  if (Status used = in_use(image); !used.ok()) {
    if (!force || !by_tag) return used;
    STASIS_RETURN_IF_ERROR(Untag(image, {*reference}, &result).status());
    return result;
  }
  {
    std::scoped_lock lock(mutex_);
    // Tags may have come and gone since; those that are there now go with it.
    const Image* now = index_->Get(image.id);
    if (!now) return NotFound("No such image: " + reference_or_id);
    result.untagged = now->tags;
    STASIS_RETURN_IF_ERROR(index_->Remove(image.id));
  }
  result.deleted.push_back(image.id.str());
  STASIS_RETURN_IF_ERROR(CollectGarbage());
  for (auto layer = image.layers.rbegin(); layer != image.layers.rend(); ++layer) {
    if (!layers_->Find(*layer)) result.deleted.push_back(layer->str());
  }
  return result;
}

Status Store::CreateRoot(const ContainerId& container, const Image& image) {
  // Under the lock, so that the image is not removed between the look and the root's own claim on its layers.
  std::scoped_lock lock(mutex_);
  if (roots_->Has(container)) return absl::OkStatus();
  const Image* now = index_->Get(image.id);
  if (!now) return NotFound("No such image: " + image.id.str());
  if (!now->damage.empty()) return DataLoss("image " + ShortId(image.id) + " is damaged: " + now->damage);
  return roots_->Create(container, image.layers);
}

Status Store::CollectGarbage() {
  std::vector<std::string> trees;
  Status status = HideUnneeded(&trees);
  // Without the lock: this may take long.
  for (const std::string& tree : trees) {
    if (Status removed = RemoveTree(tree); status.ok()) status = removed;
  }
  return status;
}

Status Store::HideUnneeded(std::vector<std::string>* trees) {
  std::scoped_lock lock(mutex_);
  const StatusOr<std::vector<Digest>> in_use = roots_->LayersInUse();
  if (!index_->KnowsAllLayers() || !in_use.ok())
    return absl::OkStatus();  // nothing is certain to be unneeded
  std::set<Digest> needed(pinned_.begin(), pinned_.end());
  for (const Image& image : index_->List()) needed.insert(image.layers.begin(), image.layers.end());
  needed.insert(in_use->begin(), in_use->end());
  STASIS_ASSIGN_OR_RETURN(std::vector<Digest> all, layers_->List());
  for (const Digest& layer : all) {
    if (needed.contains(layer)) continue;
    STASIS_ASSIGN_OR_RETURN(std::string tree, layers_->Hide(layer));
    trees->push_back(std::move(tree));
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<ImageStore>> ImageStore::Open(const std::string& root, bool recover) {
  // These would end a path in the options of an overlay mount.
  if (!root.starts_with('/') || root.find_first_of(",:\\") != std::string::npos) {
    return InvalidArgument("image store " + root + ": want an absolute path without , : and \\");
  }
  STASIS_RETURN_IF_ERROR(MakeDirectories(root));
  std::string spool = root + "/spool";
  STASIS_RETURN_IF_ERROR(MakeDirectories(spool));
  // Emptied, and not made anew: on a full disk a directory cannot be made, and the engine must start.
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> spooled, ListDirectory(spool));
  for (const std::string& name : spooled) STASIS_RETURN_IF_ERROR(RemoveTree(spool + "/" + name));
  STASIS_ASSIGN_OR_RETURN(auto layers, LayerStore::Open(root + "/layers"));
  STASIS_ASSIGN_OR_RETURN(auto roots, RootStore::Open(root + "/roots", *layers));
  STASIS_ASSIGN_OR_RETURN(auto index, ImageIndex::Open(root, *layers, recover));
  auto store =
      std::make_unique<Store>(std::move(layers), std::move(roots), std::move(index), std::move(spool));
  STASIS_RETURN_IF_ERROR(store->CollectGarbage());
  return store;
}

}  // namespace stasis::image
