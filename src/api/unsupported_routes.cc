#include "api/routes.h"
#include "base/log.h"

namespace stasis::api {
namespace {

struct Missing {
  const char* method;
  const char* pattern;
  const char* what;  // "WHAT is not implemented by Stasis yet"
};

// The rest of the Engine API 1.47. A row goes when its feature comes.
constexpr Missing kMissing[] = {
    {"GET", "/containers/{id}/top", "docker top"},
    {"GET", "/containers/{id}/changes", "docker diff"},
    {"GET", "/containers/{id}/export", "docker export"},
    {"GET", "/containers/{id}/stats", "docker stats"},
    {"POST", "/containers/{id}/update", "docker update"},
    {"GET", "/containers/{id}/attach/ws", "attaching by websocket"},
    {"HEAD", "/containers/{id}/archive", "docker cp"},
    {"GET", "/containers/{id}/archive", "docker cp"},
    {"PUT", "/containers/{id}/archive", "docker cp"},
    {"POST", "/containers/prune", "docker container prune"},
    {"POST", "/build", "docker build"},
    {"POST", "/build/prune", "docker builder prune"},
    {"POST", "/build/cancel", "docker build"},
    {"GET", "/images/{name...}/history", "docker history"},
    {"POST", "/images/{name...}/push", "docker push"},
    {"GET", "/images/{name...}/get", "docker save"},
    {"GET", "/images/get", "docker save"},
    {"GET", "/images/search", "docker search"},
    {"POST", "/images/prune", "docker image prune"},
    {"POST", "/auth", "docker login"},
    {"POST", "/commit", "docker commit"},
    {"GET", "/system/df", "docker system df"},
    {"GET", "/distribution/{name...}/json", "looking up images in a registry"},
    {"POST", "/session", "BuildKit"},
    {"POST", "/grpc", "BuildKit"},
    {"GET", "/volumes", "docker volume"},
    {"POST", "/volumes/create", "docker volume"},
    {"PUT", "/volumes/{name}", "docker volume"},
    {"DELETE", "/volumes/{name}", "docker volume"},
    {"POST", "/volumes/prune", "docker volume"},
    {"GET", "/networks", "docker network"},
    {"DELETE", "/networks/{id}", "docker network"},
    {"POST", "/networks/create", "docker network"},
    {"POST", "/networks/{id}/connect", "docker network"},
    {"POST", "/networks/{id}/disconnect", "docker network"},
    {"POST", "/networks/prune", "docker network"},
    {"GET", "/plugins", "docker plugin"},
    {"GET", "/plugins/privileges", "docker plugin"},
    {"POST", "/plugins/pull", "docker plugin"},
    {"POST", "/plugins/create", "docker plugin"},
    {"DELETE", "/plugins/{name...}", "docker plugin"},
    {"POST", "/plugins/{name...}/enable", "docker plugin"},
    {"POST", "/plugins/{name...}/disable", "docker plugin"},
    {"POST", "/plugins/{name...}/upgrade", "docker plugin"},
    {"POST", "/plugins/{name...}/push", "docker plugin"},
    {"POST", "/plugins/{name...}/set", "docker plugin"},
    {"GET", "/swarm", "docker swarm"},
    {"POST", "/swarm/init", "docker swarm"},
    {"POST", "/swarm/join", "docker swarm"},
    {"POST", "/swarm/leave", "docker swarm"},
    {"POST", "/swarm/update", "docker swarm"},
    {"GET", "/swarm/unlockkey", "docker swarm"},
    {"POST", "/swarm/unlock", "docker swarm"},
    {"GET", "/nodes", "docker node"},
    {"DELETE", "/nodes/{id}", "docker node"},
    {"POST", "/nodes/{id}/update", "docker node"},
    {"GET", "/services", "docker service"},
    {"POST", "/services/create", "docker service"},
    {"DELETE", "/services/{id}", "docker service"},
    {"POST", "/services/{id}/update", "docker service"},
    {"GET", "/services/{id}/logs", "docker service"},
    {"GET", "/tasks", "docker service ps"},
    {"GET", "/tasks/{id}/logs", "docker service logs"},
    {"GET", "/secrets", "docker secret"},
    {"POST", "/secrets/create", "docker secret"},
    {"DELETE", "/secrets/{id}", "docker secret"},
    {"POST", "/secrets/{id}/update", "docker secret"},
    {"GET", "/configs", "docker config"},
    {"POST", "/configs/create", "docker config"},
    {"DELETE", "/configs/{id}", "docker config"},
    {"POST", "/configs/{id}/update", "docker config"},
};

// There is none of these, and `docker inspect NAME` asks for each in turn until one is found.
constexpr Missing kNone[] = {
    {"GET", "/volumes/{name}", "volume"}, {"GET", "/networks/{name}", "network"},
    {"GET", "/nodes/{name}", "node"},     {"GET", "/services/{name}", "service"},
    {"GET", "/tasks/{name}", "task"},     {"GET", "/plugins/{name...}/json", "plugin"},
    {"GET", "/secrets/{name}", "secret"}, {"GET", "/configs/{name}", "config"},
};

}  // namespace

std::vector<Route> UnsupportedRoutes() {
  std::vector<Route> routes;
  for (const Missing& missing : kMissing) {
    std::string endpoint = std::string(missing.method) + " " + missing.pattern;
    std::string message = std::string(missing.what) + " is not implemented by Stasis yet (" + endpoint + ")";
    Handler handler = [message](Request&, Response&) { return Unimplemented(message); };
    routes.push_back({missing.method, missing.pattern, std::move(handler),
                      std::string("501: ") + missing.what, "unsupported"});
  }
  for (const Missing& none : kNone) {
    Handler handler = [what = std::string(none.what)](Request& request, Response&) {
      return NotFound("no such " + what + ": " + Printable(request.Value("name")));
    };
    routes.push_back({none.method, none.pattern, std::move(handler),
                      std::string("404: there is no ") + none.what, "unsupported"});
  }
  return routes;
}

}  // namespace stasis::api
