// stasis version.
#include <sys/utsname.h>

#include <memory>

#include "cli/commands.h"
#include "cli/table.h"
#include "cli/target.h"

namespace stasis::cli {
namespace {

constexpr char kApiVersion[] = "1.47";

std::string Line(const std::string& name, const std::string& value, const char* indent = " ") {
  std::string line = indent + name + ":";
  line.resize(std::max<size_t>(line.size() + 1, 20), ' ');
  return line + Shown(value) + "\n";
}

Json ClientVersion() {
  utsname system{};
  ::uname(&system);
  return {
      {"Version", STASIS_VERSION}, {"ApiVersion", kApiVersion}, {"Os", "linux"}, {"Arch", system.machine}};
}

std::string Text(const Json& version, const char* title) {
  std::string text = std::string(title) + ":\n";
  JsonReader reader(version);
  for (const char* field :
       {"Version", "ApiVersion", "MinAPIVersion", "GitCommit", "BuildTime", "Os", "Arch", "KernelVersion"}) {
    const Json* value = reader.Find(field);
    if (value && value->is_string() && *value != "") text += Line(field, value->get<std::string>());
  }
  const Json* components = reader.Find("Components");
  if (!components || !components->is_array()) return text;
  for (const Json& component : *components) {
    std::string name, number;
    JsonReader component_reader(component);
    component_reader.Get("Name", &name);
    component_reader.Get("Version", &number);
    if (!name.empty() && name != "Engine") text += Line(name, number);
  }
  return text;
}

int ShowVersion(const ApiClient& client, bool json) {
  auto server = client.Call({"GET", Target({"version"}), Json()});
  if (json) {
    Print(DumpJson({{"Client", ClientVersion()}, {"Server", server.ok() ? *server : Json()}}) + "\n");
  } else {
    Print(Text(ClientVersion(), "Client"));
    if (server.ok()) Print("\n" + Text(*server, "Server"));
  }
  return Report(server.status());
}

}  // namespace

void AddVersion(CLI::App& app, Action* action) {
  CLI::App* version = app.add_subcommand("version", "Show the versions of this command and of the daemon");
  auto format = std::make_shared<std::string>("table");
  AddFormat(*version, *format);
  version->callback(
      [=] { *action = [=](const ApiClient& client) { return ShowVersion(client, *format == "json"); }; });
}

}  // namespace stasis::cli
