#include "cli/commands.h"

#include <cstdio>
#include <utility>

namespace stasis::cli {

void Print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void PrintError(std::string_view text) {
  std::fflush(stdout);
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

int Report(const Status& status, int code) {
  if (status.ok()) return 0;
  PrintError(Message(status));
  return code;
}

CLI::Option* AddRepeated(CLI::App& app, const std::string& flags, std::vector<std::string>& values,
                         const std::string& description) {
  return app.add_option(flags, values, description)->allow_extra_args(false);
}

CLI::Option* AddFormat(CLI::App& app, std::string& format) {
  return app.add_option("--format", format, "table or json")->check(CLI::IsMember({"table", "json"}));
}

StatusOr<std::vector<std::string>> TrailingArguments(const CLI::App& command, size_t at_least) {
  std::vector<std::string> arguments = command.remaining();
  if (!arguments.empty() && arguments.front() == "--") {
    arguments.erase(arguments.begin());
  } else if (!arguments.empty() && arguments.front().size() > 1 && arguments.front().front() == '-') {
    return InvalidArgument("unknown flag: " + arguments.front());
  }
  if (arguments.size() < at_least) {
    return InvalidArgument("'stasis " + command.get_name() + "' requires at least " +
                           std::to_string(at_least) + (at_least == 1 ? " argument" : " arguments") +
                           "; see 'stasis " + command.get_name() + " --help'");
  }
  return arguments;
}

}  // namespace stasis::cli
