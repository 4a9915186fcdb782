#include "supervisor/shim_client.h"

#include <utility>

#include "linux/clock.h"
#include "linux/unix_socket.h"

namespace stasis::supervisor {

// Hello does no work in the shim: one that does not answer it in this time is stuck.
constexpr std::chrono::milliseconds kHelloLimit{5000};

std::string ShimClient::attach_socket() const { return directory_ + "/" + protocol::kAttachSocket; }

StatusOr<ShimClient::Greeted> ShimClient::Connect(const ShimLimits& limits) const {
  StatusOr<UniqueFd> connection = ConnectUnix(directory_ + "/" + protocol::kShimSocket);
  if (!connection.ok()) return Annotate(connection.status(), "shim");
  protocol::Caller caller(*std::move(connection));
  StatusOr<Json> hello =
      caller.Call("hello", Json::object(), std::min(limits.quiet, kHelloLimit), limits.cancel);
  if (!hello.ok()) return Annotate(hello.status(), "shim: hello");
  StatusOr<protocol::ShimState> state = protocol::ShimStateFromJson(*hello);
  if (!state.ok()) return Annotate(state.status(), "shim: hello");
  return Greeted{std::move(caller), *std::move(state)};
}

StatusOr<protocol::ShimState> ShimClient::Hello(const ShimLimits& limits) const {
  STASIS_ASSIGN_OR_RETURN(Greeted greeted, Connect(limits));
  return std::move(greeted.state);
}

StatusOr<Json> ShimClient::Call(std::string_view method, const Json& params, const ShimLimits& limits,
                                const protocol::Caller::OnNotice& on_notice) const {
  STASIS_ASSIGN_OR_RETURN(Greeted greeted, Connect(limits));
  return greeted.caller.Call(method, params, limits.quiet, limits.cancel, on_notice);
}

StatusOr<protocol::Caller> ShimClient::Subscribe(uint64_t after, const ShimLimits& limits) const {
  STASIS_ASSIGN_OR_RETURN(Greeted greeted, Connect(limits));
  STASIS_RETURN_IF_ERROR(
      greeted.caller.Call("subscribe", {{"after", after}}, limits.quiet, limits.cancel).status());
  return std::move(greeted.caller);
}

StatusOr<protocol::ShimEvent> ShimClient::NextEvent(const protocol::Caller& subscription,
                                                    std::stop_token cancel) {
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(Json frame, protocol::ReadFrame(subscription.fd(), kNoDeadline, cancel));
    std::string notice;
    JsonReader reader(frame, "notice");
    reader.Get("notice", &notice);
    if (!reader.status().ok()) return DataLoss(Message(reader.status()));
    if (notice != "event") continue;
    const Json* params = reader.Find("params");
    if (!params) return DataLoss("event: no params");
    return protocol::ShimEventFromJson(*params);
  }
}

}  // namespace stasis::supervisor
