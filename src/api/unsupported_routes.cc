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
    {"POST", "/volumes/create", "docker volume"},
    {"PUT", "/volumes/{name}", "docker volume"},
    {"POST", "/networks/create", "docker network"},
    {"POST", "/networks/{id}/connect", "docker network"},
    {"POST", "/networks/{id}/disconnect", "docker network"},
    {"GET", "/plugins/privileges", "docker plugin"},
    {"POST", "/plugins/pull", "docker plugin"},
    {"POST", "/plugins/create", "docker plugin"},
    {"DELETE", "/plugins/{name...}", "docker plugin"},
    {"POST", "/plugins/{name...}/enable", "docker plugin"},
    {"POST", "/plugins/{name...}/disable", "docker plugin"},
    {"POST", "/plugins/{name...}/upgrade", "docker plugin"},
    {"POST", "/plugins/{name...}/push", "docker plugin"},
    {"POST", "/plugins/{name...}/set", "docker plugin"},
    {"POST", "/swarm/init", "docker swarm"},
    {"POST", "/swarm/join", "docker swarm"},
};

// There is none of these. `docker inspect NAME` asks for some of them in turn until one is found.
struct None {
  const char* method;
  const char* pattern;
  const char* before;  // dockerd's words around the name
  const char* after;
};

constexpr None kNone[] = {
    {"GET", "/volumes/{name}", "get ", ": no such volume"},
    {"DELETE", "/volumes/{name}", "get ", ": no such volume"},
    {"GET", "/plugins/{name...}/json", "plugin \"", "\" not found"},
};

// Lists of which all that there is to say is that they are empty.
struct Empty {
  const char* method;
  const char* pattern;
  const char* json;
};

constexpr Empty kEmpty[] = {
    {"GET", "/volumes", R"({"Volumes":[],"Warnings":null})"},
    {"POST", "/volumes/prune", R"({"VolumesDeleted":[],"SpaceReclaimed":0})"},
    {"POST", "/networks/prune", R"({"NetworksDeleted":null})"},
    {"GET", "/plugins", "[]"},
};

constexpr char kNoManager[] =
    "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this "
    "node to swarm and try again.";
constexpr char kNoSwarm[] = "This node is not part of a swarm";

// What dockerd answers with 503 as long as it is in no swarm: a client sees that there is none.
struct Swarm {
  const char* method;
  const char* pattern;
  const char* message;
};

constexpr Swarm kSwarm[] = {
    {"GET", "/swarm", kNoManager},
    {"POST", "/swarm/update", kNoManager},
    {"GET", "/swarm/unlockkey", kNoManager},
    {"GET", "/nodes", kNoManager},
    {"GET", "/nodes/{id}", kNoManager},
    {"DELETE", "/nodes/{id}", kNoManager},
    {"POST", "/nodes/{id}/update", kNoManager},
    {"GET", "/services", kNoManager},
    {"POST", "/services/create", kNoManager},
    {"GET", "/services/{id}", kNoManager},
    {"DELETE", "/services/{id}", kNoManager},
    {"POST", "/services/{id}/update", kNoManager},
    {"GET", "/services/{id}/logs", kNoManager},
    {"GET", "/tasks", kNoManager},
    {"GET", "/tasks/{id}", kNoManager},
    {"GET", "/tasks/{id}/logs", kNoManager},
    {"GET", "/secrets", kNoManager},
    {"POST", "/secrets/create", kNoManager},
    {"GET", "/secrets/{id}", kNoManager},
    {"DELETE", "/secrets/{id}", kNoManager},
    {"POST", "/secrets/{id}/update", kNoManager},
    {"GET", "/configs", kNoManager},
    {"POST", "/configs/create", kNoManager},
    {"GET", "/configs/{id}", kNoManager},
    {"DELETE", "/configs/{id}", kNoManager},
    {"POST", "/configs/{id}/update", kNoManager},
    {"POST", "/swarm/leave", kNoSwarm},
    {"POST", "/swarm/unlock", kNoSwarm},
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
  for (const None& none : kNone) {
    Handler handler = [&none](Request& request, Response& response) {
      const bool removes = request.method == "DELETE" && request.query.Flag("force");
      if (removes) return response.Empty(204);
      return NotFound(none.before + Printable(request.Value("name")) + none.after);
    };
    routes.push_back({none.method, none.pattern, std::move(handler), "404: there is none", "unsupported"});
  }
  for (const Empty& empty : kEmpty) {
    Handler handler = [&empty](Request&, Response& response) {
      return response.Whole(200, "application/json", std::string(empty.json) + "\n");
    };
    routes.push_back({empty.method, empty.pattern, std::move(handler), "An empty list", "unsupported"});
  }
  for (const Swarm& swarm : kSwarm) {
    Handler handler = [&swarm](Request&, Response&) { return Unavailable(swarm.message); };
    routes.push_back(
        {swarm.method, swarm.pattern, std::move(handler), "503: there is no swarm", "unsupported"});
  }
  return routes;
}

}  // namespace stasis::api
