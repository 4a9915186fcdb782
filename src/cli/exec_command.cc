// stasis exec.
#include <unistd.h>

#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/create_options.h"
#include "cli/session.h"
#include "cli/target.h"
#include "cli/terminal.h"
#include "linux/process_handle.h"

namespace stasis::cli {
namespace {

struct ExecOptions {
  std::string container;
  std::vector<std::string> command;
  bool interactive = false;
  bool tty = false;
  bool detach = false;
  bool privileged = false;
  std::vector<std::string> env;
  std::vector<std::string> env_files;
  std::string user;
  std::string work_dir;
};

StatusOr<std::string> CreateExec(const ApiClient& client, const ExecOptions& options) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> environment,
                          Environment(options.env_files, options.env));
  const Json body = {{"AttachStdin", options.interactive && !options.detach},
                     {"AttachStdout", !options.detach},
                     {"AttachStderr", !options.detach},
                     {"Tty", options.tty},
                     {"Privileged", options.privileged},
                     {"Cmd", options.command},
                     {"Env", environment},
                     {"User", options.user},
                     {"WorkingDir", options.work_dir}};
  STASIS_ASSIGN_OR_RETURN(Json created,
                          client.Call({"POST", Target({"containers", options.container, "exec"}), body}));
  std::string id;
  JsonReader reader(created);
  reader.Get("Id", &id);
  STASIS_RETURN_IF_ERROR(reader.status());
  return id;
}

StatusOr<int> ExitCode(const ApiClient& client, const std::string& id) {
  STASIS_ASSIGN_OR_RETURN(Json details, client.Call({"GET", Target({"exec", id, "json"}), Json()}));
  int code = 0;
  JsonReader reader(details);
  reader.Get("ExitCode", &code);
  STASIS_RETURN_IF_ERROR(reader.status());
  return code;
}

StatusOr<int> RunAttached(const ApiClient& client, const ExecOptions& options, const std::string& id) {
  STASIS_ASSIGN_OR_RETURN(HeldSignals signals, HeldSignals::Hold());
  Json body = {{"Detach", false}, {"Tty", options.tty}};
  const auto size = GetWindowSize(STDOUT_FILENO);
  if (options.tty && size) body["ConsoleSize"] = Json::array({size->height, size->width});
  STASIS_ASSIGN_OR_RETURN(HijackedStream stream,
                          client.Hijack({"POST", Target({"exec", id, "start"}), body}));
  SessionOptions session;
  session.terminal = options.tty;
  session.use_stdin = options.interactive;
  session.on_resize = [&](WindowSize now) {
    client
        .Call({"POST",
               Target({"exec", id, "resize"},
                      {{"w", std::to_string(now.width)}, {"h", std::to_string(now.height)}}),
               Json()})
        .status()
        .IgnoreError();
  };
  STASIS_ASSIGN_OR_RETURN(SessionEnd end, RunSession(std::move(stream), session, signals));
  if (end.reason == SessionEnd::Reason::kDetached) return 0;
  if (end.reason == SessionEnd::Reason::kSignal)
    return ExitStatus{.code = 0, .signal = end.signal}.ShellCode();
  return ExitCode(client, id);
}

int RunExec(const ApiClient& client, const ExecOptions& options) {
  if (options.interactive && options.tty && !options.detach && !IsTerminal(STDIN_FILENO)) {
    PrintError("the input device is not a TTY");
    return kExitFailure;
  }
  auto id = CreateExec(client, options);
  if (!id.ok()) return Report(id.status());
  if (options.detach)
    return Report(
        client.Call({"POST", Target({"exec", *id, "start"}), {{"Detach", true}, {"Tty", options.tty}}})
            .status());
  auto code = RunAttached(client, options, *id);
  return code.ok() ? *code : Report(code.status());
}

}  // namespace

void AddExec(CLI::App& app, Action* action) {
  CLI::App* exec =
      app.add_subcommand("exec", "Run a command in a container: exec [OPTIONS] CONTAINER COMMAND [ARG...]");
  auto options = std::make_shared<ExecOptions>();
  exec->prefix_command();
  exec->add_flag("-i,--interactive", options->interactive, "Keep stdin open");
  exec->add_flag("-t,--tty", options->tty, "Give it a terminal");
  exec->add_flag("-d,--detach", options->detach, "Leave it to run");
  exec->add_flag("--privileged", options->privileged, "Give it all capabilities");
  exec->add_option("-u,--user", options->user, "USER[:GROUP]");
  exec->add_option("-w,--workdir", options->work_dir, "Working directory inside");
  AddRepeated(*exec, "-e,--env", options->env, "NAME=VALUE, or NAME to pass ours on");
  AddRepeated(*exec, "--env-file", options->env_files, "File of such lines");
  exec->callback([=] {
    *action = [=](const ApiClient& client) {
      auto arguments = TrailingArguments(*exec, 2);
      if (!arguments.ok()) return Report(arguments.status());
      options->container = arguments->front();
      options->command.assign(arguments->begin() + 1, arguments->end());
      return RunExec(client, *options);
    };
  });
}

}  // namespace stasis::cli
