#include "supervisor/client.h"

#include <google/protobuf/message.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <utility>

#include "linux/clock.h"
#include "supervisor/open_call.h"

namespace stasis::supervisor {
namespace {

constexpr char kService[] = "/types.API/";
constexpr int kMaxAnswer = 64 << 20;
constexpr size_t kMaxRequest = 16 << 20;  // what our server takes
constexpr int kBackoffFirstMs = 100;
constexpr int kBackoffMostMs = 500;
// A supervisor that has just been started listens at once, but answers only when it has found its shims
// again.
constexpr int kConnectLimitMs = 5000;
// So long a call waits for a supervisor that is being started again, before it is sent.
constexpr std::chrono::seconds kReachLimit{5};
constexpr std::chrono::milliseconds kReachStep{50};
constexpr std::chrono::seconds kTakenUpLimit{2};
constexpr std::chrono::seconds kProgressLimit{5};

std::shared_ptr<grpc::Channel> Connect(const std::string& path) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxAnswer);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kBackoffFirstMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectLimitMs);  // it bounds an attempt
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kBackoffMostMs);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // no state shared with other clients
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);             // who repeats a call is our caller's decision
  return grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments);
}

// kInternal when the message can't go over the wire: too large, or text in it that is not UTF-8, which the
// other side would refuse. protobuf tells of the latter only when it reads, so what was written is read back.
StatusOr<grpc::ByteBuffer> Encode(const google::protobuf::Message& message) {
  std::string bytes;
  if (message.ByteSizeLong() > kMaxRequest || !message.SerializeToString(&bytes)) {
    return Internal("request can't be encoded: " + std::to_string(message.ByteSizeLong()) + " bytes");
  }
  std::unique_ptr<google::protobuf::Message> back(message.New());
  if (!back->ParseFromString(bytes)) return Internal("request can't be encoded: text that is not UTF-8");
  grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

Status Decode(const grpc::ByteBuffer& buffer, google::protobuf::Message* message) {
  grpc::Slice slice;
  if (!buffer.DumpToSingleSlice(&slice).ok()) return Internal("answer can't be read");
  if (!message->ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) {
    return Internal("answer can't be decoded");
  }
  return {};
}

using StopCallback = std::stop_callback<std::function<void()>>;

}  // namespace

struct Client::Channel {
  explicit Channel(const std::string& path) : channel(Connect(path)), stub(channel) {}

  // Waits until the server is there, bounded; where it is not, the call itself finds that out.
  void Reach(std::chrono::milliseconds quiet_limit, const std::stop_token& cancel) {
    std::chrono::milliseconds limit = kReachLimit;
    if (quiet_limit.count() != 0) limit = std::min(limit, quiet_limit);
    const Deadline deadline = After(limit);
    while (channel->GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_READY && PollTimeout(deadline) > 0 &&
           !cancel.stop_requested()) {
      channel->WaitForConnected(std::chrono::system_clock::now() + kReachStep);
    }
  }

  std::shared_ptr<grpc::Channel> channel;
  grpc::GenericStub stub;
};

Client::Client(const std::string& path, std::vector<std::shared_ptr<Interceptor>> interceptors)
    : channel_(new Channel(path)), interceptors_(std::move(interceptors)) {}

Client::~Client() = default;

// ---- every unary call

namespace {

// The whole of one unary call. What fails on the way is told by Finish: its status is the server's own where
// there is one, also when the server refused before it had read the request.
Status CallOnce(grpc::GenericStub& stub, const std::string& method, const google::protobuf::Message& request,
                google::protobuf::Message* response, const CallOptions& options) {
  Patience patience(options.quiet_limit, options.progress);
  OpenCall call(stub, method);
  StopCallback cancel(options.cancel, [&call] { call.Cancel(); });

  STASIS_ASSIGN_OR_RETURN(grpc::ByteBuffer message, Encode(request));
  if (options.compress) call.CompressWithGzip();
  if (call.Start(patience)) call.Write(message, patience);

  grpc::ByteBuffer answer, surplus;
  bool answered = call.Read(&answer, patience);
  bool too_many = answered && call.Read(&surplus, patience);
  if (too_many) call.Cancel();
  Status status = call.Finish(patience);

  if (too_many) return Internal("more than one answer");
  STASIS_RETURN_IF_ERROR(status);
  if (!answered) return Internal("no answer");
  return Decode(answer, response);
}

}  // namespace

Status Client::Invoke(const std::string& method, const google::protobuf::Message& request,
                      google::protobuf::Message* response, const CallOptions& options) {
  std::function<Status()> call = [&] {
    channel_->Reach(options.quiet_limit, options.cancel);
    return CallOnce(channel_->stub, method, request, response, options);
  };
  for (auto interceptor = interceptors_.rbegin(); interceptor != interceptors_.rend(); ++interceptor) {
    call = [&around = **interceptor, &method, next = std::move(call)] {
      return around.Intercept(method, next);
    };
  }
  return call();
}

template <typename Response>
StatusOr<Response> Client::Unary(const char* name, const google::protobuf::Message& request,
                                 const CallOptions& options) {
  Response response;
  STASIS_RETURN_IF_ERROR(Invoke(std::string(kService) + name, request, &response, options));
  return response;
}

// ---- the calls

StatusOr<types::GetServerVersionResponse> Client::GetServerVersion(
    const types::GetServerVersionRequest& request, const CallOptions& options) {
  return Unary<types::GetServerVersionResponse>("GetServerVersion", request, options);
}

StatusOr<types::CreateContainerResponse> Client::CreateContainer(const types::CreateContainerRequest& request,
                                                                 const CallOptions& options) {
  return Unary<types::CreateContainerResponse>("CreateContainer", request, options);
}

StatusOr<types::UpdateContainerResponse> Client::UpdateContainer(const types::UpdateContainerRequest& request,
                                                                 const CallOptions& options,
                                                                 const OnLook& on_look) {
  CallOptions with_progress = options;
  if (on_look) {
    with_progress.progress = [&]() -> std::optional<uint64_t> {
      const auto seen = Look(request.id(), options);
      if (!seen) return std::nullopt;
      on_look(*seen);
      return seen->checkpoint_progress();
    };
  }
  return Unary<types::UpdateContainerResponse>("UpdateContainer", request, with_progress);
}

StatusOr<types::SignalResponse> Client::Signal(const types::SignalRequest& request,
                                               const CallOptions& options) {
  return Unary<types::SignalResponse>("Signal", request, options);
}

StatusOr<types::UpdateProcessResponse> Client::UpdateProcess(const types::UpdateProcessRequest& request,
                                                             const CallOptions& options) {
  return Unary<types::UpdateProcessResponse>("UpdateProcess", request, options);
}

StatusOr<types::AddProcessResponse> Client::AddProcess(const types::AddProcessRequest& request,
                                                       const CallOptions& options) {
  return Unary<types::AddProcessResponse>("AddProcess", request, options);
}

StatusOr<types::CreateCheckpointResponse> Client::CreateCheckpoint(
    const types::CreateCheckpointRequest& request, const CallOptions& options, const OnLook& on_look) {
  if (!request.has_checkpoint()) return InvalidArgument("checkpoint: missing");
  CallOptions with_progress = options;
  if (!options.progress) {
    with_progress.progress = [&]() -> std::optional<uint64_t> {
      const auto seen = Look(request.id(), options);
      if (!seen || !seen->checkpointing()) return std::nullopt;  // it has not begun, or is over
      if (on_look) on_look(*seen);
      return seen->checkpoint_progress();
    };
  }
  return Unary<types::CreateCheckpointResponse>("CreateCheckpoint", request, with_progress);
}

std::optional<types::Container> Client::Look(const std::string& id, const CallOptions& of_work) {
  types::StateRequest request;
  request.set_id(id);
  CallOptions options;
  options.quiet_limit = kProgressLimit;
  options.cancel = of_work.cancel;
  StatusOr<types::StateResponse> state = State(request, options);
  if (!state.ok() || state->containers_size() != 1) return std::nullopt;
  return std::move(*state->mutable_containers(0));
}

StatusOr<types::DeleteCheckpointResponse> Client::DeleteCheckpoint(
    const types::DeleteCheckpointRequest& request, const CallOptions& options) {
  return Unary<types::DeleteCheckpointResponse>("DeleteCheckpoint", request, options);
}

StatusOr<types::ListCheckpointResponse> Client::ListCheckpoint(const types::ListCheckpointRequest& request,
                                                               const CallOptions& options) {
  return Unary<types::ListCheckpointResponse>("ListCheckpoint", request, options);
}

StatusOr<types::StateResponse> Client::State(const types::StateRequest& request, const CallOptions& options) {
  return Unary<types::StateResponse>("State", request, options);
}

StatusOr<types::StatsResponse> Client::Stats(const types::StatsRequest& request, const CallOptions& options) {
  return Unary<types::StatsResponse>("Stats", request, options);
}

// ---- the event stream

class EventStream::Call {
 public:
  Call(grpc::GenericStub& stub, const std::string& method) : call_(stub, method) {}

  Status Open(const grpc::ByteBuffer& request, const CallOptions& options) {
    StopCallback cancel(options.cancel, [this] { call_.Cancel(); });
    Patience patience(options.quiet_limit, nullptr);
    if (call_.Start(patience) && call_.Write(request, patience) && call_.AwaitHeaders(After(kTakenUpLimit))) {
      return {};
    }
    Status status = call_.Finish(patience);
    return status.ok() ? Internal("the server ended the stream") : status;
  }

  StatusOr<types::Event> Next(std::stop_token stop) {
    if (!end_.ok()) return end_;
    StopCallback cancel(stop, [this] { call_.Cancel(); });
    Patience forever({}, nullptr);
    grpc::ByteBuffer buffer;
    if (!call_.Read(&buffer, forever)) {
      end_ = call_.Finish(forever);
      if (end_.ok()) end_ = MakeError(StatusCode::kOutOfRange, "the stream has ended");
      return end_;
    }
    types::Event event;
    if (end_ = Decode(buffer, &event); !end_.ok()) return end_;
    return event;
  }

 private:
  OpenCall call_;
  Status end_;
};

EventStream::EventStream(std::unique_ptr<Call> call) : call_(std::move(call)) {}
EventStream::EventStream(EventStream&&) noexcept = default;
EventStream& EventStream::operator=(EventStream&&) noexcept = default;
EventStream::~EventStream() = default;

StatusOr<types::Event> EventStream::Next(std::stop_token cancel) { return call_->Next(std::move(cancel)); }

StatusOr<EventStream> Client::Events(const types::EventsRequest& request, const CallOptions& options) {
  STASIS_ASSIGN_OR_RETURN(grpc::ByteBuffer message, Encode(request));
  auto call = std::make_unique<EventStream::Call>(channel_->stub, std::string(kService) + "Events");
  STASIS_RETURN_IF_ERROR(call->Open(message, options));
  return EventStream(std::move(call));
}

}  // namespace stasis::supervisor
