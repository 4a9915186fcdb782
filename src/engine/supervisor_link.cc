#include "engine/supervisor_link.h"

#include <condition_variable>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "linux/cancel.h"

namespace stasis::engine {
namespace {

// A restore reads all memory back: lack of progress, as far as somebody looks.
constexpr std::chrono::minutes kRunLimit{10};
// Lack of progress; the supervisor's own limit is shorter and says more.
constexpr std::chrono::minutes kCheckpointLimit{2};
// Pausing, execs and signals wait for the freeze of a checkpoint under way.
constexpr std::chrono::minutes kPauseLimit{2};
// So long a supervisor that is being started again is waited for.
constexpr std::chrono::seconds kReturnLimit{10};
constexpr std::chrono::milliseconds kRetryStep{200};
constexpr int kRunAttempts = 3;

// Calls `call` until the connection holds, for those that may be done twice.
template <typename Call>
auto Retry(const Call& call) {
  const Deadline deadline = After(kReturnLimit);
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (true) {
    auto result = call();
    Status status;
    if constexpr (std::is_same_v<decltype(result), Status>) {
      status = result;
    } else {
      status = result.status();
    }
    if (!supervisor::ConnectionBroken(status) || PollTimeout(deadline) == 0) return result;
    never.wait_for(lock, kRetryStep);
  }
}

}  // namespace

absl::Time FromProto(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

SupervisorLink::SupervisorLink(const std::string& socket)
    : client_(socket, {std::make_shared<supervisor::CallLog>()}) {}

StatusOr<types::Container> SupervisorLink::Create(const types::CreateContainerRequest& request,
                                                  std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(
      types::CreateContainerResponse response,
      client_.CreateContainer(request, {.progress = nullptr, .cancel = std::move(cancel)}));
  return std::move(*response.mutable_container());
}

Status SupervisorLink::Update(const std::string& id, const std::string& status, const OnLook& on_look,
                              std::stop_token cancel) {
  types::UpdateContainerRequest request;
  request.set_id(id);
  request.set_status(status);
  const std::chrono::milliseconds limit = status == "paused" ? kPauseLimit : kRunLimit;
  return client_
      .UpdateContainer(request, {.quiet_limit = limit, .progress = nullptr, .cancel = std::move(cancel)},
                       on_look)
      .status();
}

Status SupervisorLink::Run(const std::string& id, const OnLook& on_look, std::stop_token cancel) {
  Status status = Update(id, "running", on_look, cancel);
  if (!supervisor::ConnectionBroken(status)) return status;
  // The supervisor died in the middle of it. The shim goes on by itself: what became of it is asked.
  for (int attempt = 0; attempt < kRunAttempts; ++attempt) {
    STASIS_ASSIGN_OR_RETURN(const std::vector<types::Container> found, State(id));
    if (found.empty()) return status;
    const std::string& now = found.front().status();
    if (now != "created" && now != "stopped") return {};
    // Waits for a start that is under way; of one that failed meanwhile it says why.
    Status again = Update(id, "running", on_look, cancel);
    if (again.ok() || (now == "stopped" && !supervisor::ConnectionBroken(again))) return again;
  }
  return status;
}

Status SupervisorLink::Pause(const std::string& id, std::stop_token cancel) {
  return Update(id, "paused", {}, std::move(cancel));
}

Status SupervisorLink::Signal(const std::string& id, const std::string& process, int signal, bool all) {
  types::SignalRequest request;
  request.set_id(id);
  request.set_pid(process);
  request.set_signal(static_cast<uint32_t>(signal));
  request.set_all(all);
  return Retry(
      [&] { return client_.Signal(request, {.quiet_limit = kPauseLimit, .progress = nullptr}).status(); });
}

StatusOr<int> SupervisorLink::AddProcess(const types::AddProcessRequest& request, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(
      const types::AddProcessResponse response,
      client_.AddProcess(request,
                         {.quiet_limit = kPauseLimit, .progress = nullptr, .cancel = std::move(cancel)}));
  return static_cast<int>(response.systempid());
}

Status SupervisorLink::Resize(const std::string& id, const std::string& process, uint32_t width,
                              uint32_t height) {
  types::UpdateProcessRequest request;
  request.set_id(id);
  request.set_pid(process);
  request.set_width(width);
  request.set_height(height);
  return client_.UpdateProcess(request).status();
}

StatusOr<types::CreateCheckpointResponse> SupervisorLink::Checkpoint(
    const types::CreateCheckpointRequest& request, const OnLook& on_look, std::stop_token cancel) {
  return client_.CreateCheckpoint(
      request, {.quiet_limit = kCheckpointLimit, .progress = nullptr, .cancel = std::move(cancel)}, on_look);
}

StatusOr<std::vector<types::Container>> SupervisorLink::State(const std::string& id) {
  types::StateRequest request;
  request.set_id(id);
  StatusOr<types::StateResponse> response = Retry([&] { return client_.State(request); });
  if (!response.ok()) {
    if (!id.empty() && absl::IsNotFound(response.status())) return std::vector<types::Container>();
    return response.status();
  }
  return std::vector<types::Container>(response->containers().begin(), response->containers().end());
}

Status SupervisorLink::FollowEvents(absl::Time since, const OnEvent& on_event, std::stop_token cancel) {
  types::EventsRequest request;
  *request.mutable_timestamp() = ToProto(since);
  STASIS_ASSIGN_OR_RETURN(supervisor::EventStream stream,
                          client_.Events(request, {.progress = nullptr, .cancel = cancel}));
  while (true) {
    StatusOr<types::Event> event = stream.Next(cancel);
    if (!event.ok()) return event.status();
    on_event(*event);
  }
}

StatusOr<std::vector<types::Event>> SupervisorLink::PastEvents(absl::Time since, const std::string& id) {
  types::EventsRequest request;
  *request.mutable_timestamp() = ToProto(since);
  request.set_storedonly(true);
  request.set_id(id);
  STASIS_ASSIGN_OR_RETURN(supervisor::EventStream stream, client_.Events(request));
  std::vector<types::Event> events;
  while (true) {
    StatusOr<types::Event> event = stream.Next({});
    if (event.ok()) {
      events.push_back(*std::move(event));
      continue;
    }
    if (absl::IsOutOfRange(event.status())) return events;
    return event.status();
  }
}

StatusOr<std::string> SupervisorLink::Version() {
  STASIS_ASSIGN_OR_RETURN(
      const types::GetServerVersionResponse version,
      client_.GetServerVersion({}, {.quiet_limit = std::chrono::seconds(2), .progress = nullptr}));
  return absl::StrCat(version.major(), ".", version.minor(), ".", version.patch());
}

}  // namespace stasis::engine
