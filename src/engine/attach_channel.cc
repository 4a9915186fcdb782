#include "engine/attach_channel.h"

#include "linux/clock.h"
#include "linux/unix_socket.h"
#include "protocol/frame.h"

namespace stasis::engine {
namespace {

constexpr std::chrono::seconds kHandshake{10};

}  // namespace

StatusOr<UniqueFd> AskToAttach(const std::string& attach_socket, const protocol::AttachRequest& request) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd socket, ConnectUnix(attach_socket));
  STASIS_RETURN_IF_ERROR(protocol::WriteFrame(
      socket.get(), {{"id", 1}, {"method", "attach"}, {"params", protocol::ToJson(request)}}));
  return socket;
}

Status AwaitAttached(int socket, Deadline deadline, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const Json answer, protocol::ReadFrame(socket, deadline, std::move(cancel)));
  return answer.contains("error") ? protocol::ErrorFromJson(answer["error"]) : Status();
}

void AttachChannel::Connect(const std::string& attach_socket, bool created) {
  protocol::AttachRequest request;
  request.use_stdin = options_.use_stdin;
  request.use_stdout = options_.use_stdout;
  request.use_stderr = options_.use_stderr;
  StatusOr<UniqueFd> socket = AskToAttach(attach_socket, request);
  if (socket.ok() && created) {
    if (Status status = AwaitAttached(socket->get(), After(kHandshake), {}); !status.ok()) socket = status;
  }
  Settle(std::move(socket), created);
}

void AttachChannel::Fail(Status status) { Settle(std::move(status), false); }

void AttachChannel::Settle(StatusOr<UniqueFd> result, bool answered) {
  const std::lock_guard lock(mutex_);
  if (done_) return;
  done_ = true;
  answered_ = answered;
  result_ = std::move(result);
  settled_.notify_all();
}

StatusOr<UniqueFd> AttachChannel::Wait(std::stop_token cancel) {
  std::unique_lock lock(mutex_);
  if (!settled_.wait(lock, cancel, [&] { return done_; })) return Cancelled("the client has left");
  StatusOr<UniqueFd> socket = std::move(result_);
  const bool answered = answered_;
  lock.unlock();
  if (socket.ok() && !answered) {
    STASIS_RETURN_IF_ERROR(AwaitAttached(socket->get(), kNoDeadline, std::move(cancel)));
  }
  return socket;
}

void AttachChannel::Abandon() {
  const std::lock_guard lock(mutex_);
  abandoned_ = true;
}

bool AttachChannel::abandoned() const {
  const std::lock_guard lock(mutex_);
  return abandoned_;
}

}  // namespace stasis::engine
