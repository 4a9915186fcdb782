// The control protocol (protocol/shim.h) on one connection: requests in, verbs of the container, answers out.
#pragma once

#include <functional>
#include <stop_token>

#include "base/json.h"
#include "linux/unique_fd.h"
#include "protocol/frame.h"
#include "shim/container.h"
#include "shim/event_loop.h"

namespace stasis {

class Control {
 public:
  // All borrowed. `deleted` is called once a delete was answered.
  Control(Container* container, EventLoop* loop, std::function<void()> deleted)
      : container_(container), loop_(loop), deleted_(std::move(deleted)) {}

  // Serves one connection until its end. Any number of threads.
  void Serve(UniqueFd connection, std::stop_token stop) const;
  // The same for one client of attach.sock; hands it on to the container.
  void ServeAttach(UniqueFd connection, std::stop_token stop) const;

 private:
  StatusOr<Json> Dispatch(const protocol::Request& request, int connection, std::stop_token hung_up) const;
  StatusOr<Json> Kill(const Json& params, std::stop_token hung_up) const;
  StatusOr<Json> Resize(const Json& params) const;
  // Sends events until the connection or the shim ends.
  void Subscribe(const protocol::Request& request, int connection, std::stop_token stop) const;

  Container* const container_;
  EventLoop* const loop_;
  const std::function<void()> deleted_;
};

}  // namespace stasis
