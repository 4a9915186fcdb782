#include "shim/restored_checkpoint.h"

#include "base/json.h"

namespace stasis {

RestoredCheckpoint::~RestoredCheckpoint() {
  if (filling_.joinable()) MemoryFailure().IgnoreError();
}

StatusOr<bool> RestoredCheckpoint::Unpack(const protocol::UnpackRequest& request,
                                          const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(process_, CheckpointerProcess::Start(checkpointer_, log_));
  const auto unpacked =
      process_->caller().Call("unpack", protocol::ToJson(request), CheckpointerProcess::kQuietLimit, cancel);
  if (!unpacked.ok() || !unpacked->value("memory", false)) {
    STASIS_RETURN_IF_ERROR(End(unpacked.status(), cancel));
    return false;
  }
  filling_ = std::jthread([this](const std::stop_token& stop) {
    // However long CRIU takes until it asks: its own time is limited by whoever runs it.
    filled_ =
        End(process_->caller().Call("fill", Json::object(), std::chrono::milliseconds::max(), stop).status(),
            stop);
  });
  return true;
}

Status RestoredCheckpoint::MemoryFailure() {
  filling_.request_stop();
  if (filling_.joinable()) filling_.join();
  return absl::IsCancelled(filled_) ? absl::OkStatus() : filled_;
}

// Of the process, whose last verb has ended so.
Status RestoredCheckpoint::End(const Status& status, const std::stop_token& cancel) {
  const bool broken = !status.ok() && process_->caller().fd() < 0;
  const ExitStatus exit = process_->End();
  process_.reset();
  return status.ok() ? status : CheckpointerProcess::Explain(status, broken, exit, cancel);
}

}  // namespace stasis
