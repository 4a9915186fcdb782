#include "api/routes.h"
#include "backend/checkpoints.h"

namespace stasis::api {
namespace {

using backend::CheckpointBackend;

Status Create(CheckpointBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(Json body, ReadJson(request, /*required=*/true));
  backend::CheckpointCreate create;
  JsonReader reader(body);
  reader.Get("CheckpointID", &create.name);
  reader.Get("CheckpointDir", &create.directory);
  reader.Get("Exit", &create.exit);
  reader.Get("Freeze", &create.freeze);  // an extension of ours
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(backend.CreateCheckpoint(request.Value("id"), create, request.cancel));
  return response.Empty(201);
}

Status List(CheckpointBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(std::vector<std::string> names,
                          backend.ListCheckpoints(request.Value("id"), request.query.Text("dir")));
  Json list = Json::array();
  for (const std::string& name : names) list.push_back({{"Name", name}});
  return response.Json(200, list);
}

Status Delete(CheckpointBackend& backend, Request& request, Response& response) {
  STASIS_RETURN_IF_ERROR(
      backend.DeleteCheckpoint(request.Value("id"), request.Value("checkpoint"), request.query.Text("dir")));
  return response.Empty(204);
}

Status Inspect(CheckpointBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(
      Json manifest,
      backend.InspectCheckpoint(request.Value("id"), request.Value("checkpoint"), request.query.Text("dir")));
  return response.Json(200, manifest);
}

}  // namespace

std::vector<Route> CheckpointRoutes(CheckpointBackend* backend) {
  auto with = [backend](Status (*handle)(CheckpointBackend&, Request&, Response&)) -> Handler {
    return [backend, handle](Request& request, Response& response) {
      return handle(*backend, request, response);
    };
  };
  return {
      {"POST", "/containers/{id}/checkpoints", with(Create), "Checkpoint a container", "checkpoints"},
      {"GET", "/containers/{id}/checkpoints", with(List), "List a container's checkpoints", "checkpoints"},
      {"DELETE", "/containers/{id}/checkpoints/{checkpoint}", with(Delete), "Delete a checkpoint",
       "checkpoints"},
      {"GET", "/containers/{id}/checkpoints/{checkpoint}/json", with(Inspect),
       "Inspect a checkpoint (an extension of Stasis)", "checkpoints"},
  };
}

}  // namespace stasis::api
