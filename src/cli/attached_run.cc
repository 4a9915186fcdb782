#include "cli/attached_run.h"

#include <utility>

#include "cli/target.h"
#include "linux/process_handle.h"

namespace stasis::cli {
namespace {

SessionOptions MakeSession(const ApiClient& client, const AttachedRun& run, const PendingCall& exit) {
  SessionOptions session;
  session.terminal = run.terminal;
  session.use_stdin = run.interactive;
  session.exit = &exit;
  // A container that has just ended refuses both: no harm.
  session.on_signal = [&client, &run](int signal) {
    const Query query = {{"signal", std::to_string(signal)}};
    client.Call({"POST", Target({"containers", run.container, "kill"}, query), Json()})
        .status()
        .IgnoreError();
  };
  session.on_resize = [&client, &run](WindowSize size) {
    const Query query = {{"w", std::to_string(size.width)}, {"h", std::to_string(size.height)}};
    client.Call({"POST", Target({"containers", run.container, "resize"}, query), Json()})
        .status()
        .IgnoreError();
  };
  return session;
}

}  // namespace

StatusOr<int> ExitCodeOfWait(const Json& answer) {
  int code = 0;
  std::string message;
  JsonReader reader(answer);
  reader.Get("StatusCode", &code);
  if (const Json* error = reader.Find("Error"); error && error->is_object())
    JsonReader(*error).Get("Message", &message);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (!message.empty()) return Internal("Error waiting for container: " + message);
  return code;
}

StatusOr<int> RunAttached(const ApiClient& client, const AttachedRun& run, const HeldSignals& signals) {
  const Query streams = {
      {"stream", "1"}, {"stdin", run.interactive ? "1" : "0"}, {"stdout", "1"}, {"stderr", "1"}};
  STASIS_ASSIGN_OR_RETURN(
      HijackedStream stream,
      client.Hijack({"POST", Target({"containers", run.container, "attach"}, streams), Json()}));
  const Query condition = {{"condition", run.wait_condition}};
  STASIS_ASSIGN_OR_RETURN(
      PendingCall exit,
      client.Begin({"POST", Target({"containers", run.container, "wait"}, condition), Json()}));
  if (Status started = run.start(); !started.ok()) {
    // The daemon removes it then: the user sees it gone when this returns.
    if (run.wait_condition == "removed") exit.Finish().status().IgnoreError();
    return started;
  }
  STASIS_ASSIGN_OR_RETURN(SessionEnd end,
                          RunSession(std::move(stream), MakeSession(client, run, exit), signals));
  if (end.reason == SessionEnd::Reason::kDetached) return 0;
  if (end.reason == SessionEnd::Reason::kSignal)
    return ExitStatus{.code = 0, .signal = end.signal}.ShellCode();
  STASIS_ASSIGN_OR_RETURN(Json answer, exit.Finish());
  return ExitCodeOfWait(answer);
}

}  // namespace stasis::cli
