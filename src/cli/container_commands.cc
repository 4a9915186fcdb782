// stasis start, stop, kill, rm, wait, logs.
#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "base/frames.h"
#include "cli/attached_run.h"
#include "cli/commands.h"
#include "cli/long_call.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/units.h"
#include "linux/files.h"

namespace stasis::cli {
namespace {

using Names = std::vector<std::string>;

// Does `call` for each name and prints the name where that went well. All are tried.
int ForEach(const Names& names, const std::function<Status(const std::string& name)>& call) {
  int code = 0;
  for (const std::string& name : names) {
    if (Status status = call(name); status.ok()) {
      Print(name + "\n");
    } else {
      code = Report(status);
    }
  }
  return code;
}

std::shared_ptr<Names> AddNames(CLI::App& command) {
  auto names = std::make_shared<Names>();
  command.add_option("container", *names, "Ids or names")->required();
  return names;
}

StatusOr<bool> HasTerminal(const ApiClient& client, const std::string& container) {
  STASIS_ASSIGN_OR_RETURN(Json details,
                          client.Call({"GET", Target({"containers", container, "json"}), Json()}));
  bool tty = false;
  JsonReader reader(details);
  if (const Json* config = reader.Find("Config")) {
    JsonReader config_reader(*config, "Config");
    config_reader.Get("Tty", &tty);
    STASIS_RETURN_IF_ERROR(config_reader.status());
  }
  STASIS_RETURN_IF_ERROR(reader.status());
  return tty;
}

struct StartOptions {
  bool attach = false;
  bool interactive = false;
  std::string checkpoint;
  std::string checkpoint_dir;
};

Status Start(const ApiClient& client, const std::string& name, const StartOptions& options) {
  const Query query = {{"checkpoint", options.checkpoint},
                       {"checkpoint-dir", options.checkpoint_dir},
                       {"report", options.checkpoint.empty() ? "" : "1"}};
  const Request request = {"POST", Target({"containers", name, "start"}, query), Json()};
  // One that is attached has the terminal for its own output.
  const bool silent = options.checkpoint.empty() || options.attach || options.interactive;
  STASIS_ASSIGN_OR_RETURN(const Json answer, silent ? client.Call(request) : LongCall(client, request));
  std::string kept;
  if (answer.is_object()) JsonReader(answer).Get("FilesKept", &kept);
  if (kept.empty()) return absl::OkStatus();
  PrintError("the files of " + name + " that the restore replaced are kept as " + Shown(kept) +
             ": once it is stopped, 'stasis checkpoint undo " + name + "' brings them back");
  return absl::OkStatus();
}

StatusOr<int> StartAttached(const ApiClient& client, const std::string& name, const StartOptions& options) {
  STASIS_ASSIGN_OR_RETURN(bool tty, HasTerminal(client, name));
  STASIS_ASSIGN_OR_RETURN(HeldSignals signals, HeldSignals::Hold());
  return RunAttached(
      client, {name, tty, options.interactive, "next-exit", [&] { return Start(client, name, options); }},
      signals);
}

struct LogsOptions {
  std::string container;
  bool follow = false;
  bool timestamps = false;
  std::string since;
  std::string until;
  std::string tail;
};

Status ShowLogs(const ApiClient& client, const LogsOptions& options) {
  Query query = {{"stdout", "1"},
                 {"stderr", "1"},
                 {"follow", options.follow ? "1" : ""},
                 {"timestamps", options.timestamps ? "1" : ""},
                 {"tail", options.tail}};
  for (const auto& [name, text] : {std::pair("since", options.since), std::pair("until", options.until)}) {
    if (text.empty()) continue;
    STASIS_ASSIGN_OR_RETURN(std::string time, TimeParameter(text, absl::Now()));
    query.emplace_back(name, time);
  }
  STASIS_ASSIGN_OR_RETURN(bool tty, HasTerminal(client, options.container));
  FrameDemultiplexer frames;
  return client.Stream({"GET", Target({"containers", options.container, "logs"}, query), Json()},
                       [&](std::string_view bytes) {
                         if (tty) return WriteAll(STDOUT_FILENO, bytes);
                         return frames.Feed(bytes, [](bool is_error, std::string_view payload) {
                           return WriteAll(is_error ? STDERR_FILENO : STDOUT_FILENO, payload);
                         });
                       });
}

}  // namespace

void AddStart(CLI::App& app, Action* action) {
  CLI::App* start = app.add_subcommand("start", "Start containers, or bring them back from a checkpoint");
  auto options = std::make_shared<StartOptions>();
  auto names = AddNames(*start);
  start->add_flag("-a,--attach", options->attach, "Show its output and pass signals on");
  start->add_flag("-i,--interactive", options->interactive, "Also give it our stdin");
  start->add_option("--checkpoint", options->checkpoint, "Go on from this checkpoint");
  start->add_option("--checkpoint-dir", options->checkpoint_dir, "The checkpoint is in this directory");
  start->callback([=] {
    *action = [=](const ApiClient& client) {
      if (!options->checkpoint.empty() && names->size() != 1)
        return Report(InvalidArgument("you cannot restore multiple containers at once"));
      if (!options->attach && !options->interactive)
        return ForEach(*names, [&](const std::string& name) { return Start(client, name, *options); });
      if (names->size() != 1)
        return Report(InvalidArgument("you cannot start and attach multiple containers at once"));
      auto code = StartAttached(client, names->front(), *options);
      return code.ok() ? *code : Report(code.status());
    };
  });
}

void AddStop(CLI::App& app, Action* action) {
  CLI::App* stop = app.add_subcommand("stop", "Stop containers");
  auto names = AddNames(*stop);
  auto timeout = std::make_shared<std::string>();
  auto signal = std::make_shared<std::string>();
  stop->add_option("-t,--time,--timeout", *timeout, "Seconds until it is killed, -1 for never")
      ->check(CLI::Number);
  stop->add_option("-s,--signal", *signal, "Instead of the container's stop signal");
  stop->callback([=] {
    *action = [=](const ApiClient& client) {
      return ForEach(*names, [&](const std::string& name) {
        const Query query = {{"t", *timeout}, {"signal", *signal}};
        return client.Call({"POST", Target({"containers", name, "stop"}, query), Json()}).status();
      });
    };
  });
}

void AddKill(CLI::App& app, Action* action) {
  CLI::App* kill = app.add_subcommand("kill", "Kill containers");
  auto names = AddNames(*kill);
  auto signal = std::make_shared<std::string>();
  kill->add_option("-s,--signal", *signal, "Instead of SIGKILL");
  kill->callback([=] {
    *action = [=](const ApiClient& client) {
      return ForEach(*names, [&](const std::string& name) {
        return client.Call({"POST", Target({"containers", name, "kill"}, {{"signal", *signal}}), Json()})
            .status();
      });
    };
  });
}

void AddRemove(CLI::App& app, Action* action) {
  CLI::App* remove = app.add_subcommand("rm", "Remove containers, their checkpoints too");
  auto names = AddNames(*remove);
  auto force = std::make_shared<bool>(false);
  auto volumes = std::make_shared<bool>(false);
  remove->add_flag("-f,--force", *force, "Kill it where it runs");
  remove->add_flag("-v,--volumes", *volumes, "Its anonymous volumes too");
  remove->callback([=] {
    *action = [=](const ApiClient& client) {
      const Query query = {{"force", *force ? "1" : ""}, {"v", *volumes ? "1" : ""}};
      int code = 0;
      for (const std::string& name : *names) {
        Status status = client.Call({"DELETE", Target({"containers", name}, query), Json()}).status();
        if (status.ok()) {
          Print(name + "\n");
        } else if (Report(status); !(*force && absl::IsNotFound(status))) {  // docker's: said, but no failure
          code = kExitFailure;
        }
      }
      return code;
    };
  });
}

void AddWait(CLI::App& app, Action* action) {
  CLI::App* wait =
      app.add_subcommand("wait", "Wait until containers have stopped and print their exit codes");
  auto names = AddNames(*wait);
  wait->callback([=] {
    *action = [=](const ApiClient& client) {
      int result = 0;
      for (const std::string& name : *names) {
        auto answer = client.Call({"POST", Target({"containers", name, "wait"}), Json()});
        auto code = answer.ok() ? ExitCodeOfWait(*answer) : answer.status();
        if (code.ok()) {
          Print(std::to_string(*code) + "\n");
        } else {
          result = Report(code.status());
        }
      }
      return result;
    };
  });
}

void AddLogs(CLI::App& app, Action* action) {
  CLI::App* logs = app.add_subcommand("logs", "Show what a container wrote");
  auto options = std::make_shared<LogsOptions>();
  logs->add_option("container", options->container, "Id or name")->required();
  logs->add_flag("-f,--follow", options->follow, "Go on until it ends");
  logs->add_flag("-t,--timestamps", options->timestamps, "Say when each line was written");
  logs->add_option("--since", options->since, "From this time on: 10m, or RFC 3339");
  logs->add_option("--until", options->until, "Up to this time");
  logs->add_option("-n,--tail", options->tail, "Only so many last lines");
  logs->callback(
      [=] { *action = [=](const ApiClient& client) { return Report(ShowLogs(client, *options)); }; });
}

}  // namespace stasis::cli
