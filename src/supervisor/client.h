// The client half: calls a supervisor, ours or a containerd 0.2, over types.API.
//
// Every unary call goes through one Invoke. Errors have the server's code and message. kUnavailable with
// ConnectionBroken(): the server was not reached, or its answer never came, so what was asked may or may not
// have been done; the channel connects anew by itself, at growing intervals of up to 0.5 s, and a call waits
// up to 5 s for a server that is not there yet.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "supervisor/interceptor.h"
#include "types/api.pb.h"

namespace stasis::supervisor {

struct CallOptions {
  // The deadline is on lack of progress: it starts anew whenever `progress` gives another number than before.
  // kDeadlineExceeded when it has passed; the server sees the call cancelled. Zero: none.
  std::chrono::milliseconds quiet_limit{30000};
  // Asked now and then while the call waits, on the calling thread; it may call the server itself, for a
  // short answer. Absent: nothing tells of progress, so the limit is on the whole. CreateCheckpoint brings
  // its own.
  std::function<std::optional<uint64_t>()> progress;
  // kCancelled as soon as it is asked to stop; the server sees the call cancelled.
  std::stop_token cancel = {};
  // Compress the request (gzip). A containerd 0.2 answers UNIMPLEMENTED to that, so never by default.
  bool compress = false;
};

// Whether this error means that the connection failed, not that the server said kUnavailable.
bool ConnectionBroken(const Status& status);

// The events of a supervisor, read one by one. One reader at a time. Its end (an error of Next) is final:
// whoever wants more opens another, from the last timestamp it saw.
class EventStream {
 public:
  EventStream(EventStream&&) noexcept;
  EventStream& operator=(EventStream&&) noexcept;
  ~EventStream();  // closes it

  // The next event; waits for it without limit. kOutOfRange: the server has ended the stream as asked
  // (storedOnly). kCancelled: by `cancel`, which ends the stream. Else the server's error, or
  // ConnectionBroken().
  StatusOr<types::Event> Next(std::stop_token cancel);

 private:
  friend class Client;
  class Call;
  explicit EventStream(std::unique_ptr<Call> call);
  std::unique_ptr<Call> call_;
};

// Thread-safe.
class Client {
 public:
  // For the unix socket at `path`. Connects at the first call. Interceptors run around each unary call in
  // this order.
  explicit Client(const std::string& path, std::vector<std::shared_ptr<Interceptor>> interceptors = {});
  ~Client();

  StatusOr<types::GetServerVersionResponse> GetServerVersion(const types::GetServerVersionRequest& request,
                                                             const CallOptions& options = {});
  StatusOr<types::CreateContainerResponse> CreateContainer(const types::CreateContainerRequest& request,
                                                           const CallOptions& options = {});
  // With `on_look`, of a restore, progress is what State tells of the container, so a long one that gets on
  // runs into no limit; `on_look` is shown that, on the calling thread.
  using OnLook = std::function<void(const types::Container&)>;
  StatusOr<types::UpdateContainerResponse> UpdateContainer(const types::UpdateContainerRequest& request,
                                                           const CallOptions& options = {},
                                                           const OnLook& on_look = {});
  StatusOr<types::SignalResponse> Signal(const types::SignalRequest& request,
                                         const CallOptions& options = {});
  StatusOr<types::UpdateProcessResponse> UpdateProcess(const types::UpdateProcessRequest& request,
                                                       const CallOptions& options = {});
  StatusOr<types::AddProcessResponse> AddProcess(const types::AddProcessRequest& request,
                                                 const CallOptions& options = {});
  // A request without its `checkpoint` message is refused here: it kills a containerd 0.2. Progress is as
  // with UpdateContainer, always.
  StatusOr<types::CreateCheckpointResponse> CreateCheckpoint(const types::CreateCheckpointRequest& request,
                                                             const CallOptions& options = {},
                                                             const OnLook& on_look = {});
  StatusOr<types::DeleteCheckpointResponse> DeleteCheckpoint(const types::DeleteCheckpointRequest& request,
                                                             const CallOptions& options = {});
  StatusOr<types::ListCheckpointResponse> ListCheckpoint(const types::ListCheckpointRequest& request,
                                                         const CallOptions& options = {});
  StatusOr<types::StateResponse> State(const types::StateRequest& request, const CallOptions& options = {});
  StatusOr<types::StatsResponse> Stats(const types::StatsRequest& request, const CallOptions& options = {});

  // Opens the stream, and returns once the server has taken it up: no event after that is missed. A
  // containerd 0.2 does not say so before its first event; it is given 2 s.
  StatusOr<EventStream> Events(const types::EventsRequest& request, const CallOptions& options = {});

  // Any unary call by its full name, "/types.API/State"; for the methods above, and for tests.
  Status Invoke(const std::string& method, const google::protobuf::Message& request,
                google::protobuf::Message* response, const CallOptions& options);

 private:
  template <typename Response>
  StatusOr<Response> Unary(const char* name, const google::protobuf::Message& request,
                           const CallOptions& options);
  // None when the server does not tell.
  std::optional<types::Container> Look(const std::string& id, const CallOptions& of_work);

  struct Channel;
  std::unique_ptr<Channel> channel_;
  std::vector<std::shared_ptr<Interceptor>> interceptors_;
};

}  // namespace stasis::supervisor
