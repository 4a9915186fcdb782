// One call of gRPC's generic stub from its opening to its close; the common part of Invoke and of the event
// stream.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "linux/clock.h"

namespace stasis::supervisor {

// How long to wait without progress, and who is asked for it. Zero limit: for ever.
class Patience {
 public:
  Patience(std::chrono::milliseconds limit, std::function<std::optional<uint64_t>()> progress);

  // Until when to wait before Look is called again.
  Deadline NextLook() const;
  // kDeadlineExceeded when there was no progress for the whole limit.
  Status Look();

 private:
  const std::chrono::milliseconds limit_;
  const std::chrono::milliseconds step_;
  const std::function<std::optional<uint64_t>()> progress_;
  std::optional<uint64_t> last_;
  Deadline deadline_;
};

// Used by one thread, except Cancel. The steps Start, Write, Read, Finish run in this order, one at a time;
// each waits until it is done and says whether it went well. A step that did not leaves the reason to Finish.
class OpenCall {
 public:
  OpenCall(grpc::GenericStub& stub, const std::string& method);
  // Closes the call on every path: one that did not come to Finish is cancelled.
  ~OpenCall();
  OpenCall(const OpenCall&) = delete;
  OpenCall& operator=(const OpenCall&) = delete;

  // Before Start.
  void CompressWithGzip();

  bool Start(Patience& patience);
  // The one message of the request, and the end of its stream.
  bool Write(const grpc::ByteBuffer& message, Patience& patience);
  // Waits until the server has taken the call up, or until the deadline. False when it failed instead.
  bool AwaitHeaders(Deadline deadline);
  bool Read(grpc::ByteBuffer* message, Patience& patience);
  // The call's final status: the server's, or what was cut short by us.
  Status Finish(Patience& patience);

  // Any thread, at any time.
  void Cancel() { context_.TryCancel(); }

 private:
  bool Wait(Patience& patience);
  bool WaitForPendingHeaders(Patience& patience);

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  bool started_ = false;
  bool finished_ = false;
  bool headers_pending_ = false;
  Status given_up_;  // why we cancelled it ourselves
};

// The error that says that the connection failed; its payload is what ConnectionBroken looks for.
Status MakeConnectionError(const std::string& message);

}  // namespace stasis::supervisor
