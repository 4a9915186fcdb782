// An attachment of a client to a container that may not run yet: the client's end waits, the engine's end
// connects it when the container is about to run, so that none of its output is missed.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "backend/streams.h"
#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"
#include "protocol/shim.h"

namespace stasis::engine {

// The two halves of attaching to a process at a shim's attach socket (protocol/shim.h): asking for it, and
// the answer, which comes once there is such a process. Then the socket carries the process's bytes.
StatusOr<UniqueFd> AskToAttach(const std::string& attach_socket, const protocol::AttachRequest& request);
Status AwaitAttached(int socket, Deadline deadline, std::stop_token cancel);

// Shared by the two ends. Thread-safe.
class AttachChannel {
 public:
  AttachChannel(const backend::AttachOptions& options, bool terminal)
      : options_(options), terminal_(terminal) {}

  bool terminal() const { return terminal_; }
  const backend::AttachOptions& options() const { return options_; }

  // The engine's end: the container is about to run. The result, connection or error, goes to the waiting
  // client.
  // When it is there already (`created`), the shim has taken the attachment up once this returns; one that is
  // restored is there only afterwards, and the client awaits the answer.
  void Connect(const std::string& attach_socket, bool created);
  // The container will never run.
  void Fail(Status status);
  // The client's end. kCancelled. Once.
  StatusOr<UniqueFd> Wait(std::stop_token cancel);
  // The client has left.
  void Abandon();
  bool abandoned() const;

 private:
  void Settle(StatusOr<UniqueFd> result, bool answered);

  const backend::AttachOptions options_;
  const bool terminal_;
  mutable std::mutex mutex_;
  std::condition_variable_any settled_;
  bool done_ = false;
  bool abandoned_ = false;
  bool answered_ = false;  // the shim's answer was read
  StatusOr<UniqueFd> result_ = Cancelled("not connected");
};

// The client's end as the API sees it.
class AttachedSession : public backend::AttachSession {
 public:
  AttachedSession(std::shared_ptr<AttachChannel> channel, std::function<void()> on_detach)
      : channel_(std::move(channel)), on_detach_(std::move(on_detach)) {}
  ~AttachedSession() override { channel_->Abandon(); }
  bool terminal() const override { return channel_->terminal(); }
  StatusOr<UniqueFd> Connect(std::stop_token cancel) override { return channel_->Wait(std::move(cancel)); }
  void Detached() override { on_detach_(); }

 private:
  std::shared_ptr<AttachChannel> channel_;
  std::function<void()> on_detach_;
};

}  // namespace stasis::engine
