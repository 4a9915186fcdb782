// One client's connection, served request after request by its own thread.
#pragma once

#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "api/connection.h"
#include "api/hangup_watcher.h"
#include "api/http_parser.h"
#include "api/http_response.h"
#include "api/route.h"
#include "api/server.h"

namespace stasis::api {

// What all sessions of a server share. Read-only, outlives them.
struct SessionContext {
  const RouteTable* routes = nullptr;
  HangupWatcher* watcher = nullptr;
  Limits limits;
  std::string server;  // the Server field
};

class Session {
 public:
  Session(const SessionContext& context, UniqueFd socket)
      : context_(context), connection_(std::move(socket)) {}

  // Serves until the client leaves or Stop. Once, on the session's own thread.
  void Run();

  // Any thread. The connection ends once it is between requests; streams are ended at once.
  void Drain();
  // Any thread. Cancels what runs.
  void Stop() { stop_.request_stop(); }

 private:
  enum class Phase { kIdle, kCall, kStream };

  bool ServeOne();
  // A parser whose header is read, or null at the end of the connection (an error was answered).
  std::unique_ptr<HttpParser> ReadHead();
  void AnswerUnreadable(const Status& error);
  Status Handle(HttpParser& parser, Request& request, HttpResponse& response);
  StatusOr<size_t> ReadBody(HttpParser& parser, Request& request, HttpResponse& response, char* out,
                            size_t size);
  void Enter(Phase phase);

  const SessionContext& context_;
  Connection connection_;
  std::string input_;              // read from the connection and not used yet
  bool told_to_continue_ = false;  // 100 was sent for this request
  std::stop_source stop_;
  std::mutex mutex_;
  Phase phase_ = Phase::kIdle;  // guarded by mutex_
  bool draining_ = false;       // guarded by mutex_
};

}  // namespace stasis::api
