#include "api/progress_answer.h"
#include "api/routes.h"
#include "backend/checkpoints.h"
#include "base/time.h"

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
  ProgressAnswer answer(request, response);
  create.on_progress = answer.on_progress();
  const auto made = backend.CreateCheckpoint(request.Value("id"), create, request.cancel);
  if (!made.ok()) return answer.Finish(made.status(), 201);
  // Docker's answer has no body; its clients do not read one.
  return answer.Finish(made->warnings.empty() ? Json() : Json({{"Warnings", made->warnings}}), 201);
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

Status ListAll(CheckpointBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<backend::CheckpointSummary> all,
                          backend.ListAllCheckpoints(request.query.Text("dir")));
  Json list = Json::array();
  for (const backend::CheckpointSummary& one : all) {
    list.push_back({{"Container", one.container},
                    {"ContainerName", one.container_name},
                    {"Name", one.name},
                    {"FilesOnly", one.files_only},
                    {"Image", one.image},
                    {"ImageID", one.image_id},
                    {"Created", ToRfc3339(one.created)},
                    {"Bytes", one.bytes},
                    {"StoredBytes", one.stored_bytes},
                    {"FrozenMicroseconds", one.frozen_us},
                    {"Damage", one.damage}});
  }
  return response.Json(200, list);
}

Status Undo(CheckpointBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(
      const backend::UndoneRestore undone,
      backend.UndoRestore(request.Value("id"), request.query.Text("checkpoint"), request.cancel));
  return response.Json(200, {{"Restored", undone.restored}, {"Kept", undone.kept}});
}

// Of the routes of a checkpoint, those of a directory's name no container.
std::string ContainerIn(const Request& request) {
  const auto id = request.values.find("id");
  return id == request.values.end() ? std::string() : id->second;
}

Status Inspect(CheckpointBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(Json manifest,
                          backend.InspectCheckpoint(ContainerIn(request), request.Value("checkpoint"),
                                                    request.query.Text("dir")));
  return response.Json(200, manifest);
}

Status Diff(CheckpointBackend& backend, Request& request, Response& response) {
  const backend::CheckpointDiff diff = {request.Value("checkpoint"), request.query.Text("to"),
                                        request.query.Text("dir"), request.query.Flag("since-image")};
  STASIS_ASSIGN_OR_RETURN(const std::vector<backend::FileChange> changes,
                          backend.DiffCheckpoint(ContainerIn(request), diff, request.cancel));
  Json list = Json::array();
  for (const backend::FileChange& change : changes)
    list.push_back({{"Path", change.path}, {"Kind", static_cast<int>(change.kind)}});
  return response.Json(200, list);
}

Status Processes(CheckpointBackend& backend, Request& request, Response& response) {
  backend::ProcessInspection inspection;
  inspection.directory = request.query.Text("dir");
  inspection.files = request.query.Flag("files");
  inspection.sockets = request.query.Flag("sockets");
  inspection.memory = request.query.Flag("memory");
  STASIS_ASSIGN_OR_RETURN(const std::optional<int> pid, request.query.Integer("pid", 1, INT32_MAX));
  inspection.pid = static_cast<uint32_t>(pid.value_or(0));
  // Begun with the first one: what is wrong before it has a status of its own.
  STASIS_RETURN_IF_ERROR(backend.InspectProcesses(
      ContainerIn(request), request.Value("checkpoint"), inspection,
      [&](const Json& process) -> Status {
        if (!response.started()) {
          STASIS_RETURN_IF_ERROR(response.StartStream(200, "application/json"));
        }
        return response.Write(DumpJson(process) + "\n");
      },
      request.cancel));
  return response.started() ? absl::OkStatus() : response.StartStream(200, "application/json");
}

Status Export(CheckpointBackend& backend, Request& request, Response& response) {
  // Begun with the first bytes: what is wrong before them has a status of its own.
  return backend.ExportCheckpoint(
      ContainerIn(request), request.Value("checkpoint"), request.query.Text("dir"),
      [&](std::string_view bytes) -> Status {
        if (!response.started()) {
          STASIS_RETURN_IF_ERROR(response.StartStream(200, "application/zstd"));
        }
        return response.Write(bytes);
      },
      request.cancel);
}

Status Import(CheckpointBackend& backend, Request& request, Response& response) {
  const backend::CheckpointImport import = {request.query.Text("container"), request.query.Text("name"),
                                            request.query.Text("dir")};
  STASIS_ASSIGN_OR_RETURN(const std::string name,
                          backend.ImportCheckpoint(request.body, import, request.cancel));
  return response.Json(201, {{"Name", name}});
}

StatusOr<Json> Verify(CheckpointBackend& backend, Request& request, const backend::OnProgress& on_progress) {
  STASIS_ASSIGN_OR_RETURN(const backend::CheckpointVerification result,
                          backend.VerifyCheckpoints(request.query.Text("dir"), on_progress, request.cancel));
  Json damaged = Json::array();
  for (const backend::CheckpointDamage& one : result.damaged)
    damaged.push_back({{"Container", one.container},
                       {"ContainerName", one.container_name},
                       {"Name", one.name},
                       {"Reason", one.reason}});
  return Json({{"Bytes", result.bytes},
               {"Checkpoints", result.checkpoints},
               {"Damage", result.damage},
               {"Damaged", std::move(damaged)}});
}

StatusOr<Json> Prune(CheckpointBackend& backend, Request& request, const backend::OnProgress& on_progress) {
  STASIS_ASSIGN_OR_RETURN(const uint64_t bytes,
                          backend.PruneCheckpoints(request.query.Text("dir"), on_progress, request.cancel));
  return Json({{"SpaceReclaimed", bytes}});
}

StatusOr<Json> Measure(CheckpointBackend& backend, Request& request, const backend::OnProgress& on_progress) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<backend::CheckpointUsage> all,
                          backend.MeasureCheckpoints(request.query.Text("dir"), on_progress, request.cancel));
  Json list = Json::array();
  for (const backend::CheckpointUsage& one : all) {
    list.push_back({{"Container", one.container},
                    {"ContainerName", one.container_name},
                    {"Name", one.name},
                    {"Bytes", one.bytes},
                    {"StoredBytes", one.stored_bytes},
                    {"OwnBytes", one.own_bytes},
                    {"Damage", one.damage}});
  }
  return list;
}

}  // namespace

std::vector<Route> CheckpointRoutes(CheckpointBackend* backend) {
  auto with = [backend](Status (*handle)(CheckpointBackend&, Request&, Response&)) -> Handler {
    return [backend, handle](Request& request, Response& response) {
      return handle(*backend, request, response);
    };
  };
  using Work = StatusOr<Json> (*)(CheckpointBackend&, Request&, const backend::OnProgress&);
  auto with_progress = [backend](Work work) -> Handler {
    return [backend, work](Request& request, Response& response) {
      ProgressAnswer answer(request, response);
      return answer.Finish(work(*backend, request, answer.on_progress()), 200);
    };
  };
  return {
      {"POST", "/containers/{id}/checkpoints", with(Create), "Checkpoint a container", "checkpoints"},
      {"GET", "/containers/{id}/checkpoints", with(List), "List a container's checkpoints", "checkpoints"},
      {"DELETE", "/containers/{id}/checkpoints/{checkpoint}", with(Delete), "Delete a checkpoint",
       "checkpoints"},
      {"GET", "/containers/{id}/checkpoints/{checkpoint}/json", with(Inspect),
       "Inspect a checkpoint (an extension of Stasis)", "checkpoints"},
      {"GET", "/containers/{id}/checkpoints/{checkpoint}/diff", with(Diff),
       "The container's files that differ from a checkpoint's (an extension of Stasis)", "checkpoints"},
      {"GET", "/checkpoints/{checkpoint}/diff", with(Diff),
       "The files of a checkpoint in a directory that differ from its image's or another checkpoint's (an "
       "extension of Stasis)",
       "checkpoints"},
      {"GET", "/containers/{id}/checkpoints/{checkpoint}/processes", with(Processes),
       "The processes in a checkpoint, one JSON document a line (an extension of Stasis)", "checkpoints"},
      {"POST", "/containers/{id}/undo", with(Undo),
       "Give a stopped container the files back that a restore replaced (an extension of Stasis)",
       "checkpoints"},
      {"GET", "/checkpoints", with(ListAll), "List the checkpoints of one store (an extension of Stasis)",
       "checkpoints"},
      {"GET", "/checkpoints/{checkpoint}/json", with(Inspect),
       "Inspect a checkpoint in a directory (an extension of Stasis)", "checkpoints"},
      {"GET", "/checkpoints/{checkpoint}/processes", with(Processes),
       "The processes in a checkpoint in a directory (an extension of Stasis)", "checkpoints"},
      {"GET", "/containers/{id}/checkpoints/{checkpoint}/export", with(Export),
       "A checkpoint as one file (an extension of Stasis)", "checkpoints", Lifetime::kStream},
      {"GET", "/checkpoints/{checkpoint}/export", with(Export),
       "A checkpoint in a directory as one file (an extension of Stasis)", "checkpoints", Lifetime::kStream},
      {"POST", "/checkpoints/import", with(Import), "Take in what an export wrote (an extension of Stasis)",
       "checkpoints", Lifetime::kStream},
      {"POST", "/checkpoints/verify", with_progress(Verify), "Read all checkpoints (an extension of Stasis)",
       "checkpoints"},
      {"POST", "/checkpoints/prune", with_progress(Prune),
       "Give back the space of deleted checkpoints (an extension of Stasis)", "checkpoints"},
      {"GET", "/checkpoints/usage", with_progress(Measure),
       "Disk space of each checkpoint (an extension of Stasis)", "checkpoints"},
  };
}

}  // namespace stasis::api
