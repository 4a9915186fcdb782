// The supervisor as the engine's calls reach it: types.API over a unix socket.
#pragma once

#include <memory>
#include <string>

#include "engine/supervisor.h"
#include "supervisor/client.h"

namespace stasis::engine {

class SupervisorLink final : public Supervisor {
 public:
  explicit SupervisorLink(const std::string& socket);

  StatusOr<types::Container> Create(const types::CreateContainerRequest& request,
                                    std::stop_token cancel) override;
  Status Run(const std::string& id, const OnLook& on_look, std::stop_token cancel) override;
  Status Pause(const std::string& id, std::stop_token cancel) override;
  Status Signal(const std::string& id, const std::string& process, int signal, bool all) override;
  StatusOr<int> AddProcess(const types::AddProcessRequest& request, std::stop_token cancel) override;
  Status Resize(const std::string& id, const std::string& process, uint32_t width, uint32_t height) override;
  StatusOr<types::CreateCheckpointResponse> Checkpoint(const types::CreateCheckpointRequest& request,
                                                       const OnLook& on_look,
                                                       std::stop_token cancel) override;
  StatusOr<std::vector<types::Container>> State(const std::string& id) override;
  Status FollowEvents(absl::Time since, const OnEvent& on_event, std::stop_token cancel) override;
  StatusOr<std::vector<types::Event>> PastEvents(absl::Time since, const std::string& id) override;
  StatusOr<std::string> Version() override;

 private:
  Status Update(const std::string& id, const std::string& status, const OnLook& on_look,
                std::stop_token cancel);
  supervisor::Client client_;
};

// Times on the wire.
absl::Time FromProto(const google::protobuf::Timestamp& timestamp);
google::protobuf::Timestamp ToProto(absl::Time time);

}  // namespace stasis::engine
