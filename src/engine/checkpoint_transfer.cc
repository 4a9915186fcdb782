// Checkpoints as files that people carry about.
#include "base/log.h"
#include "engine/engine.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"
#include "transfer/checkpoint_archive.h"

namespace stasis::engine {

Status Engine::ExportCheckpoint(const std::string& container_name, const std::string& raw_name,
                                const std::string& directory, const backend::ByteSink& sink,
                                std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(raw_name));
  STASIS_ASSIGN_OR_RETURN(const CheckpointPlace place, FindPlace(container_name, name, directory));
  STASIS_ASSIGN_OR_RETURN(const Manifest manifest, FindCheckpoint(place, name));
  const std::string what = "checkpoint " + name.str();
  const auto finder = OpenStore(place.store);
  if (!finder.ok()) return Annotate(finder.status(), what);
  return Annotate(transfer::ExportCheckpoint(manifest, finder->get(), sink, cancel), what);
}

StatusOr<std::string> Engine::ImportCheckpoint(const backend::ByteSource& body,
                                               const backend::CheckpointImport& request,
                                               std::stop_token cancel) {
  std::optional<CheckpointName> name;
  if (!request.name.empty()) {
    STASIS_ASSIGN_OR_RETURN(name, CheckpointName::Parse(request.name));
  }
  ContainerRef container;
  std::string directory;
  if (!request.container.empty()) {
    STASIS_ASSIGN_OR_RETURN(container, containers_.Find(request.container));
  }
  if (!request.directory.empty()) {
    STASIS_ASSIGN_OR_RETURN(directory, ForeignDirectory(request.directory));
  } else if (container) {
    directory = options_.paths.Checkpoints(container->id());
  } else {
    return InvalidArgument("want a container, a checkpoint directory, or both");
  }
  const bool foreign = !request.directory.empty();
  const std::string store = foreign ? OwnStore(directory) : options_.paths.CheckpointStore();
  const auto check = [&](const Manifest& manifest) -> Status {
    if (!name) {
      STASIS_ASSIGN_OR_RETURN(name, CheckpointName::Parse(manifest.name));
    }
    STASIS_ASSIGN_OR_RETURN(const bool exists, CheckpointExists(directory, *name));
    return exists ? AlreadyExists("checkpoint with name " + name->str() + " already exists")
                  : absl::OkStatus();
  };
  Status status = [&]() -> Status {
    STASIS_ASSIGN_OR_RETURN(transfer::CheckpointImport import,
                            transfer::CheckpointImport::Read(body, store, check, cancel));
    if (foreign) return import.Publish(directory, *name);
    STASIS_ASSIGN_OR_RETURN(const Turn turn, container->TakeTurn(cancel));  // it may have been removed
    return import.Publish(directory, *name);
  }();
  if (!status.ok()) {
    stores_.CollectSoon(store);  // what was taken in so far
    return Annotate(status, "import a checkpoint");
  }
  if (container && !foreign)
    Emit(ContainerEvent(container->Record(), "checkpoint-import", {{"checkpoint", name->str()}}));
  return name->str();
}

}  // namespace stasis::engine
