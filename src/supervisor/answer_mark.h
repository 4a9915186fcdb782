// How a client tells a server's UNAVAILABLE from a connection that broke, of which gRPC makes the same
// status: our server puts this key into the trailing metadata of every error. A containerd 0.2 never says
// UNAVAILABLE itself.
#pragma once

namespace stasis::supervisor {

inline constexpr char kAnswerMark[] = "stasis-answer";

}  // namespace stasis::supervisor
