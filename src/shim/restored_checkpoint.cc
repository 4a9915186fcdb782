#include "shim/restored_checkpoint.h"

namespace stasis {

RestoredCheckpoint::~RestoredCheckpoint() {
  if (giving_.joinable()) Failure().IgnoreError();
}

Status RestoredCheckpoint::Open(const protocol::RestorePlan& plan, const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(process_, CheckpointerProcess::Start(checkpointer_, log_));
  const Status opened = process_->caller()
                            .Call("open", protocol::ToJson(plan), CheckpointerProcess::kQuietLimit, cancel)
                            .status();
  if (!opened.ok()) return End(opened, cancel);
  giving_ = std::jthread([this](const std::stop_token& stop) { given_ = End(Give(stop), stop); });
  return absl::OkStatus();
}

Status RestoredCheckpoint::Failure() {
  giving_.request_stop();
  if (giving_.joinable()) giving_.join();
  return absl::IsCancelled(given_) ? absl::OkStatus() : given_;
}

Status RestoredCheckpoint::Give(const std::stop_token& stop) {
  protocol::Caller& caller = process_->caller();
  const auto on_notice = [this](const std::string& notice, const Json& params) {
    if (notice == "progress" && progress_) progress_(params);
  };
  STASIS_RETURN_IF_ERROR(
      caller.Call("unpack", Json::object(), CheckpointerProcess::kQuietLimit, stop, on_notice).status());
  // However long CRIU takes until it asks: its own time is limited by whoever runs it.
  return caller.Call("fill", Json::object(), std::chrono::milliseconds::max(), stop, on_notice).status();
}

// Of the process, whose last verb has ended so.
Status RestoredCheckpoint::End(const Status& status, const std::stop_token& cancel) {
  const bool broken = !status.ok() && process_->caller().fd() < 0;
  const ExitStatus exit = process_->End();
  process_.reset();
  // An answer stands, even where meanwhile nobody waits for it.
  return broken ? CheckpointerProcess::Explain(status, broken, exit, cancel) : status;
}

}  // namespace stasis
