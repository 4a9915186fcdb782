// What has become of a container's files since a checkpoint.
#include "base/log.h"
#include "engine/engine.h"
#include "layer/compare.h"
#include "layer/image_layers.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_owner.h"

namespace stasis::engine {
namespace {

backend::FileChange ToBackend(const layer::Change& change) {
  const std::string path = "/" + change.path;
  switch (change.kind) {
    case layer::ChangeKind::kModified:
      return {path, backend::FileChangeKind::kModified};
    case layer::ChangeKind::kAdded:
      return {path, backend::FileChangeKind::kAdded};
    case layer::ChangeKind::kDeleted:
      return {path, backend::FileChangeKind::kDeleted};
  }
  return {path};
}

// The container's own layer in a checkpoint whose content is in `store`.
StatusOr<std::vector<layer::Entry>> LayerIn(const Manifest& manifest, const std::string& store) {
  const std::string what = "checkpoint " + manifest.name;
  if (!manifest.layer) {
    return FailedPrecondition(what + " is without the container's files: it was made with the label " +
                              "stasis.checkpoint.files=no");
  }
  const auto finder = OpenStore(store);
  if (!finder.ok()) return Annotate(finder.status(), what);
  auto entries = ReadLayer(manifest, finder->get());
  if (!entries.ok()) return Annotate(entries.status(), what + ": the container's files");
  return entries;
}

}  // namespace

StatusOr<std::vector<layer::Entry>> Engine::LayerNow(const ContainerId& container,
                                                     const std::vector<layer::Entry>& captured,
                                                     const std::stop_token& cancel) const {
  const auto upper = OpenDirectory(images_->UpperDirectory(container));
  if (!upper.ok()) return Internal("the container's files: " + Message(upper.status()));
  return layer::ListForComparison(upper->get(), captured, cancel);
}

StatusOr<std::vector<std::string>> Engine::ImageFiles(const std::string& container_name,
                                                      const std::string& image_id) const {
  StatusOr<std::vector<std::string>> lower;
  if (container_name.empty()) {
    const auto image = images_->Find(image_id);
    if (!image.ok()) {
      return NotFound("the image that the checkpoint's container was made of is not here: " +
                      (image_id.empty() ? "its record does not name it" : Printable(image_id)));
    }
    lower = images_->LowerDirectories(*image);
  } else {
    STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(container_name));
    lower = images_->LowerDirectories(container->id());
  }
  if (!lower.ok()) return Internal("the image's files: " + Message(lower.status()));
  return lower;
}

StatusOr<std::vector<backend::FileChange>> Engine::DiffCheckpoint(const std::string& container_name,
                                                                  const backend::CheckpointDiff& request,
                                                                  std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const CheckpointName from, CheckpointName::Parse(request.from));
  if (container_name.empty() && !request.since_image && request.to.empty())
    return InvalidArgument("want a container, or another checkpoint to compare with");
  std::string image_id;
  const auto read = [&](const CheckpointName& name) -> StatusOr<std::vector<layer::Entry>> {
    STASIS_ASSIGN_OR_RETURN(const CheckpointPlace place, FindPlace(container_name, name, request.directory));
    STASIS_ASSIGN_OR_RETURN(const Manifest manifest, FindCheckpoint(place, name));
    image_id = OwnerOf(manifest).image_id;
    return LayerIn(manifest, place.store);
  };
  std::vector<layer::Entry> before, after;
  STASIS_ASSIGN_OR_RETURN(before, read(from));
  if (request.since_image) {
    after.swap(before);  // the image has nothing of the container's own
  } else if (request.to.empty()) {
    STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(container_name));
    STASIS_ASSIGN_OR_RETURN(after, LayerNow(container->id(), before, cancel));
  } else {
    STASIS_ASSIGN_OR_RETURN(const CheckpointName to, CheckpointName::Parse(request.to));
    STASIS_ASSIGN_OR_RETURN(after, read(to));
  }
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> lower, ImageFiles(container_name, image_id));
  STASIS_ASSIGN_OR_RETURN(const layer::ImageLayers image, layer::ImageLayers::Open(lower));
  STASIS_ASSIGN_OR_RETURN(
      const std::vector<layer::Change> changes,
      layer::Compare(before, after, [&](const std::string& path) { return image.Find(path); }));
  std::vector<backend::FileChange> out;
  out.reserve(changes.size());
  for (const layer::Change& change : changes) out.push_back(ToBackend(change));
  return out;
}

}  // namespace stasis::engine
