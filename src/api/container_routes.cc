#include <algorithm>
#include <cstdlib>

#include "api/container_json.h"
#include "api/progress_answer.h"
#include "api/routes.h"
#include "backend/containers.h"
#include "backend/unsupported_fields.h"

namespace stasis::api {
namespace {

using backend::Change;
using backend::ContainerBackend;

constexpr int kMaxInt = 0x7fffffff;
constexpr int kPlatformSince = 41;
constexpr int kPrivateIpcSince = 40;   // the default; before, others could join the IPC namespace
constexpr int kNoStartBodySince = 24;  // before, a start's body was a HostConfig

Status List(ContainerBackend& backend, Request& request, Response& response) {
  backend::ListOptions options;
  options.all = request.query.Flag("all");
  options.size = request.query.Flag("size");
  STASIS_ASSIGN_OR_RETURN(std::optional<int> limit, request.query.Integer("limit", -kMaxInt, kMaxInt));
  options.limit = std::max(limit.value_or(0), 0);
  STASIS_ASSIGN_OR_RETURN(options.filters, backend::FiltersFromJson(request.query.Text("filters")));
  STASIS_ASSIGN_OR_RETURN(std::vector<backend::ContainerSummary> summaries, backend.List(options));
  Json list = Json::array();
  for (const backend::ContainerSummary& summary : summaries) list.push_back(SummaryToJson(summary));
  return response.Json(200, list);
}

Status Create(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(Json body, ReadJson(request, /*required=*/true));
  if (body.is_null()) return InvalidArgument("Config cannot be empty in order to create a container");
  STASIS_ASSIGN_OR_RETURN(std::vector<std::string> warnings, backend::CheckUnsupportedFields(body));
  backend::CreateRequest create;
  create.name = request.query.Text("name");
  if (request.minor_version >= kPlatformSince) create.platform = request.query.Text("platform");
  STASIS_ASSIGN_OR_RETURN(create.config, backend::ContainerConfigFromJson(body));
  JsonReader reader(body);
  if (const Json* host_config = reader.Find("HostConfig")) {
    STASIS_ASSIGN_OR_RETURN(create.host_config, backend::HostConfigFromJson(*host_config));
  }
  if (request.minor_version < kPrivateIpcSince && create.host_config.ipc_mode.empty())
    create.host_config.ipc_mode = "shareable";
  if (const Json* networking = reader.Find("NetworkingConfig")) {
    if (!networking->is_object()) return InvalidArgument("NetworkingConfig: want an object");
    create.networking_config = *networking;
  }
  STASIS_ASSIGN_OR_RETURN(backend::CreateResult result, backend.Create(create));
  warnings.insert(warnings.end(), result.warnings.begin(), result.warnings.end());
  return response.Json(201, {{"Id", result.id}, {"Warnings", warnings}});
}

Status Inspect(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::ContainerDetails details,
                          backend.Inspect(request.Value("id"), request.query.Flag("size")));
  return response.Json(200, DetailsToJson(details));
}

// As Docker looks: an object with a member has more than seven bytes, and what is chunked has some.
bool HasContent(const Request& request) {
  const std::string length = request.Header("Content-Length");
  return request.has_body && (length.empty() || std::atoll(length.c_str()) > 7);
}

Status Start(ContainerBackend& backend, Request& request, Response& response) {
  if (request.minor_version >= kNoStartBodySince && HasContent(request)) {
    return InvalidArgument(
        "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24");
  }
  backend::StartOptions options;
  options.checkpoint = request.query.Text("checkpoint");
  options.checkpoint_dir = request.query.Text("checkpoint-dir");
  std::string files_kept;
  options.on_files_kept = [&](const std::string& name) { files_kept = name; };
  ProgressAnswer answer(request, response);
  options.on_progress = answer.on_progress();
  const StatusOr<Change> change = backend.Start(request.Value("id"), options, request.cancel);
  if (!change.ok()) return answer.Finish(change.status(), 0);
  if (*change == Change::kAlreadySo) return answer.Finish(Json(), 304);
  // An extension of ours: who asks with report=1 is told what a restore has replaced.
  if (request.query.Flag("report")) return answer.Finish(Json({{"FilesKept", files_kept}}), 200);
  return answer.Finish(Json(), 204);
}

StatusOr<backend::StopOptions> StopOptionsOf(const Request& request) {
  backend::StopOptions options;
  options.signal = request.query.Text("signal");
  STASIS_ASSIGN_OR_RETURN(options.timeout, request.query.Integer("t", -1, kMaxInt));
  return options;
}

// A client that leaves takes nothing back: without the SIGKILL at the end the container would be neither
// stopped nor left alone, and a restart would leave it stopped.
Status Stop(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::StopOptions options, StopOptionsOf(request));
  STASIS_ASSIGN_OR_RETURN(Change change, backend.Stop(request.Value("id"), options, request.server_stop));
  return response.Empty(change == Change::kDone ? 204 : 304);
}

Status Restart(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::StopOptions options, StopOptionsOf(request));
  STASIS_RETURN_IF_ERROR(backend.Restart(request.Value("id"), options, request.server_stop));
  return response.Empty(204);
}

Status Kill(ContainerBackend& backend, Request& request, Response& response) {
  std::string signal = request.query.Text("signal");
  STASIS_RETURN_IF_ERROR(
      backend.Kill(request.Value("id"), signal.empty() ? "SIGKILL" : signal, request.cancel));
  return response.Empty(204);
}

Status Rename(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_RETURN_IF_ERROR(backend.Rename(request.Value("id"), request.query.Text("name")));
  return response.Empty(204);
}

Status Remove(ContainerBackend& backend, Request& request, Response& response) {
  if (request.query.Flag("link")) return InvalidArgument("links between containers are not supported");
  backend::RemoveOptions options;
  options.force = request.query.Flag("force");
  options.volumes = request.query.Flag("v");
  STASIS_RETURN_IF_ERROR(backend.Remove(request.Value("id"), options));
  return response.Empty(204);
}

Status Resize(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(std::optional<int> width, request.query.Integer("w", 0, 0xffff));
  STASIS_ASSIGN_OR_RETURN(std::optional<int> height, request.query.Integer("h", 0, 0xffff));
  if (!width || !height) return InvalidArgument("resize wants the parameters h and w");
  STASIS_RETURN_IF_ERROR(
      backend.Resize(request.Value("id"), static_cast<uint32_t>(*width), static_cast<uint32_t>(*height)));
  return response.Empty(200);
}

}  // namespace

std::vector<Route> ContainerRoutes(ContainerBackend* backend) {
  auto with = [backend](Status (*handle)(ContainerBackend&, Request&, Response&)) -> Handler {
    return [backend, handle](Request& request, Response& response) {
      return handle(*backend, request, response);
    };
  };
  auto pause = [](ContainerBackend& containers, Request& request, Response& response) -> Status {
    STASIS_RETURN_IF_ERROR(containers.Pause(request.Value("id")));
    return response.Empty(204);
  };
  auto unpause = [](ContainerBackend& containers, Request& request, Response& response) -> Status {
    STASIS_RETURN_IF_ERROR(containers.Unpause(request.Value("id")));
    return response.Empty(204);
  };
  return {
      {"GET", "/containers/json", with(List), "List containers", "containers"},
      {"POST", "/containers/create", with(Create), "Create a container", "containers"},
      {"GET", "/containers/{id}/json", with(Inspect), "Inspect a container", "containers"},
      {"POST", "/containers/{id}/start", with(Start), "Start a container, fresh or from a checkpoint",
       "containers"},
      {"POST", "/containers/{id}/stop", with(Stop), "Stop a container", "containers"},
      {"POST", "/containers/{id}/restart", with(Restart), "Stop and start a container", "containers"},
      {"POST", "/containers/{id}/kill", with(Kill), "Send a signal to a container", "containers"},
      {"POST", "/containers/{id}/pause", with(pause), "Freeze a container's processes", "containers"},
      {"POST", "/containers/{id}/unpause", with(unpause), "Thaw a container's processes", "containers"},
      {"POST", "/containers/{id}/rename", with(Rename), "Give a container another name", "containers"},
      {"POST", "/containers/{id}/resize", with(Resize), "Set the size of a container's terminal",
       "containers"},
      {"DELETE", "/containers/{id}", with(Remove), "Remove a container", "containers"},
  };
}

}  // namespace stasis::api
