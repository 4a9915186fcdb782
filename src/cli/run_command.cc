// stasis run, stasis create.
#include <unistd.h>

#include <memory>
#include <utility>

#include "cli/attached_run.h"
#include "cli/commands.h"
#include "cli/create_options.h"
#include "cli/target.h"
#include "cli/terminal.h"

namespace stasis::cli {
namespace {

// docker's, by what the daemon says of the program that could not be started.
int StartFailureCode(const Status& status) {
  const std::string message = Message(status);
  for (const char* missing : {"executable file not found", "no such file or directory"}) {
    if (message.find(missing) != message.npos) return kExitNotFound;
  }
  for (const char* refused : {"permission denied", "is a directory", "exec format error"}) {
    if (message.find(refused) != message.npos) return kExitCannotExecute;
  }
  return kExitEngineError;
}

int ReportRun(const Status& status, int code) {
  PrintError("stasis: " + Message(status));
  return code;
}

StatusOr<std::string> Create(const ApiClient& client, const CreateOptions& options) {
  STASIS_ASSIGN_OR_RETURN(Json body, CreateBody(options));
  STASIS_ASSIGN_OR_RETURN(
      Json created,
      client.Call({"POST", Target({"containers", "create"}, {{"name", options.name}}), std::move(body)}));
  std::string id;
  std::vector<std::string> warnings;
  JsonReader reader(created);
  reader.Get("Id", &id);
  reader.Get("Warnings", &warnings);
  STASIS_RETURN_IF_ERROR(reader.status());
  for (const std::string& warning : warnings) PrintError("WARNING: " + warning);
  return id;
}

Status Start(const ApiClient& client, const std::string& id) {
  return client.Call({"POST", Target({"containers", id, "start"}), Json()}).status();
}

int RunContainer(const ApiClient& client, const CreateOptions& options) {
  if (options.interactive && options.tty && !options.detach && !IsTerminal(STDIN_FILENO)) {
    PrintError("the input device is not a TTY");
    return kExitFailure;
  }
  // Before there is a container that a signal would leave behind unseen.
  auto signals = HeldSignals::Hold();
  if (!signals.ok()) return ReportRun(signals.status(), kExitEngineError);
  auto id = Create(client, options);
  if (!id.ok()) return ReportRun(id.status(), kExitEngineError);
  if (!options.detach) {
    int failure = kExitEngineError;
    auto code = RunAttached(client,
                            {*id, options.tty, options.interactive, options.remove ? "removed" : "next-exit",
                             [&] {
                               Status started = Start(client, *id);
                               if (!started.ok()) failure = StartFailureCode(started);
                               return started;
                             }},
                            *signals);
    return code.ok() ? *code : ReportRun(code.status(), failure);
  }
  if (Status started = Start(client, *id); !started.ok())
    return ReportRun(started, StartFailureCode(started));
  Print(*id + "\n");
  return 0;
}

void AddCreateFlags(CLI::App& app, CreateOptions& o) {
  app.add_flag("-i,--interactive", o.interactive, "Keep stdin open");
  app.add_flag("-t,--tty", o.tty, "Give it a terminal");
  app.add_flag("--rm", o.remove, "Remove it when it exits");
  app.add_flag("--read-only", o.read_only, "Mount its root read-only");
  app.add_flag("--privileged", o.privileged, "Give it all capabilities and devices");
  app.add_flag("--init", o.init, "Run an init that reaps and forwards signals");
  app.add_option("--name", o.name, "Its name");
  app.add_option("-w,--workdir", o.work_dir, "Working directory inside");
  app.add_option("-u,--user", o.user, "USER[:GROUP]");
  app.add_option("-h,--hostname", o.hostname, "Host name inside");
  app.add_option("-m,--memory", o.memory, "Memory limit, such as 64m");
  app.add_option("--cpus", o.cpus, "CPUs it may use, such as 1.5");
  app.add_option("-c,--cpu-shares", o.cpu_shares, "Its weight against others where the CPUs are busy");
  app.add_option("--pids-limit", o.pids_limit, "Processes it may have");
  app.add_option("--network,--net", o.network, "none, host or container:NAME");
  app.add_option("--restart", o.restart, "no, always, unless-stopped or on-failure[:N]");
  app.add_option("--entrypoint", o.entrypoint, "Instead of the image's");
  app.add_option("--stop-signal", o.stop_signal, "What stop sends");
  app.add_option("--stop-timeout", o.stop_timeout, "Seconds until stop kills");
  AddRepeated(app, "-e,--env", o.env, "NAME=VALUE, or NAME to pass ours on");
  AddRepeated(app, "--env-file", o.env_files, "File of such lines");
  AddRepeated(app, "-v,--volume", o.volumes, "SOURCE:TARGET[:ro]");
  AddRepeated(app, "-p,--publish", o.publish, "[[IP:]HOST:]CONTAINER[/PROTOCOL]");
  AddRepeated(app, "--mount", o.mounts, "type=bind,source=...,target=...");
  AddRepeated(app, "--tmpfs", o.tmpfs, "PATH[:OPTIONS]");
  AddRepeated(app, "--cap-add", o.cap_add, "Add a capability");
  AddRepeated(app, "--cap-drop", o.cap_drop, "Drop a capability");
  AddRepeated(app, "--security-opt", o.security_opts, "seccomp=unconfined, seccomp=FILE, no-new-privileges");
  AddRepeated(app, "-l,--label", o.labels, "NAME=VALUE");
  AddRepeated(app, "--log-opt", o.log_opts, "max-size=..., max-file=...");
  AddRepeated(app, "--ulimit", o.ulimits, "NAME=SOFT[:HARD]");
}

// Takes what stands behind the options as image and command. False when it was reported as wrong.
bool TakeImage(const CLI::App& app, CreateOptions& options) {
  auto arguments = TrailingArguments(app, 1);
  if (!arguments.ok()) {
    PrintError(Message(arguments.status()));
    return false;
  }
  options.image = arguments->front();
  options.command.assign(arguments->begin() + 1, arguments->end());
  return true;
}

}  // namespace

void AddRun(CLI::App& app, Action* action) {
  CLI::App* run =
      app.add_subcommand("run", "Create and start a container: run [OPTIONS] IMAGE [COMMAND] [ARG...]");
  auto options = std::make_shared<CreateOptions>();
  run->prefix_command();
  AddCreateFlags(*run, *options);
  run->add_flag("-d,--detach", options->detach, "Leave it to run and print its id");
  run->callback([=] {
    *action = [=](const ApiClient& client) {
      return TakeImage(*run, *options) ? RunContainer(client, *options) : kExitEngineError;
    };
  });
}

void AddCreate(CLI::App& app, Action* action) {
  CLI::App* create =
      app.add_subcommand("create", "Create a container: create [OPTIONS] IMAGE [COMMAND] [ARG...]");
  auto options = std::make_shared<CreateOptions>();
  create->prefix_command();
  AddCreateFlags(*create, *options);
  create->callback([=] {
    *action = [=](const ApiClient& client) {
      if (!TakeImage(*create, *options)) return kExitEngineError;
      auto id = Create(client, *options);
      if (!id.ok()) return Report(id.status());
      Print(*id + "\n");
      return 0;
    };
  });
}

}  // namespace stasis::cli
