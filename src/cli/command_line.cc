#include "cli/command_line.h"

#include <cstdlib>
#include <string>

#include "cli/commands.h"

namespace stasis::cli {
namespace {

std::string DefaultHost() {
  const char* host = std::getenv("STASIS_HOST");
  return host && *host ? host : kDefaultHost;
}

void AddCommands(CLI::App& app, Action* action) {
  AddRun(app, action);
  AddCreate(app, action);
  AddStart(app, action);
  AddStop(app, action);
  AddKill(app, action);
  AddWait(app, action);
  AddPs(app, action);
  AddLogs(app, action);
  AddExec(app, action);
  AddRemove(app, action);
  AddImages(app, action);
  AddImport(app, action);
  AddLoad(app, action);
  AddCheckpoint(app, action);
  AddVersion(app, action);
  AddDoctor(app, action);
}

// What is wrong with the command line, as docker's codes: a flag 125, missing arguments 1.
int ReportParseError(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);  // --help
  const std::vector<std::string> unknown = app.remaining();
  std::string what = error.what();
  if (app.get_subcommands().empty() && !unknown.empty()) what = "unknown command or flag: " + unknown.front();
  PrintError("stasis: " + what + "\nRun 'stasis --help' for more information");
  return dynamic_cast<const CLI::RequiredError*>(&error) ? kExitFailure : kExitEngineError;
}

}  // namespace

int RunCommandLine(int argc, char** argv) {
  CLI::App app("Runs containers that can be checkpointed and brought back", "stasis");
  Action action;
  std::string host = DefaultHost();
  // -h is the host name of `run`, as docker's.
  app.set_help_flag("--help", "Say how it is used");
  app.set_version_flag("-v,--version", "stasis version " STASIS_VERSION);
  app.add_option("-H,--host", host, "The daemon's socket, unix:///PATH; else STASIS_HOST is taken");
  app.require_subcommand(1);
  AddCommands(app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportParseError(app, error);
  }
  auto client = ApiClient::Create(host);
  if (!client.ok()) return Report(client.status(), kExitEngineError);
  return action(*client);
}

}  // namespace stasis::cli
