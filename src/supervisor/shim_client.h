// Speaking with one shim, by its directory. Each call opens a connection of its own, so a long one (a
// checkpoint) holds up no other; the shim's answer to hello, first on every connection, checks the protocol's
// version.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "protocol/frame.h"
#include "protocol/shim.h"

namespace stasis::supervisor {

struct ShimLimits {
  std::chrono::milliseconds quiet{30000};  // without an answer or a notice
  std::stop_token cancel = {};
};

// Thread-safe; keeps no connection.
class ShimClient {
 public:
  explicit ShimClient(std::string directory) : directory_(std::move(directory)) {}

  const std::string& directory() const { return directory_; }
  std::string attach_socket() const;

  // kUnavailable, kNotFound: no shim serves there. kUnimplemented: of a version we do not drive.
  StatusOr<protocol::ShimState> Hello(const ShimLimits& limits) const;
  // One method of protocol/shim.h. `on_notice` gets what comes before the answer. Cancelling closes the
  // connection, which cancels a checkpoint.
  StatusOr<Json> Call(std::string_view method, const Json& params, const ShimLimits& limits,
                      const protocol::Caller::OnNotice& on_notice = nullptr) const;

  // A connection on which every event after number `after` comes as a notice.
  StatusOr<protocol::Caller> Subscribe(uint64_t after, const ShimLimits& limits) const;
  // The next event of a subscription; waits for it without limit. kUnavailable: the shim closed it or is
  // gone.
  static StatusOr<protocol::ShimEvent> NextEvent(const protocol::Caller& subscription,
                                                 std::stop_token cancel);

 private:
  struct Greeted {
    protocol::Caller caller;
    protocol::ShimState state;
  };
  StatusOr<Greeted> Connect(const ShimLimits& limits) const;

  std::string directory_;
};

}  // namespace stasis::supervisor
