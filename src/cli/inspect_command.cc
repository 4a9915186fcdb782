#include "cli/inspect_command.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/checkpoint_report.h"
#include "cli/long_call.h"
#include "cli/table.h"
#include "cli/target.h"

namespace stasis::cli {
namespace {

struct InspectOptions {
  std::string container;
  std::string name;
  std::string directory;
  int pid = 0;
  bool files = false;
  bool sockets = false;
  bool mappings = false;
  bool changes = false;
  bool sizes = false;
  bool all = false;
  std::string format = "table";
};

// Of a checkpoint in a directory, also where no container is named.
std::string CheckpointTarget(const InspectOptions& options, const std::string& what, const Query& query) {
  if (options.container.empty()) return Target({"checkpoints", options.name, what}, query);
  return Target({"containers", options.container, "checkpoints", options.name, what}, query);
}

std::string Flag(bool on) { return on ? "1" : ""; }

StatusOr<std::vector<Json>> Processes(const ApiClient& client, const InspectOptions& options) {
  const Query query = {{"files", Flag(options.files)},
                       {"sockets", Flag(options.sockets)},
                       {"memory", Flag(options.mappings)},
                       {"pid", options.pid == 0 ? "" : std::to_string(options.pid)},
                       {"dir", options.directory}};
  std::string text;
  STASIS_RETURN_IF_ERROR(client.Stream({"GET", CheckpointTarget(options, "processes", query), Json()},
                                       [&](std::string_view bytes) {
                                         text += bytes;
                                         return absl::OkStatus();
                                       }));
  std::vector<Json> processes;
  for (size_t at = 0, end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
    STASIS_ASSIGN_OR_RETURN(processes.emplace_back(), ParseJson(std::string_view(text).substr(at, end - at)));
  }
  return processes;
}

// The id of the container whose own checkpoint it is; empty: it is one of a directory, where names are
// unique.
StatusOr<std::string> OwnerId(const ApiClient& client, const InspectOptions& options) {
  std::string id;
  if (!options.directory.empty()) return id;
  STASIS_ASSIGN_OR_RETURN(const Json container,
                          client.Call({"GET", Target({"containers", options.container, "json"}), Json()}));
  JsonReader reader(container, "container");
  reader.Get("Id", &id);
  STASIS_RETURN_IF_ERROR(reader.status());
  return id;
}

StatusOr<Json> UsageOf(const ApiClient& client, const InspectOptions& options) {
  STASIS_ASSIGN_OR_RETURN(
      const Json all,
      LongCall(client, {"GET", Target({"checkpoints", "usage"}, {{"dir", options.directory}}), Json()}));
  STASIS_ASSIGN_OR_RETURN(const std::string owner, OwnerId(client, options));
  if (!all.is_array()) return Internal("the daemon's list of checkpoints is no array");
  for (const Json& entry : all) {
    std::string damage;
    JsonReader reader(entry, "usage");
    const CheckpointLabel label = ReadCheckpointLabel(reader);
    reader.Get("Damage", &damage);
    STASIS_RETURN_IF_ERROR(reader.status());
    if (label.name != options.name || (!owner.empty() && label.container != owner)) continue;
    return damage.empty() ? StatusOr<Json>(entry)
                          : DataLoss("checkpoint " + label.name + " is damaged: " + Shown(damage));
  }
  return NotFound("the daemon's list of checkpoints does not have it");
}

// What was asked for besides the manifest. A part that cannot be had does not hide the others.
Status GetDetails(const ApiClient& client, const InspectOptions& options, const Json& manifest,
                  CheckpointDetails* details) {
  Status failure;
  const auto note = [&](const Status& status) { failure.Update(status); };
  details->pid = options.pid;
  if (options.files || options.sockets || options.mappings || options.pid != 0) {
    auto processes = Processes(client, options);
    note(processes.status());
    if (processes.ok()) details->processes = *std::move(processes);
  }
  if (options.sizes) {
    auto usage = UsageOf(client, options);
    note(usage.status());
    if (usage.ok()) details->usage = *std::move(usage);
  }
  if (!options.changes) return failure;
  const Json* layer = JsonReader(manifest).Find("layer");
  if (layer != nullptr && layer->is_null()) return failure;  // and it is shown that there is none
  const Query query = {{"since-image", "1"}, {"dir", options.directory}};
  auto changes = client.Call({"GET", CheckpointTarget(options, "diff", query), Json()});
  note(changes.status());
  if (changes.ok()) details->changes = *std::move(changes);
  return failure;
}

Status Inspect(const ApiClient& client, InspectOptions options) {
  if (options.all) {
    options.files = options.sockets = options.mappings = options.changes = options.sizes = true;
  }
  STASIS_ASSIGN_OR_RETURN(
      Json manifest,
      client.Call({"GET", CheckpointTarget(options, "json", {{"dir", options.directory}}), Json()}));
  CheckpointDetails details;
  Status failure = GetDetails(client, options, manifest, &details);
  if (options.format == "json") {
    if (!details.processes.empty()) manifest["process_details"] = std::move(details.processes);
    if (details.usage) manifest["usage"] = *std::move(details.usage);
    if (details.changes) manifest["changes"] = *std::move(details.changes);
    Print(DumpJson(manifest) + "\n");
    return failure;
  }
  STASIS_ASSIGN_OR_RETURN(const std::string report, CheckpointReport(manifest, details));
  Print(report);
  return failure;
}

}  // namespace

void AddCheckpointInspect(CLI::App& group, Action* action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = group.add_subcommand("inspect", "Show what is in a checkpoint");
  command->add_option("container", options->container, "Id or name; may be left out with --checkpoint-dir")
      ->required();
  command->add_option("checkpoint", options->name, "The checkpoint's name");
  command->add_option("--checkpoint-dir", options->directory,
                      "The checkpoint is in this directory, as DIR/NAME");
  command->add_flag("--files", options->files, "The open files of each process");
  command->add_flag("--sockets", options->sockets, "The sockets of each process");
  command->add_flag("--mappings", options->mappings, "The memory of each process, mapping by mapping");
  command->add_flag("--changes", options->changes, "The container's files that differ from its image's");
  command->add_flag("--sizes", options->sizes,
                    "Its disk space, and what its removal would free; looks at all checkpoints");
  command->add_flag("--all", options->all, "All of these");
  command->add_option("--pid", options->pid, "Of the processes only this one")->check(CLI::PositiveNumber);
  AddFormat(*command, options->format);
  command->callback([=] {
    *action = [=](const ApiClient& client) {
      if (options->name.empty() && options->directory.empty())
        return Report(InvalidArgument("'stasis checkpoint inspect' requires a container and a checkpoint"));
      if (options->name.empty()) options->name.swap(options->container);
      return Report(Inspect(client, *options));
    };
  });
}

}  // namespace stasis::cli
