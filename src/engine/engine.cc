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

Engine::~Engine() = default;

Status Engine::Change(Container& container, const Mutation& change, const std::string& action,
                      const Attributes& attributes, std::optional<absl::Time> supervisor_seen) {
  std::vector<backend::EventMessage> events;
  STASIS_RETURN_IF_ERROR(container.Change(change, [&](const ContainerRecord& record) {
    if (!action.empty()) events.push_back(ContainerEvent(record, action, attributes));
    STASIS_RETURN_IF_ERROR(
        store_->Commit({.save = &record, .events = events, .supervisor_seen = supervisor_seen}));
    SaveForAdoption(container.Record(), record);
    return Status();
  }));
  for (backend::EventMessage& event : events) events_.Publish(std::move(event));
  return {};
}

void Engine::SaveForAdoption(const ContainerRecord& before, const ContainerRecord& after) {
  if (!ContainerDirectories::AdoptionDiffers(before, after)) return;
  if (Status status = directories_.Save(after); !status.ok()) {
    spdlog::warn("container {}: its directory does not get its record: {}", after.id.str(), Message(status));
  }
}

backend::EventMessage Engine::ContainerEvent(const ContainerRecord& record, std::string action,
                                             const Attributes& attributes) {
  backend::EventMessage event;
  event.type = "container";
  event.action = std::move(action);
  event.actor_id = record.id.str();
  event.attributes = record.config.labels;
  event.attributes["image"] = record.config.image;
  event.attributes["name"] = record.name;
  for (const auto& [name, value] : attributes) event.attributes[name] = value;
  event.at = absl::Now();
  return event;
}

void Engine::Emit(backend::EventMessage event) {
  if (Status status = store_->Commit({.events = {event}, .supervisor_seen = {}}); !status.ok()) {
    spdlog::warn("event {}: {}", Printable(event.action), Message(status));
  }
  events_.Publish(std::move(event));
}

}  // namespace stasis::engine
