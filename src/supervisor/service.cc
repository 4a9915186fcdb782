#include "supervisor/service.h"

#include <signal.h>

#include <utility>

#include "base/log.h"
#include "base/names.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"
#include "supervisor/answer_mark.h"
#include "supervisor/checkpoints.h"
#include "supervisor/grpc_status.h"
#include "supervisor/spec_json.h"
#include "supervisor/stats.h"

namespace stasis::supervisor {
namespace {

// What a peer of containerd 0.2 expects: the last release with this service.
constexpr uint32_t kMajor = 0, kMinor = 2, kPatch = 9;
constexpr char kRevision[] = "stasis";
// How soon an idle event stream sees that its client has gone.
constexpr std::chrono::milliseconds kStreamStep{500};
constexpr int kLastSignal = 64;

std::string ProcessId(const std::string& pid) { return pid.empty() ? protocol::kInit : pid; }

grpc::Status Final(grpc::ServerContext* context, const stasis::Status& status) {
  if (!status.ok()) context->AddTrailingMetadata(kAnswerMark, "error");
  return ToGrpc(status);
}

}  // namespace

grpc::Status ApiService::Answer(grpc::ServerContext* context, std::string_view method, std::string_view id,
                                const std::function<stasis::Status(std::stop_token gone)>& call) {
  CallWatch::Scope scope(watch_, *context);
  const auto begin = std::chrono::steady_clock::now();
  stasis::Status status = call(scope.token());
  const auto took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin);
  if (status.ok() || absl::IsCancelled(status)) {
    spdlog::debug("{} {}: {}, {:.1f} ms", method, Printable(id, 128), status.ok() ? "ok" : "cancelled",
                  took.count());
  } else {
    spdlog::info("{} {}: {} {}, {:.1f} ms", method, Printable(id, 128), static_cast<int>(status.code()),
                 OneAsciiLine(Message(status)), took.count());
  }
  return Final(context, status);
}

grpc::Status ApiService::GetServerVersion(grpc::ServerContext*, const types::GetServerVersionRequest*,
                                          types::GetServerVersionResponse* response) {
  response->set_major(kMajor);
  response->set_minor(kMinor);
  response->set_patch(kPatch);
  response->set_revision(kRevision);
  return grpc::Status::OK;
}

// ---- containers

grpc::Status ApiService::CreateContainer(grpc::ServerContext* context,
                                         const types::CreateContainerRequest* request,
                                         types::CreateContainerResponse* response) {
  return Answer(context, "CreateContainer", request->id(), [&](std::stop_token gone) -> stasis::Status {
    STASIS_ASSIGN_OR_RETURN(*response->mutable_container(), containers_.Create(*request, std::move(gone)));
    if (!context->IsCancelled()) return {};
    // Seen too late to stop it. Who gave up and then signalled it found nothing yet, and will not come again.
    STASIS_ASSIGN_OR_RETURN(const auto container, containers_.Find(request->id()));
    container->Signal(protocol::kInit, SIGKILL, /*all=*/true, {}).IgnoreError();  // it may be done already
    return Cancelled("nobody waits for container " + request->id() + " any more");
  });
}

grpc::Status ApiService::UpdateContainer(grpc::ServerContext* context,
                                         const types::UpdateContainerRequest* request,
                                         types::UpdateContainerResponse*) {
  return Answer(context, "UpdateContainer", request->id(), [&](std::stop_token gone) -> stasis::Status {
    const std::string& wanted = request->status();
    if (!wanted.empty() && wanted != "paused" && wanted != "running") {
      return InvalidArgument("status \"" + wanted + "\": want \"paused\" or \"running\"");
    }
    STASIS_ASSIGN_OR_RETURN(auto container, containers_.Find(request->id()));
    if (request->has_resources()) {
      Json resources = ResourcesSpec(request->resources());
      if (!resources.empty()) {
        STASIS_RETURN_IF_ERROR(container->Update(resources, gone));
      }
    }
    if (wanted == "paused") return container->Pause(gone);
    if (wanted == "running") return container->Run(gone);
    return {};
  });
}

grpc::Status ApiService::Signal(grpc::ServerContext* context, const types::SignalRequest* request,
                                types::SignalResponse*) {
  return Answer(context, "Signal", request->id(), [&](std::stop_token gone) -> stasis::Status {
    if (request->signal() == 0 || request->signal() > kLastSignal) {
      return InvalidArgument("signal " + std::to_string(request->signal()) + ": there is no such signal");
    }
    STASIS_ASSIGN_OR_RETURN(auto container, containers_.Find(request->id()));
    return container->Signal(ProcessId(request->pid()), static_cast<int>(request->signal()), request->all(),
                             gone);
  });
}

grpc::Status ApiService::State(grpc::ServerContext* context, const types::StateRequest* request,
                               types::StateResponse* response) {
  return Answer(context, "State", request->id(), [&](std::stop_token) -> stasis::Status {
    *response->mutable_machine() = DescribeMachine();
    if (!request->id().empty()) {
      STASIS_ASSIGN_OR_RETURN(auto container, containers_.Find(request->id()));
      *response->add_containers() = container->Describe();
      return {};
    }
    for (const auto& container : containers_.List()) *response->add_containers() = container->Describe();
    return {};
  });
}

grpc::Status ApiService::Stats(grpc::ServerContext* context, const types::StatsRequest* request,
                               types::StatsResponse* response) {
  return Answer(context, "Stats", request->id(), [&](std::stop_token) -> stasis::Status {
    STASIS_ASSIGN_OR_RETURN(auto container, containers_.Find(request->id()));
    STASIS_ASSIGN_OR_RETURN(*response, CollectStats(container->config().cgroup_path, container->state().pid));
    return {};
  });
}

// ---- processes

grpc::Status ApiService::AddProcess(grpc::ServerContext* context, const types::AddProcessRequest* request,
                                    types::AddProcessResponse* response) {
  return Answer(context, "AddProcess", request->id(), [&](std::stop_token gone) -> stasis::Status {
    // The id becomes the name of files in the shim's directory.
    STASIS_RETURN_IF_ERROR(Annotate(BundleId::Parse(request->pid()).status(), "process"));
    STASIS_ASSIGN_OR_RETURN(auto container, containers_.Find(request->id()));
    STASIS_ASSIGN_OR_RETURN(pid_t pid, container->AddProcess(*request, gone));
    response->set_systempid(static_cast<uint32_t>(pid));
    return {};
  });
}

grpc::Status ApiService::UpdateProcess(grpc::ServerContext* context,
                                       const types::UpdateProcessRequest* request,
                                       types::UpdateProcessResponse*) {
  return Answer(context, "UpdateProcess", request->id(), [&](std::stop_token gone) -> stasis::Status {
    STASIS_ASSIGN_OR_RETURN(auto container, containers_.Find(request->id()));
    const std::string process = ProcessId(request->pid());
    if (request->width() != 0 || request->height() != 0) {
      STASIS_RETURN_IF_ERROR(container->Resize(process, request->width(), request->height(), gone));
    }
    if (request->closestdin()) return container->CloseStdin(process, gone);
    return {};
  });
}

// ---- checkpoints

StatusOr<std::string> ApiService::CheckpointsOf(const std::string& id, const std::string& directory) const {
  if (!directory.empty()) return CheckpointDirectory(directory, "");
  STASIS_ASSIGN_OR_RETURN(auto container, containers_.Find(id));
  return CheckpointDirectory("", container->bundle());
}

grpc::Status ApiService::CreateCheckpoint(grpc::ServerContext* context,
                                          const types::CreateCheckpointRequest* request,
                                          types::CreateCheckpointResponse* response) {
  return Answer(context, "CreateCheckpoint", request->id(), [&](std::stop_token gone) -> stasis::Status {
    if (!request->has_checkpoint()) return InvalidArgument("checkpoint: missing");
    const types::Checkpoint& wanted = request->checkpoint();
    STASIS_ASSIGN_OR_RETURN(CheckpointName name, CheckpointName::Parse(wanted.name()));
    STASIS_ASSIGN_OR_RETURN(auto container, containers_.Find(request->id()));
    protocol::CheckpointRequest plan;
    plan.name = name.str();
    plan.exit = wanted.exit();
    plan.tcp = wanted.tcp();
    plan.unix_sockets = wanted.unixsockets();
    plan.shell = wanted.shell();
    plan.empty_namespaces.assign(wanted.emptyns().begin(), wanted.emptyns().end());
    plan.engine_record = request->engine_record();
    plan.allow.assign(request->allow().begin(), request->allow().end());
    if (request->frozen_limit_ms() != 0) plan.frozen_limit_ms = request->frozen_limit_ms();
    if (!request->freeze().empty()) plan.freeze = request->freeze();
    STASIS_ASSIGN_OR_RETURN(plan.directory,
                            CheckpointDirectory(request->checkpointdir(), container->bundle()));
    plan.store = request->store().empty() ? OwnStore(plan.directory) : request->store();
    plan.layer = request->layer();
    STASIS_RETURN_IF_ERROR(MakeDirectories(plan.directory));
    STASIS_ASSIGN_OR_RETURN(bool taken, CheckpointExists(plan.directory, name));
    if (taken) {
      return AlreadyExists("checkpoint with name " + name.str() + " already exists for container " +
                           request->id());
    }
    STASIS_ASSIGN_OR_RETURN(protocol::CheckpointResult made, container->Checkpoint(plan, gone));
    response->set_frozen_us(made.frozen_us);
    response->set_bytes(made.bytes);
    response->mutable_warnings()->Assign(made.warnings.begin(), made.warnings.end());
    return {};
  });
}

grpc::Status ApiService::DeleteCheckpoint(grpc::ServerContext* context,
                                          const types::DeleteCheckpointRequest* request,
                                          types::DeleteCheckpointResponse*) {
  return Answer(context, "DeleteCheckpoint", request->id(), [&](std::stop_token) -> stasis::Status {
    STASIS_ASSIGN_OR_RETURN(std::string directory, CheckpointsOf(request->id(), request->checkpointdir()));
    return DeleteCheckpointIn(directory, request->name(), request->id());
  });
}

grpc::Status ApiService::ListCheckpoint(grpc::ServerContext* context,
                                        const types::ListCheckpointRequest* request,
                                        types::ListCheckpointResponse* response) {
  return Answer(context, "ListCheckpoint", request->id(), [&](std::stop_token) -> stasis::Status {
    STASIS_ASSIGN_OR_RETURN(std::string directory, CheckpointsOf(request->id(), request->checkpointdir()));
    STASIS_ASSIGN_OR_RETURN(*response, ListCheckpointsIn(directory));
    return {};
  });
}

// ---- events

grpc::Status ApiService::Events(grpc::ServerContext* context, const types::EventsRequest* request,
                                grpc::ServerWriter<types::Event>* writer) {
  // Not under watch: a stream lives as long as its client, and looks for itself whether that has gone.
  stasis::Status status = StreamEvents(*context, *request, writer);
  if (!status.ok() && !absl::IsCancelled(status)) spdlog::info("Events: {}", Message(status));
  return Final(context, status);
}

stasis::Status ApiService::StreamEvents(const grpc::ServerContext& context,
                                        const types::EventsRequest& request,
                                        grpc::ServerWriter<types::Event>* writer) {
  if (request.storedonly() && !request.has_timestamp()) {
    return InvalidArgument(
        "invalid parameter: StoredOnly cannot be specified without setting a valid Timestamp");
  }
  const uint64_t stored_end = events_.End();
  uint64_t position =
      request.has_timestamp() ? events_.FirstAfter(FromProto(request.timestamp())) : stored_end;
  // Headers at once: the client then knows that from here on it misses nothing.
  writer->SendInitialMetadata();
  bool live = !request.has_timestamp();
  while (!context.IsCancelled()) {
    if (!live && position >= stored_end) {
      live = true;
      types::Event event;
      event.set_type("live");
      ToProto(absl::Now(), event.mutable_timestamp());
      if (!writer->Write(event)) break;
      if (request.storedonly()) return {};
    }
    STASIS_ASSIGN_OR_RETURN(std::optional<types::Event> event, events_.Next(position, After(kStreamStep)));
    if (!event) continue;
    ++position;
    if (!request.id().empty() && event->id() != request.id()) continue;
    if (!writer->Write(*event)) break;
  }
  return Cancelled("the client has gone");
}

}  // namespace stasis::supervisor
