// The standard streams of one process of a container: their other ends, and where the bytes go.
//
// Output is read whether or not anybody listens: it goes to the log, to every attached client and to a FIFO,
// whichever there are. Nothing of it is lost: a client that lets AttachClient::kMaxPending bytes wait, or a
// full FIFO, holds up the process, as with Docker and containerd 0.2, until it reads or goes. Input comes
// from attached clients or a FIFO and waits here while the process does not read it.
//
// Create and child_ends may be used on any thread; all else only on the loop's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "linux/unique_fd.h"
#include "protocol/shim.h"
#include "runtime/oci_runtime.h"
#include "shim/attach_client.h"
#include "shim/event_loop.h"
#include "shim/json_log.h"

namespace stasis {

class ProcessStreams {
 public:
  // Makes the pipes (a terminal comes later, by SetTerminal) and opens the FIFOs, without waiting for their
  // other sides. `log` may be null; it is borrowed, as is `loop`.
  static StatusOr<std::unique_ptr<ProcessStreams>> Create(EventLoop* loop, const protocol::Stdio& stdio,
                                                          JsonLog* log);
  ~ProcessStreams();

  bool terminal() const { return stdio_.terminal; }
  // What the process is to get. Valid until CloseChildEnds.
  OciStreams child_ends() const;
  // Once the process has its own: otherwise the end of the output would never be seen.
  void CloseChildEnds();
  // The master end; takes the size that was asked for.
  Status SetTerminal(UniqueFd master);

  // From now on output is read. `drained` is called once, when all of it has been handed on.
  void Begin(std::function<void()> drained);
  // Whether output is not read because a client does not take what it was sent.
  bool HeldUpByClient() const;
  // The process has ended and nobody waits for more output: what its pipes still hold is handed on, the log's
  // last line is finished, clients are sent what waits for them and are closed. `gone` is called once the
  // last client is gone, perhaps at once.
  void Finish(std::function<void()> gone);

  void AddClient(std::unique_ptr<AttachClient> client);
  void CloseStdin();
  Status Resize(uint32_t width, uint32_t height);

 private:
  // Somewhere output comes from.
  struct Source {
    UniqueFd fd;
    UniqueFd child_end;
    UniqueFd fifo;  // where it goes beside log and clients, or empty
    std::string fifo_pending;
  };

  ProcessStreams(EventLoop* loop, protocol::Stdio stdio, JsonLog* log);
  Status OpenFifos();
  Source& SourceOf(Stream stream) { return stream == Stream::kStdout ? stdout_ : stderr_; }

  void ReadSource(Stream stream);
  void Deliver(Stream stream, std::string_view bytes);
  // Reads from the sources only while there is somewhere to put it.
  void WatchSources();
  void ReadRest(Stream stream);
  void EndSource(Stream stream);
  void FlushFifo(Stream stream);
  void CheckDrained();

  void WatchInputs();
  void TakeInput(std::string_view bytes);
  void FlushStdin();
  void DropStdin();
  void ReadStdinFifo();

  void HandleClient(int fd, short revents);
  void UpdateClient(AttachClient* client);
  void RemoveClient(int fd);
  AttachClient* FindClient(int fd);

  EventLoop* const loop_;
  const protocol::Stdio stdio_;
  JsonLog* const log_;

  Source stdout_;
  Source stderr_;
  bool begun_ = false;
  bool finished_ = false;
  std::function<void()> drained_;
  std::function<void()> gone_;

  UniqueFd stdin_;  // write end, or the terminal's master once more
  UniqueFd stdin_child_end_;
  UniqueFd stdin_fifo_;
  std::string stdin_pending_;
  bool stdin_ending_ = false;

  std::vector<std::unique_ptr<AttachClient>> clients_;
};

}  // namespace stasis
