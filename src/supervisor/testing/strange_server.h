// A gRPC server that does what no good one does, by the name of the method that is called; for tests of the
// client.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "supervisor/answer_mark.h"

namespace stasis::supervisor {

inline grpc::ByteBuffer BufferOf(const std::string& bytes) {
  grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// What happened to the calls so far.
struct StrangeRecord {
  std::mutex mutex;
  std::condition_variable changed;
  int cancelled = 0;
  int done = 0;
  std::string encoding;  // of the last request

  bool WaitCancelled(int count) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] { return cancelled >= count; });
  }
};

// One call. "/x/Echo" sends the request back; "/x/Reject" fails at once without reading; "/x/Hang" never
// answers;
// "/x/Garbage" answers bytes that are no message; "/x/Nothing" ends well without an answer; "/x/Twice"
// answers twice;
// "/x/Busy" says UNAVAILABLE.
class StrangeCall final : public grpc::ServerGenericBidiReactor {
 public:
  StrangeCall(grpc::GenericCallbackServerContext& context, StrangeRecord& record)
      : method_(context.method()), record_(record) {
    context.AddTrailingMetadata(kAnswerMark, "error");
    if (method_ == "/x/Reject") {
      Finish({grpc::StatusCode::UNIMPLEMENTED, "never heard of it"});
    } else if (method_ == "/x/Busy") {
      Finish({grpc::StatusCode::UNAVAILABLE, "come back later"});
    } else {
      StartRead(&request_);
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok || method_ == "/x/Hang") return;
    if (method_ == "/x/Nothing") return Finish(grpc::Status::OK);
    answer_ = method_ == "/x/Echo" ? request_ : BufferOf(method_ == "/x/Garbage" ? "\xff\xff\xff" : "");
    StartWrite(&answer_);
  }
  void OnWriteDone(bool ok) override {
    if (ok && method_ == "/x/Twice" && !std::exchange(second_, true)) return StartWrite(&answer_);
    Finish(grpc::Status::OK);
  }
  void OnCancel() override {
    {
      std::lock_guard lock(record_.mutex);
      ++record_.cancelled;
      record_.changed.notify_all();
    }
    if (method_ == "/x/Hang") Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override {
    {
      std::lock_guard lock(record_.mutex);
      ++record_.done;
      record_.changed.notify_all();
    }
    delete this;
  }

 private:
  const std::string method_;
  StrangeRecord& record_;
  grpc::ByteBuffer request_, answer_;
  bool second_ = false;
};

class StrangeServer final : public grpc::CallbackGenericService {
 public:
  explicit StrangeServer(const std::string& socket) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
    builder.RegisterCallbackGenericService(this);
    server_ = builder.BuildAndStart();
  }
  ~StrangeServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    auto encoding = context->client_metadata().find("grpc-encoding");
    std::lock_guard lock(record_.mutex);
    if (encoding != context->client_metadata().end()) {
      record_.encoding.assign(encoding->second.data(), encoding->second.size());
    }
    return new StrangeCall(*context, record_);
  }

  StrangeRecord& record() { return record_; }

 private:
  StrangeRecord record_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace stasis::supervisor
