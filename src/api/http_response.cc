#include "api/http_response.h"

#include <cstdio>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/http_error.h"

namespace stasis::api {
namespace {

constexpr size_t kMostSkipped = 256 << 10;  // as Go's server does

std::string OneLine(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

std::string Field(std::string_view name, std::string_view value) {
  return std::string(name) + ": " + std::string(value) + "\r\n";
}

std::string Date() {
  return absl::FormatTime("%a, %d %b %E4Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone());
}

}  // namespace

void HttpResponse::SetHeader(std::string_view name, std::string_view value) {
  headers_[std::string(name)] = OneLine(value);
}

std::string HttpResponse::Head(int http_status, std::string_view content_type) const {
  std::string head =
      "HTTP/1.1 " + std::to_string(http_status) + " " + std::string(ReasonPhrase(http_status)) + "\r\n";
  head += Field("Api-Version", "1.47");
  head += Field("Docker-Experimental", "true");
  head += Field("Ostype", "linux");
  head += Field("Server", setting_.server);
  head += Field("Date", Date());
  if (!content_type.empty()) head += Field("Content-Type", content_type);
  for (const auto& [name, value] : headers_) head += Field(name, value);
  return head;
}

// Whether what follows on this connection is another request: not where this one's body may lie in between.
bool HttpResponse::KeepsAlive() const {
  if (close_ || failed_ || !setting_.parser) return false;
  const RequestHead& head = setting_.parser->head();
  return head.keep_alive && setting_.parser->done();
}

// Small bodies that no handler wanted came with the header: without them the connection can go on.
void HttpResponse::SkipReadBody() {
  char scratch[4096];
  while (setting_.parser && !setting_.parser->done()) {
    StatusOr<size_t> count = setting_.parser->ReadBody(*setting_.input, scratch, sizeof scratch);
    if (!count.ok() || *count == 0) return;
  }
}

Status HttpResponse::Whole(int http_status, std::string_view content_type, std::string_view body) {
  if (started()) return Internal("two answers to one request");
  state_ = State::kWhole;
  http_status_ = http_status;
  SkipReadBody();
  std::string bytes = Head(http_status, content_type);
  bool may_have_body = http_status != 204 && http_status != 304;
  if (may_have_body) bytes += Field("Content-Length", std::to_string(body.size()));
  bool keep = KeepsAlive();
  close_ = !keep;
  bytes += Field("Connection", keep ? "keep-alive" : "close") + "\r\n";
  const bool head_only = setting_.parser && setting_.parser->head().method == "HEAD";
  if (may_have_body && !head_only) bytes += body;
  // Not `cancel`: what was decided is still said, and a client that is gone fails the write by itself.
  Status status = setting_.connection->Write(bytes, setting_.write_pause, setting_.server_stop);
  failed_ = !status.ok();
  return status;
}

Status HttpResponse::StartStream(int http_status, std::string_view content_type) {
  if (started()) return Internal("two answers to one request");
  state_ = State::kStream;
  http_status_ = http_status;
  const bool handler_reads_body = setting_.parser && setting_.parser->body_begun();
  if (!handler_reads_body) {
    SkipReadBody();
    // The header is the last place to say that the connection ends after this answer. It does where bytes of
    // an unwanted body are still to come, for nobody will take them off it.
    if (!setting_.parser || !setting_.parser->done()) close_ = true;
  }
  bool chunked = setting_.parser && setting_.parser->head().http_1_1;
  if (!chunked) close_ = true;  // HTTP/1.0: the end of the connection is the end of the body
  std::string head = Head(http_status, content_type);
  if (chunked) head += Field("Transfer-Encoding", "chunked");
  if (close_) head += Field("Connection", "close");
  Status status = setting_.connection->Write(head + "\r\n", std::nullopt, setting_.cancel);
  failed_ = !status.ok();
  return status;
}

Status HttpResponse::Write(std::string_view bytes) {
  if (state_ != State::kStream) return Internal("the answer is no stream");
  if (failed_) return Unavailable("the client is gone");
  if (bytes.empty()) return absl::OkStatus();  // an empty chunk would end the body
  std::string chunk;
  if (setting_.parser->head().http_1_1) {
    char size[20];
    int length = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    chunk.reserve(bytes.size() + 32);
    chunk.append(size, static_cast<size_t>(length)).append(bytes).append("\r\n");
    bytes = chunk;
  }
  Status status = setting_.connection->Write(bytes, std::nullopt, setting_.cancel);
  failed_ = !status.ok();
  return status;
}

// Behind the body lies what the client wants to say to the process.
Status HttpResponse::SkipWholeBody() {
  if (!setting_.parser) return Internal("there is no request whose connection could be taken over");
  char scratch[4096];
  for (size_t skipped = 0; !setting_.parser->done();) {
    STASIS_ASSIGN_OR_RETURN(const size_t count, body_(scratch, sizeof scratch));
    skipped += count;
    if (skipped > kMostSkipped) {
      return HttpError(413, "request body too large: more than " + std::to_string(kMostSkipped) +
                                " bytes before a stream");
    }
  }
  return absl::OkStatus();
}

StatusOr<HijackedConnection*> HttpResponse::Hijack(std::string_view content_type) {
  if (started()) return Internal("two answers to one request");
  STASIS_RETURN_IF_ERROR(SkipWholeBody());
  state_ = State::kHijacked;
  close_ = true;
  bool upgrade = setting_.parser->head().wants_upgrade;
  http_status_ = upgrade ? 101 : 200;
  std::string head = Head(http_status_, upgrade ? content_type : "application/vnd.docker.raw-stream");
  if (upgrade) head += Field("Connection", "Upgrade") + Field("Upgrade", "tcp");
  STASIS_RETURN_IF_ERROR(setting_.connection->Write(head + "\r\n", setting_.write_pause, setting_.cancel));
  return static_cast<HijackedConnection*>(this);
}

bool HttpResponse::Finish(const Status& outcome) {
  if (!started()) {
    // A handler that returned ok without a word is a mistake of ours; the client is told something all the
    // same.
    Error(outcome.ok() ? Internal("no answer was made") : outcome).IgnoreError();
  } else if (state_ == State::kStream) {
    if (!outcome.ok() || failed_) return false;  // cut off: without the last chunk the client knows
    if (setting_.parser->head().http_1_1) {
      failed_ = !setting_.connection->Write("0\r\n\r\n", setting_.write_pause, setting_.cancel).ok();
    }
  }
  return KeepsAlive();
}

}  // namespace stasis::api
