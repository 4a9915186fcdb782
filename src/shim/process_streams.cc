#include "shim/process_streams.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "linux/files.h"
#include "linux/unix_socket.h"

namespace stasis {
namespace {

constexpr size_t kReadStep = 16 << 10;
constexpr size_t kMaxRest = 1 << 20;  // the largest pipe that an unprivileged process can make
constexpr size_t kMaxStdinPending = 64 << 10;

Status SetNonBlocking(int fd) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return ErrnoError(errno, "fcntl O_NONBLOCK");
  return {};
}

// A FIFO (or /dev/null), never waiting for its other side.
StatusOr<UniqueFd> OpenFifo(const std::string& path, int flags) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, flags | O_NONBLOCK | O_NOCTTY));
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, "fstat " + path);
  if (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode)) return InvalidArgument(path + ": not a FIFO");
  return fd;
}

}  // namespace

ProcessStreams::ProcessStreams(EventLoop* loop, protocol::Stdio stdio, JsonLog* log)
    : loop_(loop), stdio_(std::move(stdio)), log_(log) {}

StatusOr<std::unique_ptr<ProcessStreams>> ProcessStreams::Create(EventLoop* loop,
                                                                 const protocol::Stdio& stdio, JsonLog* log) {
  std::unique_ptr<ProcessStreams> streams(new ProcessStreams(loop, stdio, log));
  STASIS_RETURN_IF_ERROR(streams->OpenFifos());
  if (stdio.terminal) return streams;
  for (Source* source : {&streams->stdout_, &streams->stderr_}) {
    STASIS_ASSIGN_OR_RETURN(Pipe pipe, MakePipe());
    source->fd = std::move(pipe.read_end);
    source->child_end = std::move(pipe.write_end);
    STASIS_RETURN_IF_ERROR(SetNonBlocking(source->fd.get()));
  }
  if (stdio.open_stdin || streams->stdin_fifo_.valid()) {
    STASIS_ASSIGN_OR_RETURN(Pipe pipe, MakePipe());
    streams->stdin_ = std::move(pipe.write_end);
    streams->stdin_child_end_ = std::move(pipe.read_end);
    STASIS_RETURN_IF_ERROR(SetNonBlocking(streams->stdin_.get()));
  }
  return streams;
}

Status ProcessStreams::OpenFifos() {
  if (!stdio_.stdin_fifo.empty()) {
    STASIS_ASSIGN_OR_RETURN(stdin_fifo_, OpenFifo(stdio_.stdin_fifo, O_RDONLY));
  }
  // Opened for both ways: a FIFO that only we have open takes bytes until it is full, instead of an error.
  if (!stdio_.stdout_fifo.empty()) {
    STASIS_ASSIGN_OR_RETURN(stdout_.fifo, OpenFifo(stdio_.stdout_fifo, O_RDWR));
  }
  if (!stdio_.stderr_fifo.empty() && !stdio_.terminal) {
    STASIS_ASSIGN_OR_RETURN(stderr_.fifo, OpenFifo(stdio_.stderr_fifo, O_RDWR));
  }
  return {};
}

ProcessStreams::~ProcessStreams() {
  for (const UniqueFd* fd : {&stdout_.fd, &stdout_.fifo, &stderr_.fd, &stderr_.fifo, &stdin_, &stdin_fifo_}) {
    if (begun_ && fd->valid()) loop_->Unwatch(fd->get());
  }
  for (const auto& client : clients_) loop_->Unwatch(client->fd());
}

OciStreams ProcessStreams::child_ends() const {
  OciStreams ends;
  ends.input = stdin_child_end_.get();
  ends.output = stdout_.child_end.get();
  ends.error = stderr_.child_end.get();
  return ends;
}

void ProcessStreams::CloseChildEnds() {
  stdin_child_end_.reset();
  stdout_.child_end.reset();
  stderr_.child_end.reset();
}

Status ProcessStreams::SetTerminal(UniqueFd master) {
  STASIS_RETURN_IF_ERROR(SetNonBlocking(master.get()));
  stdin_ = UniqueFd(::fcntl(master.get(), F_DUPFD_CLOEXEC, 0));
  if (!stdin_.valid()) return ErrnoError(errno, "dup the terminal");
  stdout_.fd = std::move(master);
  if (stdio_.width && stdio_.height) return Resize(stdio_.width, stdio_.height);
  return {};
}

void ProcessStreams::Begin(std::function<void()> drained) {
  begun_ = true;
  drained_ = std::move(drained);
  for (Stream stream : {Stream::kStdout, Stream::kStderr}) {
    Source& source = SourceOf(stream);
    if (source.fd.valid()) {
      loop_->Watch(source.fd.get(), POLLIN, [this, stream](short) { ReadSource(stream); });
    }
    if (source.fifo.valid()) {
      loop_->Watch(source.fifo.get(), EventLoop::kParked, [this, stream](short) { FlushFifo(stream); });
    }
  }
  if (stdin_.valid()) {
    // An error means that the process has closed its end.
    loop_->Watch(stdin_.get(), 0, [this](short) { FlushStdin(); });
    if (stdio_.terminal) loop_->SetEvents(stdin_.get(), EventLoop::kParked);
  }
  if (stdin_fifo_.valid()) loop_->Watch(stdin_fifo_.get(), POLLIN, [this](short) { ReadStdinFifo(); });
  WatchInputs();
  CheckDrained();
}

void ProcessStreams::ReadSource(Stream stream) {
  Source& source = SourceOf(stream);
  char buffer[kReadStep];
  ssize_t got = ::read(source.fd.get(), buffer, sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) return Deliver(stream, {buffer, static_cast<size_t>(got)});
  EndSource(stream);  // end of the pipe; for a terminal, EIO says so
}

void ProcessStreams::Deliver(Stream stream, std::string_view bytes) {
  if (log_) log_->Write(stream, bytes, absl::Now());
  for (const auto& client : clients_) {
    client->Output(stream, bytes);
    UpdateClient(client.get());
  }
  Source& source = SourceOf(stream);
  if (source.fifo.valid()) {
    source.fifo_pending += bytes;
    return FlushFifo(stream);  // which looks at the sources too
  }
  WatchSources();
}

bool ProcessStreams::HeldUpByClient() const {
  return std::any_of(clients_.begin(), clients_.end(),
                     [](const auto& client) { return client->pending() > AttachClient::kMaxPending; });
}

void ProcessStreams::WatchSources() {
  if (!begun_) return;
  bool held_up = HeldUpByClient();
  for (const Source* source : {&stdout_, &stderr_}) {
    if (!source->fd.valid()) continue;
    bool wait = held_up || !source->fifo_pending.empty();
    loop_->SetEvents(source->fd.get(), wait ? EventLoop::kParked : static_cast<short>(POLLIN));
  }
}

void ProcessStreams::ReadRest(Stream stream) {
  Source& source = SourceOf(stream);
  size_t total = 0;
  while (source.fd.valid() && total < kMaxRest) {
    char buffer[kReadStep];
    ssize_t got = ::read(source.fd.get(), buffer, sizeof buffer);
    if (got <= 0) return;
    Deliver(stream, {buffer, static_cast<size_t>(got)});
    total += static_cast<size_t>(got);
  }
}

void ProcessStreams::EndSource(Stream stream) {
  Source& source = SourceOf(stream);
  if (!source.fd.valid()) return;
  loop_->Unwatch(source.fd.get());
  source.fd.reset();
  CheckDrained();
}

void ProcessStreams::FlushFifo(Stream stream) {
  Source& source = SourceOf(stream);
  while (!source.fifo_pending.empty()) {
    ssize_t written = ::write(source.fifo.get(), source.fifo_pending.data(), source.fifo_pending.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;
    source.fifo_pending.erase(0, static_cast<size_t>(written));
  }
  bool full = !source.fifo_pending.empty();
  loop_->SetEvents(source.fifo.get(), full ? static_cast<short>(POLLOUT) : EventLoop::kParked);
  WatchSources();
  if (!full) CheckDrained();
}

void ProcessStreams::CheckDrained() {
  for (const Source* source : {&stdout_, &stderr_}) {
    if (source->fd.valid() || source->child_end.valid() || !source->fifo_pending.empty()) return;
  }
  if (begun_ && drained_) std::exchange(drained_, nullptr)();
}

void ProcessStreams::Finish(std::function<void()> gone) {
  finished_ = true;
  drained_ = nullptr;
  gone_ = std::move(gone);
  for (Stream stream : {Stream::kStdout, Stream::kStderr}) {
    Source& source = SourceOf(stream);
    ReadRest(stream);
    EndSource(stream);
    if (source.fifo.valid()) loop_->Unwatch(source.fifo.get());
    source.fifo.reset();
    if (log_) log_->Flush(stream, absl::Now());
  }
  DropStdin();
  std::vector<int> clients;
  for (const auto& client : clients_) clients.push_back(client->fd());
  for (int fd : clients) HandleClient(fd, 0);
  if (clients.empty() && gone_) std::exchange(gone_, nullptr)();
}

Status ProcessStreams::Resize(uint32_t width, uint32_t height) {
  if (!stdio_.terminal) return FailedPrecondition("the process has no terminal");
  if (width > UINT16_MAX || height > UINT16_MAX) return InvalidArgument("no terminal is that large");
  if (!stdout_.fd.valid()) return FailedPrecondition("the terminal is closed");
  winsize size = {};
  size.ws_col = static_cast<unsigned short>(width);
  size.ws_row = static_cast<unsigned short>(height);
  if (::ioctl(stdout_.fd.get(), TIOCSWINSZ, &size) != 0) return ErrnoError(errno, "resize the terminal");
  return {};
}

// ---- Input.

void ProcessStreams::WatchInputs() {
  for (const auto& client : clients_) UpdateClient(client.get());
  bool room = stdin_pending_.size() < kMaxStdinPending;
  if (stdin_fifo_.valid() && begun_) {
    loop_->SetEvents(stdin_fifo_.get(), room ? static_cast<short>(POLLIN) : EventLoop::kParked);
  }
}

void ProcessStreams::TakeInput(std::string_view bytes) {
  if (!stdin_.valid() || stdin_ending_) return;  // nobody reads it: thrown away
  stdin_pending_ += bytes;
  FlushStdin();
}

void ProcessStreams::FlushStdin() {
  if (!stdin_.valid()) return;
  while (!stdin_pending_.empty()) {
    ssize_t written = ::write(stdin_.get(), stdin_pending_.data(), stdin_pending_.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) break;
    if (written < 0) return DropStdin();
    stdin_pending_.erase(0, static_cast<size_t>(written));
  }
  if (stdin_pending_.empty()) {
    pollfd state = {stdin_.get(), 0, 0};
    bool closed = !stdio_.terminal && ::poll(&state, 1, 0) > 0 && (state.revents & POLLERR);
    if (closed || stdin_ending_) return DropStdin();
  }
  short quiet = stdio_.terminal ? EventLoop::kParked : static_cast<short>(0);
  loop_->SetEvents(stdin_.get(), stdin_pending_.empty() ? quiet : static_cast<short>(POLLOUT));
  WatchInputs();
}

void ProcessStreams::DropStdin() {
  if (begun_ && stdin_.valid()) loop_->Unwatch(stdin_.get());
  if (begun_ && stdin_fifo_.valid()) loop_->Unwatch(stdin_fifo_.get());
  stdin_.reset();
  stdin_fifo_.reset();
  stdin_pending_ = {};
  WatchInputs();
}

void ProcessStreams::CloseStdin() {
  stdin_ending_ = true;
  // A terminal's end cannot be closed without the terminal: its programs see the end of input from ^D.
  if (!stdio_.terminal && begun_) FlushStdin();
}

void ProcessStreams::ReadStdinFifo() {
  char buffer[kReadStep];
  ssize_t got = ::read(stdin_fifo_.get(), buffer, sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) return TakeInput({buffer, static_cast<size_t>(got)});
  loop_->Unwatch(stdin_fifo_.get());
  stdin_fifo_.reset();
  CloseStdin();
}

// ---- Attached clients.

AttachClient* ProcessStreams::FindClient(int fd) {
  for (const auto& client : clients_) {
    if (client->fd() == fd) return client.get();
  }
  return nullptr;
}

void ProcessStreams::AddClient(std::unique_ptr<AttachClient> client) {
  int fd = client->fd();
  client->Answer(stdio_.terminal);
  clients_.push_back(std::move(client));
  loop_->Watch(fd, 0, [this, fd](short revents) { HandleClient(fd, revents); });
  HandleClient(fd, 0);
}

void ProcessStreams::UpdateClient(AttachClient* client) {
  bool room = stdin_pending_.size() < kMaxStdinPending && !finished_;
  short events = client->idle() ? 0 : POLLOUT;
  if (client->wants_input() && room && begun_) events |= POLLIN;
  // One that hung up with input unread would be reported for ever: it waits until there is room.
  if (client->hung_up() && !(events & POLLIN)) events = EventLoop::kParked;
  loop_->SetEvents(client->fd(), events);
}

void ProcessStreams::HandleClient(int fd, short revents) {
  AttachClient* client = FindClient(fd);
  if (!client) return;
  if (revents & (POLLHUP | POLLERR)) client->HangUp();
  bool alive = client->Flush();
  if ((revents & (POLLIN | POLLHUP)) && client->wants_input() && !finished_ && begun_ &&
      stdin_pending_.size() < kMaxStdinPending) {
    std::string input;
    bool more = client->Read(&input, kReadStep);
    if (!input.empty()) TakeInput(input);
    if (!more) {
      client->EndInput();
      if (stdio_.stdin_once) CloseStdin();
    }
  }
  bool done = client->hung_up() ? !client->wants_input() || finished_ : finished_ && client->idle();
  if (!alive || done) return RemoveClient(fd);
  UpdateClient(client);
  WatchSources();
}

void ProcessStreams::RemoveClient(int fd) {
  loop_->Unwatch(fd);
  AttachClient* client = FindClient(fd);
  bool ends_input = client && client->wants_input() && stdio_.stdin_once;
  std::erase_if(clients_, [&](const auto& each) { return each->fd() == fd; });
  if (ends_input && !finished_) CloseStdin();
  WatchSources();
  if (finished_ && clients_.empty() && gone_) std::exchange(gone_, nullptr)();
}

}  // namespace stasis
