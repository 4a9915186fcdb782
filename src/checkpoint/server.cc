#include "checkpoint/server.h"

#include <poll.h>

#include <memory>
#include <optional>
#include <stop_token>
#include <thread>

#include "checkpoint/checkpoint.h"
#include "checkpoint/restored_files.h"
#include "checkpoint/twins.h"
#include "linux/cancel.h"
#include "linux/files.h"
#include "linux/traced_thread.h"
#include "linux/unix_socket.h"
#include "manifest/checkpoint_directory.h"
#include "protocol/checkpointer.h"
#include "protocol/frame.h"

namespace stasis::checkpoint {
namespace {

// While a verb runs on our thread: asks it to stop when the shim hangs up.
class HangupWatch {
 public:
  explicit HangupWatch(int connection)
      : thread_([this, connection](std::stop_token ended) {
          if (WaitFor(connection, POLLRDHUP, kNoDeadline, ended).ok()) hung_up_.request_stop();
        }) {}
  std::stop_token token() const { return hung_up_.get_token(); }

 private:
  std::stop_source hung_up_;
  std::jthread thread_;  // last, so joined before the rest dies
};

class Server {
 public:
  Server(UniqueFd connection, const std::string& preload)
      : connection_(std::move(connection)), preload_(preload) {}

  Status Run();

 private:
  Status Answer(const Json& request);
  StatusOr<Json> Dispatch(const std::string& method, const Json& params, const std::stop_token& cancel);
  Status Prepare(const Json& params, const std::stop_token& cancel);
  static Status Reap(const Json& params);
  Status Open(const Json& params, const std::stop_token& cancel);
  Status Unpack(const std::stop_token& cancel);
  Status Fill(const std::stop_token& cancel);
  StatusOr<Json> Finish(const std::stop_token& cancel);
  void Tell(std::string_view phase, uint64_t bytes);

  UniqueFd connection_;
  const std::string preload_;
  std::unique_ptr<Checkpoint> current_;

  // Between open and fill.
  struct Restore {
    std::string checkpoint;  // name
    std::string host_name;   // to be set; empty: as it was
    RestoredFiles files;
    UnixListener listener;
    bool unpacked = false;
    bool over = false;
  };
  std::optional<Restore> restore_;
};

Status Server::Run() {
  for (;;) {
    // A shim that does not go on while its container is frozen is as good as gone.
    Deadline deadline = current_ ? current_->FrozenDeadline() : kNoDeadline;
    auto request = protocol::ReadFrame(connection_.get(), deadline, {});
    if (absl::IsDeadlineExceeded(request.status())) {
      current_.reset();
      continue;
    }
    if (absl::IsUnavailable(request.status())) return absl::OkStatus();
    if (!request.ok()) return request.status();
    STASIS_RETURN_IF_ERROR(Answer(*request));
  }
}

Status Server::Answer(const Json& request) {
  uint64_t id = 0;
  std::string method;
  JsonReader reader(request, "request");
  reader.Get("id", &id);
  reader.Get("method", &method);
  STASIS_RETURN_IF_ERROR(reader.status());
  const Json* params = reader.Find("params");
  StatusOr<Json> result = [&] {
    HangupWatch hangup(connection_.get());
    return Dispatch(method, params ? *params : Json::object(), hangup.token());
  }();
  Status written = protocol::WriteFrame(
      connection_.get(), result.ok() ? Json{{"id", id}, {"result", *result}}
                                     : Json{{"id", id}, {"error", protocol::ErrorToJson(result.status())}});
  // Not before: CRIU is hung up on by it, and ends; the shim should have heard why by then.
  if (restore_ && restore_->over) restore_.reset();
  return written;
}

StatusOr<Json> Server::Dispatch(const std::string& method, const Json& params,
                                const std::stop_token& cancel) {
  if (method == "prepare") {
    STASIS_RETURN_IF_ERROR(Prepare(params, cancel));
    return Json::object();
  }
  if (method == "cancel") {
    current_.reset();
    return Json::object();
  }
  if (method == "open") {
    STASIS_RETURN_IF_ERROR(Open(params, cancel));
    return Json::object();
  }
  if (method == "unpack") {
    STASIS_RETURN_IF_ERROR(Unpack(cancel));
    return Json::object();
  }
  if (method == "fill") {
    STASIS_RETURN_IF_ERROR(Fill(cancel));
    return Json::object();
  }
  if (method == "reap") {
    STASIS_RETURN_IF_ERROR(Reap(params));
    return Json::object();
  }
  if (method != "freeze" && method != "finish") return Unimplemented("checkpointer: no method " + method);
  if (!current_) return FailedPrecondition("checkpointer: " + method + ": no checkpoint is under way");
  if (method == "finish") return Finish(cancel);
  if (Status status = current_->Freeze(cancel); !status.ok()) {
    current_.reset();
    return status;
  }
  return Json::object();
}

Status Server::Prepare(const Json& params, const std::stop_token& cancel) {
  if (current_) return FailedPrecondition("checkpointer: a checkpoint is under way");
  STASIS_ASSIGN_OR_RETURN(protocol::CheckpointPlan plan, protocol::CheckpointPlanFromJson(params));
  auto tell = [this](std::string_view phase, uint64_t bytes) { Tell(phase, bytes); };
  auto checkpoint = std::make_unique<Checkpoint>(std::move(plan), preload_, tell);
  STASIS_RETURN_IF_ERROR(checkpoint->Prepare(cancel));
  current_ = std::move(checkpoint);
  return absl::OkStatus();
}

Status Server::Open(const Json& params, const std::stop_token& cancel) {
  restore_.reset();  // one that nobody filled
  STASIS_ASSIGN_OR_RETURN(const protocol::RestorePlan plan, protocol::RestorePlanFromJson(params));
  const size_t slash = plan.checkpoint.rfind('/');
  STASIS_ASSIGN_OR_RETURN(const CheckpointName name,
                          CheckpointName::Parse(plan.checkpoint.substr(slash + 1)));
  STASIS_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(plan.checkpoint.substr(0, slash), name));
  STASIS_ASSIGN_OR_RETURN(UniqueFd images, OpenDirectory(plan.images));
  auto files = RestoredFiles::Open(std::move(manifest.files), plan.store, std::move(images), cancel);
  if (!files.ok()) return Annotate(files.status(), "checkpoint " + name.str());
  // Before the answer: CRIU asks there as soon as it can.
  STASIS_ASSIGN_OR_RETURN(UnixListener listener, UnixListener::Listen(plan.socket));
  const bool clone = !plan.container_id.empty() && plan.container_id != manifest.container_id;
  restore_.emplace(Restore{name.str(), clone ? plan.host_name : "", *std::move(files), std::move(listener)});
  return absl::OkStatus();
}

Status Server::Unpack(const std::stop_token& cancel) {
  if (!restore_ || restore_->unpacked) return FailedPrecondition("checkpointer: unpack: nothing is open");
  const OnProgress tell = [this](std::string_view phase, uint64_t bytes) { Tell(phase, bytes); };
  ByteNotices notices("unpack", tell);
  Status status = restore_->files.Unpack([&](uint64_t bytes) { notices.Add(bytes); }, cancel);
  if (status.ok() && !restore_->host_name.empty()) status = restore_->files.SetHostName(restore_->host_name);
  restore_->unpacked = true;
  restore_->over = !status.ok();
  return Annotate(status, "checkpoint " + restore_->checkpoint);
}

Status Server::Fill(const std::stop_token& cancel) {
  if (!restore_ || !restore_->unpacked)
    return FailedPrecondition("checkpointer: fill: no restore is under way");
  const OnProgress tell = [this](std::string_view phase, uint64_t bytes) { Tell(phase, bytes); };
  ByteNotices notices("memory", tell);
  restore_->over = true;
  return Annotate(restore_->files.Fill(
                      restore_->listener, [&](uint64_t bytes) { notices.Add(bytes); }, cancel),
                  "checkpoint " + restore_->checkpoint);
}

Status Server::Reap(const Json& params) {
  pid_t init = 0;
  JsonReader reader(params, "reap");
  reader.Get("init_pid", &init);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_ASSIGN_OR_RETURN(const std::vector<criu::Process> processes, criu::ReadProcessTree(init));
  ReapLeftTwins(processes);
  return absl::OkStatus();
}

StatusOr<Json> Server::Finish(const std::stop_token& cancel) {
  auto result = current_->Finish(cancel);
  current_.reset();
  if (!result.ok()) return result.status();
  return protocol::ToJson(*result);
}

// A shim that has hung up is noticed by the watch; here it only means that nobody listens.
void Server::Tell(std::string_view phase, uint64_t bytes) {
  static_cast<void>(protocol::WriteFrame(
      connection_.get(),
      {{"notice", "progress"}, {"params", {{"phase", std::string(phase)}, {"bytes", bytes}}}}));
}

}  // namespace

Status Serve(UniqueFd connection, const std::string& preload) {
  STASIS_RETURN_IF_ERROR(BlockChildSignals());  // for the stops of what is traced
  return Server(std::move(connection), preload).Run();
}

}  // namespace stasis::checkpoint
