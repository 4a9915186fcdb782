#include "supervisor/open_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "supervisor/answer_mark.h"
#include "supervisor/client.h"
#include "supervisor/grpc_status.h"

namespace stasis::supervisor {
namespace {

constexpr char kConnectionPayload[] = "stasis/connection";
constexpr std::chrono::seconds kLongestLook{1};
void* const kTag = nullptr;

gpr_timespec ToGprTime(Deadline deadline) {
  if (deadline == kNoDeadline) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  auto left =
      std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_micros(std::max<int64_t>(left.count(), 0), GPR_TIMESPAN));
}

}  // namespace

Status MakeConnectionError(const std::string& message) {
  Status status = Unavailable(message);
  status.SetPayload(kConnectionPayload, absl::Cord());
  return status;
}

bool ConnectionBroken(const Status& status) { return status.GetPayload(kConnectionPayload).has_value(); }

Patience::Patience(std::chrono::milliseconds limit, std::function<std::optional<uint64_t>()> progress)
    : limit_(limit),
      step_(std::clamp<std::chrono::milliseconds>(limit / 4, std::chrono::milliseconds(1), kLongestLook)),
      progress_(std::move(progress)),
      deadline_(limit.count() == 0 ? kNoDeadline : After(limit)) {}

Deadline Patience::NextLook() const { return progress_ ? std::min(deadline_, After(step_)) : deadline_; }

Status Patience::Look() {
  if (progress_) {
    std::optional<uint64_t> now = progress_();
    if (now && now != last_) {
      last_ = now;
      deadline_ = After(limit_);
    }
  }
  if (std::chrono::steady_clock::now() < deadline_) return {};
  return DeadlineExceeded("no progress for " + std::to_string(limit_.count()) + " ms");
}

OpenCall::OpenCall(grpc::GenericStub& stub, const std::string& method)
    : stream_(stub.PrepareCall(&context_, method, &queue_)) {}

OpenCall::~OpenCall() {
  if (started_ && !finished_) {
    Cancel();
    Patience forever({}, nullptr);  // a cancelled call ends at once
    Finish(forever).IgnoreError();
  }
  queue_.Shutdown();
  void* tag;
  bool ok;
  while (queue_.Next(&tag, &ok)) {
  }
}

void OpenCall::CompressWithGzip() { context_.set_compression_algorithm(GRPC_COMPRESS_GZIP); }

bool OpenCall::Start(Patience& patience) {
  started_ = true;
  stream_->StartCall(kTag);
  return Wait(patience);
}

bool OpenCall::Write(const grpc::ByteBuffer& message, Patience& patience) {
  stream_->Write(message, grpc::WriteOptions().set_last_message(), kTag);
  return Wait(patience);
}

bool OpenCall::AwaitHeaders(Deadline deadline) {
  stream_->ReadInitialMetadata(kTag);
  void* tag;
  bool ok = false;
  auto next = queue_.AsyncNext(&tag, &ok, ToGprTime(deadline));
  headers_pending_ = next == grpc::CompletionQueue::TIMEOUT;
  return headers_pending_ || ok;
}

// Headers come with the first message at the latest; one step must end before the next begins.
bool OpenCall::WaitForPendingHeaders(Patience& patience) {
  return !std::exchange(headers_pending_, false) || Wait(patience);
}

bool OpenCall::Read(grpc::ByteBuffer* message, Patience& patience) {
  if (!WaitForPendingHeaders(patience)) return false;
  stream_->Read(message, kTag);
  return Wait(patience);
}

Status OpenCall::Finish(Patience& patience) {
  grpc::Status status;
  WaitForPendingHeaders(patience);
  stream_->Finish(&status, kTag);
  Wait(patience);
  finished_ = true;
  if (!given_up_.ok()) return given_up_;
  // gRPC makes up the same status when the connection breaks; the mark is the server's own.
  bool broken = status.error_code() == grpc::StatusCode::UNAVAILABLE &&
                context_.GetServerTrailingMetadata().count(kAnswerMark) == 0;
  return broken ? MakeConnectionError(status.error_message()) : FromGrpc(status);
}

bool OpenCall::Wait(Patience& patience) {
  for (;;) {
    void* tag;
    bool ok = false;
    Deadline until = given_up_.ok() ? patience.NextLook() : kNoDeadline;
    switch (queue_.AsyncNext(&tag, &ok, ToGprTime(until))) {
      case grpc::CompletionQueue::GOT_EVENT:
        return ok;
      case grpc::CompletionQueue::SHUTDOWN:
        return false;
      case grpc::CompletionQueue::TIMEOUT:
        if (Status enough = patience.Look(); !enough.ok()) {
          given_up_ = enough;
          Cancel();  // the step then ends by itself
        }
    }
  }
}

}  // namespace stasis::supervisor
