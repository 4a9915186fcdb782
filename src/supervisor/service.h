// The twelve calls of types.API over the containers of this supervisor. docs/contracts/supervisor.md says
// what each does where the wire alone does not.
#pragma once

#include <functional>
#include <stop_token>
#include <string_view>

#include "base/status.h"
#include "supervisor/call_watch.h"
#include "supervisor/containers.h"
#include "supervisor/event_log.h"
#include "types/api.grpc.pb.h"

namespace stasis::supervisor {

// Runs on gRPC's threads, one for each call under way.
class ApiService final : public types::API::Service {
 public:
  ApiService(Containers& containers, EventLog& events) : containers_(containers), events_(events) {}

  grpc::Status GetServerVersion(grpc::ServerContext* context, const types::GetServerVersionRequest* request,
                                types::GetServerVersionResponse* response) override;
  grpc::Status CreateContainer(grpc::ServerContext* context, const types::CreateContainerRequest* request,
                               types::CreateContainerResponse* response) override;
  grpc::Status UpdateContainer(grpc::ServerContext* context, const types::UpdateContainerRequest* request,
                               types::UpdateContainerResponse* response) override;
  grpc::Status Signal(grpc::ServerContext* context, const types::SignalRequest* request,
                      types::SignalResponse* response) override;
  grpc::Status UpdateProcess(grpc::ServerContext* context, const types::UpdateProcessRequest* request,
                             types::UpdateProcessResponse* response) override;
  grpc::Status AddProcess(grpc::ServerContext* context, const types::AddProcessRequest* request,
                          types::AddProcessResponse* response) override;
  grpc::Status CreateCheckpoint(grpc::ServerContext* context, const types::CreateCheckpointRequest* request,
                                types::CreateCheckpointResponse* response) override;
  grpc::Status DeleteCheckpoint(grpc::ServerContext* context, const types::DeleteCheckpointRequest* request,
                                types::DeleteCheckpointResponse* response) override;
  grpc::Status ListCheckpoint(grpc::ServerContext* context, const types::ListCheckpointRequest* request,
                              types::ListCheckpointResponse* response) override;
  grpc::Status State(grpc::ServerContext* context, const types::StateRequest* request,
                     types::StateResponse* response) override;
  grpc::Status Events(grpc::ServerContext* context, const types::EventsRequest* request,
                      grpc::ServerWriter<types::Event>* writer) override;
  grpc::Status Stats(grpc::ServerContext* context, const types::StatsRequest* request,
                     types::StatsResponse* response) override;

 private:
  // Runs `call`, which is told when the client goes, logs how it ended and turns the error into gRPC's.
  grpc::Status Answer(grpc::ServerContext* context, std::string_view method, std::string_view id,
                      const std::function<stasis::Status(std::stop_token gone)>& call);
  stasis::Status StreamEvents(const grpc::ServerContext& context, const types::EventsRequest& request,
                              grpc::ServerWriter<types::Event>* writer);
  // Where the checkpoints are that a request names. A container that has ended is no hindrance where the
  // directory is given.
  StatusOr<std::string> CheckpointsOf(const std::string& id, const std::string& directory) const;

  Containers& containers_;
  EventLog& events_;
  CallWatch watch_;
};

}  // namespace stasis::supervisor
