#include "shim/control.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <chrono>
#include <mutex>
#include <utility>

#include "linux/cancel.h"

namespace stasis {
namespace {

constexpr std::chrono::seconds kAttachRequestLimit{10};

// Asks to stop when the other side has closed its connection. Reads nothing from it.
class HangUpWatch {
 public:
  HangUpWatch(EventLoop* loop, int connection, std::stop_token shim_stops)
      : loop_(loop),
        connection_(connection),
        on_stop_(std::move(shim_stops), [this] { stop_.request_stop(); }) {
    loop_->Call([this] {
      loop_->Watch(connection_, POLLRDHUP, [this](short) {
        stop_.request_stop();
        loop_->Unwatch(connection_);
      });
    });
  }
  HangUpWatch(const HangUpWatch&) = delete;
  HangUpWatch& operator=(const HangUpWatch&) = delete;
  ~HangUpWatch() {
    loop_->Call([this] { loop_->Unwatch(connection_); });
  }
  std::stop_token token() const { return stop_.get_token(); }

 private:
  EventLoop* loop_;
  int connection_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> on_stop_;
};

StatusOr<Json> PidAnswer(const StatusOr<pid_t>& pid) {
  if (!pid.ok()) return pid.status();
  return Json{{"pid", *pid}};
}

StatusOr<Json> EmptyAnswer(const Status& status) {
  if (!status.ok()) return status;
  return Json::object();
}

}  // namespace

void Control::Serve(UniqueFd connection, std::stop_token stop) const {
  for (;;) {
    StatusOr<Json> frame = protocol::ReadFrame(connection.get(), kNoDeadline, stop);
    if (!frame.ok()) return;
    StatusOr<protocol::Request> request = protocol::RequestFromJson(*frame);
    if (!request.ok()) {  // whose answer would it be
      protocol::WriteFrame(connection.get(), protocol::AnswerToJson(0, request.status())).IgnoreError();
      return;
    }
    if (request->method == "subscribe") return Subscribe(*request, connection.get(), stop);
    StatusOr<Json> answer = Json();
    {
      HangUpWatch watch(loop_, connection.get(), stop);
      answer = Dispatch(*request, connection.get(), watch.token());
    }
    bool sent = protocol::WriteFrame(connection.get(), protocol::AnswerToJson(request->id, answer)).ok();
    // Said or not: a shim whose container is gone has nothing left to do.
    if (request->method == "delete" && answer.ok()) return deleted_();
    if (!sent) return;
  }
}

StatusOr<Json> Control::Dispatch(const protocol::Request& request, int connection,
                                 std::stop_token hung_up) const {
  const std::string& method = request.method;
  const Json& params = request.params;
  std::mutex writing;  // progress comes from other threads
  auto progress = [&](const Json& about) {
    std::lock_guard lock(writing);
    // One that is gone is seen by the watch.
    protocol::WriteFrame(connection, protocol::NoticeToJson("progress", about)).IgnoreError();
  };
  if (method == "hello") return protocol::ToJson(container_->State());
  if (method == "create") return PidAnswer(container_->Create(hung_up));
  if (method == "start") return PidAnswer(container_->Start(progress, hung_up));
  if (method == "kill") return Kill(params, hung_up);
  if (method == "resize") return Resize(params);
  if (method == "pause") return EmptyAnswer(container_->Pause(hung_up));
  if (method == "resume") return EmptyAnswer(container_->Resume(hung_up));
  if (method == "update") return EmptyAnswer(container_->Update(params, hung_up));
  if (method == "exec") {
    STASIS_ASSIGN_OR_RETURN(protocol::ExecRequest exec, protocol::ExecRequestFromJson(params));
    return PidAnswer(container_->Exec(exec, hung_up));
  }
  if (method == "close_stdin") {
    std::string process = protocol::kInit;
    JsonReader reader(params, "params");
    reader.Get("process", &process);
    STASIS_RETURN_IF_ERROR(reader.status());
    return EmptyAnswer(container_->CloseStdin(process));
  }
  if (method == "checkpoint") {
    STASIS_ASSIGN_OR_RETURN(protocol::CheckpointRequest checkpoint,
                            protocol::CheckpointRequestFromJson(params));
    STASIS_ASSIGN_OR_RETURN(protocol::CheckpointResult result,
                            container_->Checkpoint(checkpoint, progress, hung_up));
    return protocol::ToJson(result);
  }
  if (method == "delete") {
    bool force = false;
    JsonReader reader(params, "params");
    reader.Get("force", &force);
    STASIS_RETURN_IF_ERROR(reader.status());
    return EmptyAnswer(container_->Delete(force, hung_up));
  }
  return Unimplemented("no such method: " + method);
}

StatusOr<Json> Control::Kill(const Json& params, std::stop_token hung_up) const {
  std::string process = protocol::kInit;
  int signal = 0;
  bool all = false;
  JsonReader reader(params, "params");
  reader.Get("process", &process);
  reader.Get("signal", &signal);
  reader.Get("all", &all);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (all && signal == 0) signal = 9;
  return EmptyAnswer(container_->Kill(process, signal, all, std::move(hung_up)));
}

StatusOr<Json> Control::Resize(const Json& params) const {
  std::string process = protocol::kInit;
  uint32_t width = 0;
  uint32_t height = 0;
  JsonReader reader(params, "params");
  reader.Get("process", &process);
  reader.Get("width", &width);
  reader.Get("height", &height);
  STASIS_RETURN_IF_ERROR(reader.status());
  return EmptyAnswer(container_->Resize(process, width, height));
}

void Control::Subscribe(const protocol::Request& request, int connection, std::stop_token stop) const {
  uint64_t after = 0;
  JsonReader reader(request.params, "params");
  reader.Get("after", &after);
  StatusOr<Json> answer = EmptyAnswer(reader.status());
  if (!protocol::WriteFrame(connection, protocol::AnswerToJson(request.id, answer)).ok() || !answer.ok())
    return;

  UniqueFd event(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));  // 1: those that were before
  StatusOr<std::unique_ptr<CancelFd>> stopping = CancelFd::Create(stop);
  if (!event.valid() || !stopping.ok()) return;
  EventJournal& events = container_->events();
  events.Subscribe(event.get());
  bool good = true;
  while (good) {
    // The client says nothing more: whatever makes its side readable is its end.
    pollfd polled[] = {
        {event.get(), POLLIN, 0}, {connection, POLLIN | POLLRDHUP, 0}, {(*stopping)->get(), POLLIN, 0}};
    if (::poll(polled, 3, -1) < 0 && errno == EINTR) continue;
    if (polled[0].revents) {
      eventfd_t count;
      ::eventfd_read(event.get(), &count);
      for (const protocol::ShimEvent& each : events.After(after)) {
        good = good &&
               protocol::WriteFrame(connection, protocol::NoticeToJson("event", protocol::ToJson(each))).ok();
        after = each.sequence;
      }
    }
    good = good && !polled[1].revents && !polled[2].revents;
  }
  events.Unsubscribe(event.get());
}

void Control::ServeAttach(UniqueFd connection, std::stop_token stop) const {
  StatusOr<Json> frame = protocol::ReadFrame(connection.get(), After(kAttachRequestLimit), stop);
  if (!frame.ok()) return;
  StatusOr<protocol::Request> request = protocol::RequestFromJson(*frame);
  if (!request.ok()) return;
  StatusOr<protocol::AttachRequest> attach = protocol::AttachRequestFromJson(request->params);
  Status status = attach.status();
  if (request->method != "attach") status = Unimplemented("no such method: " + request->method);
  if (!status.ok()) {
    protocol::WriteFrame(connection.get(), protocol::AnswerToJson(request->id, status)).IgnoreError();
    return;
  }
  container_->Attach(std::move(connection), *attach);
}

}  // namespace stasis
