#include "api/stream_pump.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <vector>

#include "api/multiplex.h"
#include "base/frames.h"
#include "linux/cancel.h"
#include "linux/clock.h"

namespace stasis::api {
namespace {

constexpr size_t kBufferSize = 64 << 10;
// How long what a client sent before it left may wait for the process to read it.
constexpr std::chrono::seconds kLastInput{5};
// Buffers moved in one direction before the other has its turn.
constexpr int kTurn = 16;

// Bytes on their way in one direction: read when empty, written until empty.
class Buffer {
 public:
  explicit Buffer(std::string early = {}) : bytes_(std::move(early)) {}
  bool empty() const { return at_ == bytes_.size(); }
  void Clear() { at_ = bytes_.size(); }
  std::string_view bytes() const { return std::string_view(bytes_).substr(at_); }
  void Replace(std::string bytes) {
    bytes_ = std::move(bytes);
    at_ = 0;
  }

  enum class Result { kMoved, kWouldBlock, kEnd };

  // kEnd: end of stream, or an error, which ends it as well.
  Result ReadFrom(int fd) {
    bytes_.resize(kBufferSize);
    at_ = bytes_.size();
    ssize_t count = ::recv(fd, bytes_.data(), bytes_.size(), MSG_DONTWAIT);
    if (count > 0) {
      bytes_.resize(static_cast<size_t>(count));
      at_ = 0;
      return Result::kMoved;
    }
    return count < 0 && (errno == EAGAIN || errno == EINTR) ? Result::kWouldBlock : Result::kEnd;
  }

  Result WriteTo(int fd) {
    while (!empty()) {
      ssize_t count = ::send(fd, bytes_.data() + at_, bytes_.size() - at_, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count >= 0) {
        at_ += static_cast<size_t>(count);
      } else if (errno != EINTR) {
        return errno == EAGAIN ? Result::kWouldBlock : Result::kEnd;
      }
    }
    return Result::kMoved;
  }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

class Pump {
 public:
  Pump(int client, UniqueFd process, std::string early_input, const PumpOptions& options)
      : client_(client),
        process_(std::move(process)),
        use_stdin_(options.use_stdin),
        form_(options.form),
        detach_keys_(options.detach_keys),
        input_(std::move(early_input)) {
    CheckInput();
  }

  Status Run(std::stop_token stop) {
    STASIS_ASSIGN_OR_RETURN(std::unique_ptr<CancelFd> cancel, CancelFd::Create(std::move(stop)));
    for (;;) {
      MoveInput();
      MoveOutput();
      if (Done()) return absl::OkStatus();
      pollfd polled[3] = {ClientEvents(), ProcessEvents(), {cancel->get(), POLLIN, 0}};
      int ready = ::poll(polled, 3, PollTimeout(deadline_));
      if (ready < 0 && errno != EINTR) return ErrnoError(errno, "poll");
      if (ready == 0) return absl::OkStatus();  // the process did not take a gone client's last input
      if (ready > 0 && polled[2].revents) return Cancelled("the server stops");
      if (ready > 0 && (polled[0].revents & (POLLHUP | POLLERR))) ClientIsGone();
    }
  }

 private:
  using Result = Buffer::Result;

  void ClientIsGone() {
    client_gone_ = true;
    output_.Clear();
    deadline_ = After(kLastInput);
  }

  // Client to process, as far as it goes without waiting.
  void MoveInput() {
    for (int turn = 0; turn < kTurn; ++turn) {
      if (!input_.empty()) {
        Result result = input_.WriteTo(process_.get());
        if (result == Result::kWouldBlock) return;
        if (result == Result::kEnd) {  // the process reads no more: the client may go on talking to the wind
          use_stdin_ = false;
          input_.Clear();
        }
      }
      if (input_ended_) return;
      Result result = input_.ReadFrom(client_);
      if (result == Result::kWouldBlock) return;
      if (result == Result::kEnd) {
        input_ended_ = true;
        if (use_stdin_ && !Hungup()) ::shutdown(process_.get(), SHUT_WR);
        return;
      }
      CheckInput();
    }
  }

  // From what has just been read of the process's output.
  void TakeFramesOff() {
    std::string payload;
    const auto add = [&](bool, std::string_view bytes) {
      payload += bytes;
      return absl::OkStatus();
    };
    // What is no frame comes of a shim that is broken: there is nothing to show of it.
    frames_.Feed(output_.bytes(), add).IgnoreError();
    output_.Replace(std::move(payload));
  }

  // What has just been read from the client.
  void CheckInput() {
    if (!use_stdin_) return input_.Clear();
    if (!detach_keys_) return;
    input_.Replace(detach_keys_->Take(input_.bytes()));
    if (!detach_keys_->pressed()) return;
    input_ended_ = true;
    ClientIsGone();
  }

  // Process to client.
  void MoveOutput() {
    if (client_gone_) return;
    for (int turn = 0; turn < kTurn; ++turn) {
      Result result = output_.WriteTo(client_);
      if (result == Result::kEnd) return ClientIsGone();
      if (result == Result::kWouldBlock || output_ended_) return;
      result = output_.ReadFrom(process_.get());
      if (result == Result::kWouldBlock) return;
      if (result == Result::kEnd) {
        output_ended_ = true;
        return;
      }
      if (form_ == OutputForm::kFramed) output_.Replace(MakeFrame(kStdout, output_.bytes()));
      if (form_ == OutputForm::kUnframed) TakeFramesOff();
    }
  }

  // Whether the end of the client's stream is its leaving, and not a half-close.
  bool Hungup() const {
    pollfd polled = {client_, 0, 0};
    return client_gone_ || (::poll(&polled, 1, 0) > 0 && (polled.revents & (POLLHUP | POLLERR)));
  }

  bool Done() const {
    if (client_gone_) return input_ended_ && input_.empty();
    return output_ended_ && output_.empty();
  }

  // A descriptor that is waited for nothing stays out of poll(2), which would report its hang-up again and
  // again.
  pollfd ClientEvents() const {
    if (client_gone_) return {-1, 0, 0};
    short events = 0;
    if (!input_ended_ && input_.empty()) events |= POLLIN;
    if (!output_.empty()) events |= POLLOUT;
    return {client_, events, 0};  // with no events too: for the hang-up
  }

  pollfd ProcessEvents() const {
    short events = 0;
    if (!client_gone_ && !output_ended_ && output_.empty()) events |= POLLIN;
    if (!input_.empty()) events |= POLLOUT;
    return {events ? process_.get() : -1, events, 0};
  }

  const int client_;
  UniqueFd process_;
  bool use_stdin_;
  const OutputForm form_;
  DetachKeys* const detach_keys_;
  FrameDemultiplexer frames_;
  Buffer input_;
  Buffer output_;
  bool input_ended_ = false;
  bool output_ended_ = false;
  bool client_gone_ = false;
  Deadline deadline_ = kNoDeadline;
};

}  // namespace

Status PumpStreams(HijackedConnection& client, UniqueFd process, const PumpOptions& options) {
  Pump pump(client.fd(), std::move(process), client.TakeEarlyInput(), options);
  return pump.Run(client.server_stop());
}

}  // namespace stasis::api
