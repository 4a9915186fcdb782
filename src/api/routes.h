// The route groups, each over its own backend interface. The backends must outlive the routes' last use. With
// null backends the table can be listed (stasisd --print-routes), not served.
#pragma once

#include <vector>

#include "api/route.h"

namespace stasis::backend {
class SystemBackend;
class ContainerBackend;
class ExecBackend;
class CheckpointBackend;
class ImageBackend;
}  // namespace stasis::backend

namespace stasis::api {

std::vector<Route> SystemRoutes(backend::SystemBackend* backend);
std::vector<Route> ContainerRoutes(backend::ContainerBackend* backend);
std::vector<Route> ContainerStreamRoutes(backend::ContainerBackend* backend);  // attach, logs, wait
std::vector<Route> ExecRoutes(backend::ExecBackend* backend);
std::vector<Route> CheckpointRoutes(backend::CheckpointBackend* backend);
std::vector<Route> ImageRoutes(backend::ImageBackend* backend);
std::vector<Route> NetworkRoutes(backend::ContainerBackend* backend);  // of which containers are in each
// What the Engine API has and Stasis has not: each answers 501 with a message that names it.
std::vector<Route> UnsupportedRoutes();

struct Backends {
  backend::SystemBackend* system = nullptr;
  backend::ContainerBackend* containers = nullptr;
  backend::ExecBackend* execs = nullptr;
  backend::CheckpointBackend* checkpoints = nullptr;
  backend::ImageBackend* images = nullptr;
};
// All of the above.
std::vector<Route> EngineRoutes(const Backends& backends);

}  // namespace stasis::api
