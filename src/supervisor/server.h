// The supervisor as a server on a unix socket.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "supervisor/containers.h"

namespace stasis::supervisor {

struct ServerOptions {
  std::string state_directory;  // RUN: shims/, runc/, events.log
  std::string socket;           // mode 0660, guarded by SOCKET.lock
  Programs programs;
};

class Server {
 public:
  // Finds the containers of before, then serves. kAlreadyExists: another supervisor has this socket, or this
  // state.
  static StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Ends calls under way (checkpoints are cancelled); the containers run on.
  ~Server();

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  void AcceptAll(std::stop_token stop);
  void ServeConnection(int fd);  // takes it
  std::unique_ptr<Parts> parts_;
};

}  // namespace stasis::supervisor
