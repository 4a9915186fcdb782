#include "cli/api_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "linux/unix_socket.h"

namespace stasis::cli {
namespace {

namespace http = boost::beast::http;

constexpr size_t kPiece = 32 << 10;
constexpr size_t kMaxAnswer = 64 << 20;  // of an answer that is kept whole

StatusCode CodeOf(unsigned http_status) {
  switch (http_status) {
    case 400:
      return StatusCode::kInvalidArgument;
    case 403:
      return StatusCode::kPermissionDenied;
    case 404:
      return StatusCode::kNotFound;
    case 409:
      return StatusCode::kFailedPrecondition;
    case 501:
      return StatusCode::kUnimplemented;
    case 503:
      return StatusCode::kUnavailable;
    case 504:
      return StatusCode::kDeadlineExceeded;
    default:
      return StatusCode::kInternal;
  }
}

Status ErrorOfAnswer(unsigned http_status, const std::string& body) {
  std::string message;
  if (auto json = ParseJson(body); json.ok() && json->is_object()) JsonReader(*json).Get("message", &message);
  if (message.empty()) message = body.empty() ? "HTTP status " + std::to_string(http_status) : body;
  return MakeError(CodeOf(http_status), "Error response from daemon: " + message);
}

}  // namespace

class Exchange {
 public:
  explicit Exchange(UniqueFd socket) : socket_(std::move(socket)) {
    parser_.body_limit(std::uint64_t{1} << 62);
    parser_.header_limit(64 << 10);
  }

  Status Send(const Request& request, bool upgrade);
  // Reads up to the end of the answer's head.
  Status ReadHead();
  // Reads the body, a piece a call of `sink`, to its end.
  Status ReadBody(const std::function<Status(std::string_view)>& sink);
  StatusOr<std::string> ReadBodyWhole();

  unsigned status() const { return parser_.get().result_int(); }
  int fd() const { return socket_.get(); }
  bool has_bytes() const { return !received_.empty() || parser_.is_done(); }
  HijackedStream TakeStream() { return {std::move(socket_), std::move(received_)}; }

 private:
  Status SendAll(std::string_view bytes);
  Status SendUpload(const Request& request);
  // Appends what comes next to received_; false at the end of the stream.
  StatusOr<bool> Receive();
  // Gives received_ to the parser.
  Status Parse();

  UniqueFd socket_;
  std::string received_;  // not yet parsed
  http::response_parser<http::buffer_body> parser_;
};

Status Exchange::SendAll(std::string_view bytes) {
  return SendExactly(socket_.get(), bytes, kNoDeadline, {});
}

Status Exchange::Send(const Request& request, bool upgrade) {
  std::string head = request.method + " " + request.target +
                     " HTTP/1.1\r\nHost: stasis\r\nUser-Agent: stasis/" + STASIS_VERSION + "\r\n";
  if (upgrade) {
    head += "Connection: Upgrade\r\nUpgrade: tcp\r\n";
  } else {
    head += "Connection: close\r\n";
  }
  if (request.upload) {
    head += "Content-Type: " + request.upload_type + "\r\nTransfer-Encoding: chunked\r\n\r\n";
    STASIS_RETURN_IF_ERROR(SendAll(head));
    return SendUpload(request);
  }
  const std::string body = request.body.is_null() ? "" : DumpJson(request.body);
  if (!body.empty()) head += "Content-Type: application/json\r\n";
  if (!body.empty() || request.method != "GET")
    head += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return SendAll(head + "\r\n" + body);
}

Status Exchange::SendUpload(const Request& request) {
  std::string piece(kPiece, '\0');
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(size_t size, request.upload(piece.data(), piece.size()));
    char chunk_head[32];
    std::snprintf(chunk_head, sizeof chunk_head, "%zx\r\n", size);
    // One send, so that a daemon that refuses and closes is met as an error of the answer below, not of a
    // half chunk.
    Status sent = SendAll(chunk_head + piece.substr(0, size) + "\r\n");
    // It may have answered and closed before it read all: the answer tells why.
    if (!sent.ok() || size == 0) return absl::OkStatus();
  }
}

StatusOr<bool> Exchange::Receive() {
  std::array<char, kPiece> piece;
  for (;;) {
    const ssize_t size = ::recv(socket_.get(), piece.data(), piece.size(), 0);
    if (size >= 0) {
      received_.append(piece.data(), static_cast<size_t>(size));
      return size > 0;
    }
    if (errno == ECONNRESET) return false;
    if (errno != EINTR) return ErrnoError(errno, "read from the daemon");
  }
}

Status Exchange::Parse() {
  boost::beast::error_code error;
  while (!received_.empty() && !parser_.is_done()) {
    const size_t used = parser_.put(boost::asio::buffer(received_), error);
    received_.erase(0, used);
    if (error == http::error::need_more || error == http::error::need_buffer) return absl::OkStatus();
    if (error) return Internal("the daemon's answer is malformed: " + error.message());
    if (parser_.is_header_done()) return absl::OkStatus();
  }
  return absl::OkStatus();
}

Status Exchange::ReadHead() {
  for (;;) {
    STASIS_RETURN_IF_ERROR(Parse());
    if (parser_.is_header_done()) return absl::OkStatus();
    STASIS_ASSIGN_OR_RETURN(bool more, Receive());
    if (!more) return Unavailable("the daemon closed the connection without an answer");
  }
}

Status Exchange::ReadBody(const std::function<Status(std::string_view)>& sink) {
  std::array<char, kPiece> piece;
  auto& body = parser_.get().body();
  boost::beast::error_code error;
  while (!parser_.is_done()) {
    body.data = piece.data();
    body.size = piece.size();
    body.more = true;
    const size_t before = received_.size();
    STASIS_RETURN_IF_ERROR(Parse());
    const size_t size = piece.size() - body.size;
    if (size > 0) {
      STASIS_RETURN_IF_ERROR(sink({piece.data(), size}));
    }
    if (size > 0 || received_.size() != before || parser_.is_done()) continue;
    STASIS_ASSIGN_OR_RETURN(bool more, Receive());
    if (more) continue;
    parser_.put_eof(error);
    if (error) return Unavailable("the daemon closed the connection in the middle of its answer");
  }
  return absl::OkStatus();
}

StatusOr<std::string> Exchange::ReadBodyWhole() {
  std::string body;
  STASIS_RETURN_IF_ERROR(ReadBody([&](std::string_view bytes) {
    if (body.size() + bytes.size() > kMaxAnswer) return Internal("the daemon's answer is too large");
    body += bytes;
    return absl::OkStatus();
  }));
  return body;
}

PendingCall::PendingCall(std::unique_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
PendingCall::PendingCall(PendingCall&&) noexcept = default;
PendingCall::~PendingCall() = default;

int PendingCall::fd() const { return exchange_->fd(); }
bool PendingCall::HasBytes() const { return exchange_->has_bytes(); }

StatusOr<Json> PendingCall::Finish() {
  STASIS_ASSIGN_OR_RETURN(std::string body, exchange_->ReadBodyWhole());
  if (body.empty()) return Json();
  auto json = ParseJson(body);
  if (!json.ok()) return Internal("the daemon's answer is no JSON: " + Message(json.status()));
  return json;
}

StatusOr<ApiClient> ApiClient::Create(std::string_view host) {
  constexpr std::string_view kScheme = "unix://";
  std::string_view path = host;
  if (path.substr(0, kScheme.size()) == kScheme) path.remove_prefix(kScheme.size());
  if (path.empty() || path.front() != '/')
    return InvalidArgument("unable to parse host \"" + std::string(host) + "\": want unix:///PATH");
  return ApiClient(std::string(path));
}

StatusOr<std::unique_ptr<Exchange>> ApiClient::Open(const Request& request, bool upgrade) const {
  auto socket = ConnectUnix(path_);
  if (!socket.ok()) {
    return Unavailable("Cannot connect to the Stasis daemon at unix://" + path_ + ". Is stasisd running? (" +
                       Message(socket.status()) + ")");
  }
  auto exchange = std::make_unique<Exchange>(*std::move(socket));
  STASIS_RETURN_IF_ERROR(Annotate(exchange->Send(request, upgrade), "the daemon's connection"));
  STASIS_RETURN_IF_ERROR(exchange->ReadHead());
  if (exchange->status() >= 400) {
    STASIS_ASSIGN_OR_RETURN(std::string body, exchange->ReadBodyWhole());
    return ErrorOfAnswer(exchange->status(), body);
  }
  return exchange;
}

StatusOr<PendingCall> ApiClient::Begin(const Request& request) const {
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<Exchange> exchange, Open(request, /*upgrade=*/false));
  return PendingCall(std::move(exchange));
}

StatusOr<Json> ApiClient::Call(const Request& request) const {
  STASIS_ASSIGN_OR_RETURN(PendingCall call, Begin(request));
  return call.Finish();
}

Status ApiClient::Stream(const Request& request, const std::function<Status(std::string_view)>& sink) const {
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<Exchange> exchange, Open(request, /*upgrade=*/false));
  return exchange->ReadBody(sink);
}

StatusOr<HijackedStream> ApiClient::Hijack(const Request& request) const {
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<Exchange> exchange, Open(request, /*upgrade=*/true));
  if (exchange->status() != 101) return Internal("the daemon did not switch to a raw stream");
  return exchange->TakeStream();
}

}  // namespace stasis::cli
