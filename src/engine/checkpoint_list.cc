// Which checkpoints there are, and where.
#include "engine/engine.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"
#include "manifest/checkpoint_owner.h"

namespace stasis::engine {
namespace {

backend::CheckpointSummary Summarize(const FoundCheckpoint& found) {
  backend::CheckpointSummary summary;
  summary.name = found.name;
  if (!found.manifest.ok()) {
    summary.damage = Message(found.manifest.status());
    return summary;
  }
  const Manifest& manifest = *found.manifest;
  CheckpointOwner owner = OwnerOf(manifest);
  summary.container = manifest.container_id;
  summary.container_name = std::move(owner.name);
  summary.image = std::move(owner.image);
  summary.image_id = std::move(owner.image_id);
  summary.created = manifest.created;
  summary.bytes = manifest.bytes;
  summary.stored_bytes = manifest.stored_bytes;
  summary.frozen_us = manifest.frozen_us;
  return summary;
}

}  // namespace

StatusOr<Engine::CheckpointPlace> Engine::FindPlace(const std::string& container_name,
                                                    const CheckpointName& name,
                                                    const std::string& directory) const {
  if (container_name.empty()) {
    if (directory.empty()) return InvalidArgument("want a container, a checkpoint directory, or both");
    STASIS_ASSIGN_OR_RETURN(const std::string foreign, ForeignDirectory(directory));
    return CheckpointPlace{foreign, OwnStore(foreign), "in " + foreign};
  }
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(container_name));
  const ContainerRecord record = container->Record();
  STASIS_ASSIGN_OR_RETURN(std::string where, CheckpointDirectory(record, directory));
  if (directory.empty()) {
    STASIS_ASSIGN_OR_RETURN(const bool exists, CheckpointExists(where, name));
    if (!exists && Exists(CheckpointPath(options_.paths.ReplacedFiles(record.id), name)))
      where = options_.paths.ReplacedFiles(record.id);
  }
  std::string store = StoreOf(record, where);
  return CheckpointPlace{std::move(where), std::move(store), "for container " + container_name};
}

StatusOr<Manifest> Engine::FindCheckpoint(const CheckpointPlace& place, const CheckpointName& name) const {
  StatusOr<Manifest> manifest = ReadManifest(place.directory, name);
  if (!absl::IsNotFound(manifest.status())) return manifest;
  return NotFound("checkpoint " + name.str() + " does not exist " + place.owner);
}

StatusOr<std::vector<backend::CheckpointSummary>> Engine::ListAllCheckpoints(const std::string& directory) {
  std::vector<backend::CheckpointSummary> all;
  if (!directory.empty()) {
    STASIS_RETURN_IF_ERROR(FindStore(directory).status());  // whether it is there
    STASIS_ASSIGN_OR_RETURN(const std::string foreign, ForeignDirectory(directory));
    STASIS_ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> found, FindCheckpoints({foreign}));
    for (const FoundCheckpoint& one : found) all.push_back(Summarize(one));
    return all;
  }
  for (const ContainerRef& container : containers_.All()) {
    const std::string replaced = options_.paths.ReplacedFiles(container->id());
    STASIS_ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> found,
                            FindCheckpoints({options_.paths.Checkpoints(container->id()), replaced}));
    for (const FoundCheckpoint& one : found) {
      backend::CheckpointSummary summary = Summarize(one);
      summary.container = container->id().str();
      summary.container_name = container->name();
      summary.files_only = one.directory == replaced;
      all.push_back(std::move(summary));
    }
  }
  return all;
}

}  // namespace stasis::engine
