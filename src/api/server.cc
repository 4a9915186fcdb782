#include "api/server.h"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "api/hangup_watcher.h"
#include "api/http_error.h"
#include "api/session.h"
#include "base/log.h"
#include "linux/cancel.h"

namespace stasis::api {
namespace {

constexpr std::chrono::milliseconds kAcceptPause{100};  // after accept(2) failed: descriptors may come free

class HttpServer : public Server {
 public:
  HttpServer(ServerOptions options, RouteTable routes)
      : listeners_(std::move(options.listeners)), routes_(std::move(routes)) {
    context_.routes = &routes_;
    context_.limits = options.limits;
    context_.server = "Stasis/" + options.version + " (linux)";
  }

  Status Run(std::stop_token stop) override;

 private:
  struct Slot {
    std::unique_ptr<Session> session;
    std::jthread thread;
  };

  void AcceptLoop(const UnixListener& listener, std::stop_token stop);
  void Admit(UniqueFd socket);
  void Refuse(UniqueFd socket);
  void StopSessions();
  // The threads of ended sessions, taken out of sessions_. The caller joins them without the lock.
  std::vector<Slot> TakeEnded();

  std::vector<UnixListener> listeners_;
  RouteTable routes_;
  SessionContext context_;
  std::unique_ptr<HangupWatcher> watcher_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  uint64_t last_id_ = 0;  // guarded by mutex_, as all below
  std::map<uint64_t, Slot> sessions_;
  std::vector<uint64_t> ended_;  // ids whose thread is about to end
};

void HttpServer::Refuse(UniqueFd socket) {
  Connection connection(std::move(socket));
  HttpResponse::Setting setting;
  setting.connection = &connection;
  setting.write_pause = std::chrono::seconds(0);
  setting.server = context_.server;
  HttpResponse(std::move(setting)).Error(Unavailable("too many connections")).IgnoreError();
}

void HttpServer::Admit(UniqueFd socket) {
  std::unique_lock lock(mutex_);
  if (sessions_.size() >= context_.limits.connections) {
    lock.unlock();
    return Refuse(std::move(socket));
  }
  uint64_t id = ++last_id_;
  Slot& slot = sessions_[id];
  slot.session = std::make_unique<Session>(context_, std::move(socket));
  Session* session = slot.session.get();
  try {
    slot.thread = std::jthread([this, id, session] {
      session->Run();
      std::lock_guard ended(mutex_);
      ended_.push_back(id);
      changed_.notify_all();
    });
  } catch (const std::system_error& error) {
    spdlog::error("api: no thread for a connection: {}", error.what());
    sessions_.erase(id);
  }
}

void HttpServer::AcceptLoop(const UnixListener& listener, std::stop_token stop) {
  while (!stop.stop_requested()) {
    StatusOr<UniqueFd> socket = listener.Accept(stop);
    if (socket.ok()) {
      Admit(*std::move(socket));
    } else if (socket.status().code() != StatusCode::kCancelled) {
      spdlog::error("api: {}", Message(socket.status()));
      WaitFor(-1, 0, After(kAcceptPause), stop).IgnoreError();
    }
  }
}

std::vector<HttpServer::Slot> HttpServer::TakeEnded() {
  std::vector<Slot> taken;
  for (uint64_t id : std::exchange(ended_, {})) {
    auto slot = sessions_.find(id);
    taken.push_back(std::move(slot->second));
    sessions_.erase(slot);
  }
  return taken;
}

void HttpServer::StopSessions() {
  std::unique_lock lock(mutex_);
  for (auto& [id, slot] : sessions_) slot.session->Drain();
  auto some_ended = [this] { return !ended_.empty(); };
  const Deadline deadline = After(context_.limits.stop_grace);
  bool patient = true;
  while (!sessions_.empty()) {
    if (patient && !changed_.wait_until(lock, deadline, some_ended)) {
      patient = false;
      for (auto& [id, slot] : sessions_) slot.session->Stop();
    }
    if (!patient) changed_.wait(lock, some_ended);
    std::vector<Slot> ended = TakeEnded();
    lock.unlock();
    ended.clear();  // joins
    lock.lock();
  }
}

Status HttpServer::Run(std::stop_token stop) {
  STASIS_ASSIGN_OR_RETURN(watcher_, HangupWatcher::Create());
  context_.watcher = watcher_.get();
  std::vector<std::jthread> acceptors;
  for (const UnixListener& listener : listeners_) {
    acceptors.emplace_back([this, &listener, stop] { AcceptLoop(listener, stop); });
  }
  // This thread joins those of ended sessions.
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !ended_.empty(); })) {
    std::vector<Slot> ended = TakeEnded();
    lock.unlock();
    ended.clear();  // joins
    lock.lock();
  }
  lock.unlock();
  acceptors.clear();  // joins: no session begins from here on
  StopSessions();
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Create(ServerOptions options) {
  if (options.listeners.empty()) return InvalidArgument("the API server has nothing to listen on");
  STASIS_ASSIGN_OR_RETURN(RouteTable routes, RouteTable::Create(std::move(options.routes)));
  return std::unique_ptr<Server>(std::make_unique<HttpServer>(std::move(options), std::move(routes)));
}

}  // namespace stasis::api
