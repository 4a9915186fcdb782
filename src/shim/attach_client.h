// One attached client: what waits to be sent to it, in Docker's frames or raw, and what it sends.
//
// What it does not read waits here; its owner produces no more while more than kMaxPending waits. Only on the
// loop's thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "linux/unique_fd.h"
#include "protocol/shim.h"
#include "shim/json_log.h"

namespace stasis {

class AttachClient {
 public:
  static constexpr size_t kMaxPending = 1 << 20;

  // `socket` is made non-blocking. `framed`: the process has no terminal.
  AttachClient(UniqueFd socket, const protocol::AttachRequest& request);

  int fd() const { return socket_.get(); }
  bool wants_input() const { return use_stdin_; }  // still sends input
  bool hung_up() const { return hung_up_; }
  bool idle() const { return pending_.size() == sent_; }
  size_t pending() const { return pending_.size() - sent_; }

  // The answer to its attach request; before any output.
  void Answer(bool terminal);
  void Refuse(const Status& error);

  // Queues output that it asked for, and sends what can be sent.
  void Output(Stream stream, std::string_view bytes);
  // Sends what can be sent at once. False: the client is gone.
  bool Flush();
  // Reads what there is into `out`, at most `limit`. False: its input has ended.
  bool Read(std::string* out, size_t limit);
  // It reads no more; what it sent before may still be read.
  void HangUp();
  void EndInput() { use_stdin_ = false; }

 private:
  void QueueFrame(const Json& frame);

  UniqueFd socket_;
  bool use_stdin_;
  bool use_stdout_;
  bool use_stderr_;
  bool framed_ = true;
  bool hung_up_ = false;
  std::string pending_;
  size_t sent_ = 0;
};

// The header that goes before `size` bytes of output.
std::string OutputFrameHeader(Stream stream, size_t size);

}  // namespace stasis
