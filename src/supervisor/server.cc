#include "supervisor/server.h"

#include <fcntl.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <sys/file.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "base/log.h"
#include "linux/files.h"
#include "linux/regular_file.h"
#include "linux/unix_socket.h"
#include "supervisor/event_log.h"
#include "supervisor/service.h"

namespace stasis::supervisor {
namespace {

constexpr int kMaxRequest = 16 << 20;
constexpr std::chrono::seconds kShutdownLimit{5};
constexpr std::chrono::milliseconds kAcceptPause{100};

std::unique_ptr<grpc::Server> BuildServer(ApiService& service) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(kMaxRequest);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  // Clients of 2016 ping as they like; the default would send them away ("too_many_pings").
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 100);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  return builder.BuildAndStart();
}

// Two supervisors on two sockets must not share a state either.
StatusOr<UniqueFd> LockState(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd lock,
                          OpenRegularFile(directory + "/supervisor.lock", O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return AlreadyExists("another supervisor runs on the state " + directory);
  return ErrnoError(errno, "flock " + directory);
}

}  // namespace

struct Server::Parts {
  UniqueFd state_lock;
  UnixListener listener;
  std::unique_ptr<EventLog> events;
  std::unique_ptr<Containers> containers;
  std::unique_ptr<ApiService> service;
  std::unique_ptr<grpc::Server> server;
  std::jthread acceptor;
};

StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(options.state_directory));
  STASIS_ASSIGN_OR_RETURN(UniqueFd lock, LockState(options.state_directory));
  StatusOr<UnixListener> listener = UnixListener::Listen(options.socket, 0660);
  if (!listener.ok()) return Annotate(listener.status(), "socket");
  STASIS_ASSIGN_OR_RETURN(auto events, EventLog::Open(options.state_directory + "/events.log"));
  auto containers = std::make_unique<Containers>(options.state_directory, options.programs, *events);
  STASIS_RETURN_IF_ERROR(Annotate(containers->Adopt(), "find the containers of before"));
  auto service = std::make_unique<ApiService>(*containers, *events);
  auto grpc_server = BuildServer(*service);
  if (!grpc_server) return Internal("gRPC's server did not start");
  auto parts = std::make_unique<Parts>(Parts{std::move(lock), *std::move(listener), std::move(events),
                                             std::move(containers), std::move(service),
                                             std::move(grpc_server), std::jthread()});
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  return server;
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {
  parts_->acceptor = std::jthread([this](std::stop_token stop) { AcceptAll(std::move(stop)); });
}

void Server::AcceptAll(std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  while (!stop.stop_requested()) {
    StatusOr<UniqueFd> connection = parts_->listener.Accept(stop);
    if (connection.ok()) {
      ServeConnection(connection->release());
    } else if (!stop.stop_requested()) {  // out of descriptors: some calls end, then it goes on
      spdlog::error("accept: {}", Message(connection.status()));
      std::unique_lock lock(mutex);
      never.wait_for(lock, stop, kAcceptPause, [] { return false; });
    }
  }
}

Server::~Server() {
  parts_->acceptor = std::jthread();  // no new connections
  parts_->server->Shutdown(std::chrono::system_clock::now() + kShutdownLimit);
  parts_->server->Wait();
}

void Server::ServeConnection(int fd) {
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) spdlog::error("fcntl: {}", strerror(errno));
  grpc::AddInsecureChannelFromFd(parts_->server.get(), fd);
}

}  // namespace stasis::supervisor
