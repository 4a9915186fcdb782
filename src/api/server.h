// The HTTP/1.1 server in front of the engine. docs/contracts/docker-api.md says what it promises to clients.
//
//   STASIS_ASSIGN_OR_RETURN(UnixListener socket, UnixListener::Listen("/run/stasis/stasis.sock", 0660));
//   api::ServerOptions options;
//   options.listeners.push_back(std::move(socket));
//   options.routes = api::EngineRoutes({&engine, &engine, &engine, &engine, &engine});
//   options.version = STASIS_VERSION;
//   STASIS_ASSIGN_OR_RETURN(std::unique_ptr<api::Server> server, api::Server::Create(std::move(options)));
//   server->Run(stop_token);  // until it is asked to stop
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "api/route.h"
#include "base/status.h"
#include "linux/unix_socket.h"

namespace stasis::api {

struct Limits {
  size_t connections = 1024;             // at once; more are answered 503 and closed
  size_t header_bytes = 64 << 10;        // request line and fields
  size_t json_bytes = 4 << 20;           // a JSON body; uploads are not limited
  std::chrono::seconds header_time{30};  // from a request's first byte to the end of its header
  std::chrono::seconds idle_time{600};   // between requests
  std::chrono::seconds body_pause{300};  // without a byte of a body that is being read
  std::chrono::seconds write_pause{60};  // without a byte of an answer taken; streams wait for ever
  std::chrono::seconds stop_grace{10};   // what calls under way get when the server stops
};

struct ServerOptions {
  std::vector<UnixListener> listeners;  // at least one
  std::vector<Route> routes;
  std::string version;  // of Stasis, for the Server field
  Limits limits;
};

class Server {
 public:
  // kInvalidArgument: no listener, or a table that RouteTable refuses.
  static StatusOr<std::unique_ptr<Server>> Create(ServerOptions options);
  virtual ~Server() = default;

  // Serves until `stop`, one thread a connection. Then: takes no new connection, ends streams, lets calls
  // under way finish for stop_grace, cancels what is left, and returns when every thread has ended (a handler
  // that does not heed its cancel holds it up). Once. An error: the server could not start.
  virtual Status Run(std::stop_token stop) = 0;
};

}  // namespace stasis::api
