#include "engine/engine.h"

#include "base/log.h"
#include "linux/files.h"

namespace stasis::engine {
namespace {

constexpr int kTaskThreads = 4;

// What is damaged names itself; this says what to do.
Status WithWayOut(const Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  return DataLoss(
      Message(status) +
      ": start stasisd once with --recover, which keeps the file aside and makes it anew from the "
      "directories of containers and images");
}

}  // namespace

StatusOr<std::unique_ptr<Engine>> Engine::Open(EngineOptions options,
                                               std::unique_ptr<Supervisor> supervisor) {
  const Paths& paths = options.paths;
  STASIS_ASSIGN_OR_RETURN(ContainerDirectories directories, ContainerDirectories::Open(paths));
  StatusOr<std::unique_ptr<ContainerStore>> store = ContainerStore::Open(paths.Database());
  if (absl::IsDataLoss(store.status()) && options.recover) {
    STASIS_ASSIGN_OR_RETURN(const std::string aside, Database::SetAside(paths.Database()));
    spdlog::warn("{}; it is kept as {}", Message(store.status()), aside);
    store = ContainerStore::Open(paths.Database());
  }
  STASIS_RETURN_IF_ERROR(WithWayOut(store.status()));
  StatusOr<std::unique_ptr<image::ImageStore>> images =
      image::ImageStore::Open(paths.Images(), options.recover);
  STASIS_RETURN_IF_ERROR(WithWayOut(images.status()));
  STASIS_ASSIGN_OR_RETURN(network::NetworkNamespaces networks,
                          network::NetworkNamespaces::Open(paths.NetworkNamespaces()));
  STASIS_ASSIGN_OR_RETURN(Host host, ReadHost());
  STASIS_ASSIGN_OR_RETURN(std::vector<backend::EventMessage> past, (*store)->LoadEvents());
  std::unique_ptr<Engine> engine(new Engine(std::move(options), std::move(supervisor), *std::move(store),
                                            std::move(directories), *std::move(images), std::move(networks),
                                            std::move(host), std::move(past)));
  STASIS_RETURN_IF_ERROR(engine->LoadContainers());
  return engine;
}

Engine::Engine(EngineOptions options, std::unique_ptr<Supervisor> supervisor,
               std::unique_ptr<ContainerStore> store, ContainerDirectories directories,
               std::unique_ptr<image::ImageStore> images, network::NetworkNamespaces networks, Host host,
               std::vector<backend::EventMessage> past)
    : options_(std::move(options)),
      supervisor_(std::move(supervisor)),
      store_(std::move(store)),
      directories_(std::move(directories)),
      images_(std::move(images)),
      networks_(std::move(networks)),
      host_(std::move(host)),
      events_(std::move(past)),
      stores_(options_.paths,
              [this](const std::string& id) {
                const auto container = containers_.Find(id);
                return container.ok() ? (*container)->name() : std::string();
              }),
      safety_(options_.paths, images_.get(), &stores_),
      tasks_(kTaskThreads) {}

Engine::~Engine() {
  follower_ = {};
  // The last chance of what is in memory alone.
  WriteLate();
}

}  // namespace stasis::engine
