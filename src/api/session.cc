#include "api/session.h"

#include <exception>
#include <utility>

#include "absl/time/clock.h"
#include "api/http_error.h"
#include "base/log.h"

namespace stasis::api {
namespace {

constexpr size_t kReadSize = 64 << 10;
constexpr std::chrono::seconds kLingerLimit{5};

void LogRequest(const Request& request, const HttpResponse& response, const Status& outcome,
                absl::Time begun) {
  double seconds = absl::ToDoubleSeconds(absl::Now() - begun);
  std::string line = Printable(request.method, 16) + " " + Printable(request.target, 256) + " " +
                     std::to_string(response.http_status());
  if (!outcome.ok()) line += " (" + Printable(Message(outcome)) + ")";
  bool ours = !outcome.ok() && HttpStatusOf(outcome) == 500;
  spdlog::log(ours ? spdlog::level::warn : spdlog::level::debug, "api: {} in {:.3f} s", line, seconds);
}

}  // namespace

void Session::Run() {
  while (ServeOne()) {
  }
}

void Session::Drain() {
  std::lock_guard lock(mutex_);
  draining_ = true;
  if (phase_ != Phase::kCall) stop_.request_stop();
}

void Session::Enter(Phase phase) {
  std::lock_guard lock(mutex_);
  phase_ = phase;
  if (draining_ && phase != Phase::kCall) stop_.request_stop();
}

void Session::AnswerUnreadable(const Status& error) {
  HttpResponse::Setting setting;
  setting.connection = &connection_;
  setting.input = &input_;
  setting.write_pause = context_.limits.write_pause;
  setting.server_stop = stop_.get_token();
  setting.server = context_.server;
  HttpResponse response(std::move(setting));
  spdlog::debug("api: a request that cannot be read: {}", Printable(Message(error)));
  response.Error(error).IgnoreError();
}

std::unique_ptr<HttpParser> Session::ReadHead() {
  auto parser = std::make_unique<HttpParser>(context_.limits.header_bytes);
  std::vector<char> buffer(kReadSize);
  Deadline deadline = After(context_.limits.idle_time);
  bool begun = false;
  for (;;) {
    if (!input_.empty()) {
      if (!std::exchange(begun, true)) deadline = After(context_.limits.header_time);
      StatusOr<bool> whole = parser->ReadHead(input_);
      if (!whole.ok()) {
        AnswerUnreadable(whole.status());
        return nullptr;
      }
      if (*whole) return parser;
    }
    StatusOr<size_t> count = connection_.Read(buffer.data(), buffer.size(), deadline, stop_.get_token());
    if (begun && count.status().code() == StatusCode::kDeadlineExceeded) {
      AnswerUnreadable(HttpError(408, "the request's header did not come in time"));
    }
    if (!count.ok() || *count == 0) return nullptr;
    input_.append(buffer.data(), *count);
  }
}

bool Session::ServeOne() {
  Enter(Phase::kIdle);
  std::unique_ptr<HttpParser> parser = ReadHead();
  if (!parser) return false;
  Enter(Phase::kCall);
  told_to_continue_ = false;
  absl::Time begun = absl::Now();

  std::stop_source gone;
  std::stop_callback stopped(stop_.get_token(), [&gone] { gone.request_stop(); });
  StatusOr<HangupWatcher::Watch> watch = context_.watcher->Add(connection_.fd(), gone);

  HttpResponse::Setting setting;
  setting.connection = &connection_;
  setting.input = &input_;
  setting.parser = parser.get();
  setting.write_pause = context_.limits.write_pause;
  setting.cancel = gone.get_token();
  setting.server_stop = stop_.get_token();
  setting.server = context_.server;
  HttpResponse response(std::move(setting));

  Request request;
  request.cancel = gone.get_token();
  request.server_stop = stop_.get_token();
  Status outcome = watch.ok() ? Handle(*parser, request, response) : watch.status();
  bool goes_on = response.Finish(outcome);
  LogRequest(request, response, outcome, begun);
  if (!goes_on && !parser->done()) connection_.Linger(After(kLingerLimit), stop_.get_token());
  return goes_on;
}

Status Session::Handle(HttpParser& parser, Request& request, HttpResponse& response) {
  const RequestHead& head = parser.head();
  request.method = head.method;
  request.target = head.target;
  request.headers = head.headers;
  request.has_body = head.has_body;
  request.json_limit = context_.limits.json_bytes;
  request.body = [this, &parser, &request, &response](char* out, size_t size) {
    return ReadBody(parser, request, response, out, size);
  };
  response.SetBody(request.body);
  size_t question = head.target.find('?');
  request.path = head.target.substr(0, question);
  if (question != head.target.npos) {
    STASIS_ASSIGN_OR_RETURN(request.query, Query::Parse(std::string_view(head.target).substr(question + 1)));
  }
  if (request.method == "OPTIONS") return response.Empty(200);  // dockerd does so on every path
  STASIS_ASSIGN_OR_RETURN(RouteTable::Match match, context_.routes->Find(request));
  if (!match.route) {
    response.SetHeader("Allow", match.allowed);
    return HttpError(405, "method not allowed");
  }
  if (match.route->lifetime == Lifetime::kStream) Enter(Phase::kStream);
  // The one place that catches: a library's exception (out of memory, say) must cost one request, not the
  // daemon.
  try {
    return match.route->handler(request, response);
  } catch (const std::exception& error) {
    return Internal(std::string("unexpected: ") + error.what());
  }
}

StatusOr<size_t> Session::ReadBody(HttpParser& parser, Request& request, HttpResponse& response, char* out,
                                   size_t size) {
  if (parser.head().expects_continue && !response.started() && !std::exchange(told_to_continue_, true)) {
    STASIS_RETURN_IF_ERROR(
        connection_.Write("HTTP/1.1 100 Continue\r\n\r\n", context_.limits.write_pause, request.cancel));
  }
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(size_t count, parser.ReadBody(input_, out, size));
    if (count > 0 || parser.done()) return count;
    size_t had = input_.size();
    input_.resize(had + kReadSize);
    StatusOr<size_t> more =
        connection_.Read(&input_[had], kReadSize, After(context_.limits.body_pause), request.cancel);
    input_.resize(had + (more.ok() ? *more : 0));
    if (more.status().code() == StatusCode::kDeadlineExceeded) {
      return HttpError(408, "the request's body did not come in time");
    }
    if (!more.ok()) return more.status();
    if (*more == 0) return Unavailable("the client left in the middle of the request's body");
  }
}

}  // namespace stasis::api
