#include "api/routes.h"

#include <iterator>
#include <utility>

namespace stasis::api {

std::vector<Route> EngineRoutes(const Backends& backends) {
  std::vector<Route> all;
  for (std::vector<Route>& group :
       std::vector<std::vector<Route>>{SystemRoutes(backends.system), ContainerRoutes(backends.containers),
                                       ContainerStreamRoutes(backends.containers), ExecRoutes(backends.execs),
                                       CheckpointRoutes(backends.checkpoints), ImageRoutes(backends.images),
                                       NetworkRoutes(backends.containers), UnsupportedRoutes()}) {
    std::move(group.begin(), group.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace stasis::api
