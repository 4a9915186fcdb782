// Tells the handlers of long calls that their client has gone: gRPC's synchronous server only says so when
// asked.
#pragma once

#include <condition_variable>
#include <list>
#include <mutex>
#include <stop_token>
#include <thread>

namespace grpc {
class ServerContext;
}

namespace stasis::supervisor {

// Thread-safe. Its one thread sleeps while no call is watched.
class CallWatch {
 public:
  CallWatch();
  ~CallWatch();

  // A call under watch, on the stack of its handler.
  class Scope {
   public:
    Scope(CallWatch& watch, const grpc::ServerContext& context);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    // Asked to stop within 100 ms after the client has cancelled or gone.
    std::stop_token token() const { return source_.get_token(); }

   private:
    friend class CallWatch;
    CallWatch& watch_;
    const grpc::ServerContext& context_;
    std::stop_source source_;
    std::list<Scope*>::iterator place_;
  };

 private:
  void Watch(std::stop_token stop);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::list<Scope*> calls_;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace stasis::supervisor
