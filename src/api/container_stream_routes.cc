// Of containers: what lasts and streams.
#include <algorithm>

#include "api/multiplex.h"
#include "api/routes.h"
#include "api/stream_pump.h"
#include "backend/containers.h"
#include "base/time.h"
#include "linux/unix_socket.h"

namespace stasis::api {
namespace {

using backend::ContainerBackend;

StatusOr<absl::Time> TimeOf(const Query& query, std::string_view name, absl::Time absent) {
  std::string text = query.Text(name);
  if (text.empty() || text == "0") return absent;
  StatusOr<absl::Time> time = ParseUnixTime(text);
  if (!time.ok()) return Annotate(time.status(), "invalid value for parameter " + std::string(name));
  return time;
}

// Docker takes what is no number for "all".
int64_t TailOf(const Query& query) {
  const StatusOr<std::optional<int64_t>> tail = query.Integer("tail");
  return tail.ok() ? std::max<int64_t>(tail->value_or(-1), -1) : -1;
}

StatusOr<backend::LogOptions> LogOptionsOf(const Query& query) {
  backend::LogOptions options;
  options.use_stdout = query.Flag("stdout");
  options.use_stderr = query.Flag("stderr");
  options.timestamps = query.Flag("timestamps");
  options.details = query.Flag("details");
  if (!options.use_stdout && !options.use_stderr) {
    return InvalidArgument("Bad parameters: you must choose at least one stream");
  }
  return options;
}

Status Logs(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::LogOptions options, LogOptionsOf(request.query));
  options.follow = request.query.Flag("follow");
  STASIS_ASSIGN_OR_RETURN(options.since, TimeOf(request.query, "since", absl::InfinitePast()));
  STASIS_ASSIGN_OR_RETURN(options.until, TimeOf(request.query, "until", absl::InfiniteFuture()));
  options.tail = TailOf(request.query);
  bool terminal = false;
  auto start = [&](bool raw) {
    terminal = raw;
    return response.StartStream(200, StreamType(raw, request.minor_version));
  };
  auto send = [&](std::string_view bytes) { return response.Write(bytes); };
  Status status = backend.Logs(request.Value("id"), options, start, send, request.cancel);
  if (!status.ok() && response.started() && !request.cancel.stop_requested()) {
    response.Write(ErrorFrame(terminal, "Error grabbing logs: " + Message(status))).IgnoreError();
  }
  return status;
}

Status Attach(ContainerBackend& backend, Request& request, Response& response) {
  const std::string& container = request.Value("id");
  backend::AttachOptions options;
  options.use_stdin = request.query.Flag("stdin");
  options.use_stdout = request.query.Flag("stdout");
  options.use_stderr = request.query.Flag("stderr");
  STASIS_ASSIGN_OR_RETURN(DetachKeys detach_keys, DetachKeys::Parse(request.query.Text("detachKeys")));
  bool with_logs = request.query.Flag("logs");
  backend::LogOptions logs;
  if (with_logs) {
    STASIS_ASSIGN_OR_RETURN(logs, LogOptionsOf(request.query));
  }
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<backend::AttachSession> session,
                          backend.Attach(container, options));
  bool terminal = session->terminal();
  STASIS_ASSIGN_OR_RETURN(HijackedConnection * client,
                          response.Hijack(StreamType(terminal, request.minor_version)));
  if (with_logs) {
    auto send = [&](std::string_view bytes) {
      return SendExactly(client->fd(), bytes, kNoDeadline, request.cancel);
    };
    auto started = [](bool) { return absl::OkStatus(); };
    STASIS_RETURN_IF_ERROR(backend.Logs(container, logs, started, send, request.cancel));
  }
  if (!request.query.Flag("stream")) return absl::OkStatus();
  STASIS_ASSIGN_OR_RETURN(UniqueFd process, session->Connect(request.cancel));
  const bool may_detach = terminal && options.use_stdin;
  STASIS_RETURN_IF_ERROR(
      PumpStreams(*client, std::move(process),
                  {.use_stdin = options.use_stdin, .detach_keys = may_detach ? &detach_keys : nullptr}));
  if (detach_keys.pressed()) session->Detached();
  return absl::OkStatus();
}

StatusOr<backend::WaitCondition> ConditionOf(const Query& query) {
  std::string condition = query.Text("condition");
  if (condition.empty() || condition == "not-running") return backend::WaitCondition::kNotRunning;
  if (condition == "next-exit") return backend::WaitCondition::kNextExit;
  if (condition == "removed") return backend::WaitCondition::kRemoved;
  return InvalidArgument("invalid condition: \"" + condition + "\"");
}

Json WaitJson(int64_t code, const std::string& error) {
  Json json{{"StatusCode", code}};
  if (!error.empty()) json["Error"] = {{"Message", error}};
  return json;
}

// The header goes out when the wait has begun: the CLI starts the container after it.
Status Wait(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::WaitCondition condition, ConditionOf(request.query));
  auto on_waiting = [&] { response.StartStream(200, "application/json").IgnoreError(); };
  StatusOr<backend::WaitResult> result =
      backend.Wait(request.Value("id"), condition, on_waiting, request.cancel);
  if (!response.started()) {
    STASIS_RETURN_IF_ERROR(result.status());
    return response.Json(200, WaitJson(result->status_code, result->error));
  }
  if (request.cancel.stop_requested()) return result.status();
  Json json =
      result.ok() ? WaitJson(result->status_code, result->error) : WaitJson(-1, Message(result.status()));
  return response.Write(DumpJson(json) + "\n");
}

}  // namespace

std::vector<Route> ContainerStreamRoutes(ContainerBackend* backend) {
  auto with = [backend](Status (*handle)(ContainerBackend&, Request&, Response&)) -> Handler {
    return [backend, handle](Request& request, Response& response) {
      return handle(*backend, request, response);
    };
  };
  return {
      {"POST", "/containers/{id}/attach", with(Attach), "Connect to a container's streams",
       "container streams", Lifetime::kStream},
      {"GET", "/containers/{id}/logs", with(Logs), "What a container wrote", "container streams",
       Lifetime::kStream},
      {"POST", "/containers/{id}/wait", with(Wait), "Wait until a container has ended", "container streams",
       Lifetime::kStream},
  };
}

}  // namespace stasis::api
