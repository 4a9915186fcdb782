#include "shim/attach_client.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>

#include "protocol/frame.h"

namespace stasis {

AttachClient::AttachClient(UniqueFd socket, const protocol::AttachRequest& request)
    : socket_(std::move(socket)),
      use_stdin_(request.use_stdin),
      use_stdout_(request.use_stdout),
      use_stderr_(request.use_stderr) {}

void AttachClient::QueueFrame(const Json& frame) {
  pending_ += protocol::EncodeFrame(frame);
  Flush();
}

void AttachClient::Answer(bool terminal) {
  framed_ = !terminal;
  QueueFrame(protocol::AnswerToJson(1, Json{{"terminal", terminal}}));
}

void AttachClient::Refuse(const Status& error) {
  use_stdin_ = use_stdout_ = use_stderr_ = false;
  QueueFrame(protocol::AnswerToJson(1, error));
}

void AttachClient::Output(Stream stream, std::string_view bytes) {
  bool wanted = stream == Stream::kStdout ? use_stdout_ : use_stderr_;
  if (!wanted || hung_up_) return;
  if (framed_) pending_ += OutputFrameHeader(stream, bytes.size());
  pending_ += bytes;
  Flush();
}

bool AttachClient::Flush() {
  while (!idle()) {
    ssize_t sent =
        ::send(fd(), pending_.data() + sent_, pending_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    sent_ += static_cast<size_t>(sent);
  }
  if (idle() || sent_ > kMaxPending) {
    pending_.erase(0, sent_);
    sent_ = 0;
    if (pending_.empty() && pending_.capacity() > (64 << 10)) pending_.shrink_to_fit();
  }
  return true;
}

bool AttachClient::Read(std::string* out, size_t limit) {
  char buffer[16 << 10];
  ssize_t got = ::recv(fd(), buffer, std::min(limit, sizeof buffer), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (got <= 0) return false;
  out->append(buffer, static_cast<size_t>(got));
  return true;
}

void AttachClient::HangUp() {
  hung_up_ = true;
  pending_ = {};
  sent_ = 0;
}

std::string OutputFrameHeader(Stream stream, size_t size) {
  std::string header(8, '\0');
  header[0] = static_cast<char>(stream);
  for (int i = 0; i < 4; ++i) header[4 + i] = static_cast<char>(size >> (8 * (3 - i)) & 0xff);
  return header;
}

}  // namespace stasis
