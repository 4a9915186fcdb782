// The commands of `stasis`. Each Add function describes one to CLI11 and leaves in *action what to do when
// the command line names it; the action gives the program's exit code: docker's.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "base/status.h"
#include "cli/api_client.h"

namespace stasis::cli {

// docker's exit codes of its own failures, as against the container's.
inline constexpr int kExitFailure = 1;
inline constexpr int kExitEngineError = 125;
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;

using Action = std::function<int(const ApiClient& client)>;

void AddRun(CLI::App& app, Action* action);
void AddCreate(CLI::App& app, Action* action);
void AddExec(CLI::App& app, Action* action);
void AddStart(CLI::App& app, Action* action);
void AddStop(CLI::App& app, Action* action);
void AddKill(CLI::App& app, Action* action);
void AddRemove(CLI::App& app, Action* action);
void AddWait(CLI::App& app, Action* action);
void AddPs(CLI::App& app, Action* action);
void AddLogs(CLI::App& app, Action* action);
void AddImages(CLI::App& app, Action* action);
void AddImport(CLI::App& app, Action* action);
void AddLoad(CLI::App& app, Action* action);
void AddCheckpoint(CLI::App& app, Action* action);
void AddVersion(CLI::App& app, Action* action);
void AddDoctor(CLI::App& app, Action* action);

// ---- what the commands share ----

// Writes to stdout.
void Print(std::string_view text);
// "TEXT\n" on stderr.
void PrintError(std::string_view text);
// Prints the error, if it is one. Returns 0 or `code`.
int Report(const Status& status, int code = kExitFailure);

// An option that may be given many times and takes one value each time, whatever it looks like.
CLI::Option* AddRepeated(CLI::App& app, const std::string& flags, std::vector<std::string>& values,
                         const std::string& description);
// --format with the values that it may have.
CLI::Option* AddFormat(CLI::App& app, std::string& format);

// What stands behind a command's options, for commands of the form "OPTIONS NAME ANYTHING...": from the first
// argument that is no option. kInvalidArgument "unknown flag: --x"; "requires at least N arguments".
StatusOr<std::vector<std::string>> TrailingArguments(const CLI::App& command, size_t at_least);

}  // namespace stasis::cli
