#include "cli/checkpoint_store_commands.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/checkpoint_report.h"
#include "cli/long_call.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/units.h"

namespace stasis::cli {
namespace {

struct StoreOptions {
  std::string container;
  std::string directory;
  bool all = false;
  std::string format = "table";
};

// "checkpoint cp1 of web"
std::string CheckpointText(const CheckpointLabel& label) {
  const std::string owner = label.owner();
  return "checkpoint " + Shown(label.name) + (owner.empty() ? "" : " of " + Shown(owner));
}

Status ListOfOne(const ApiClient& client, const StoreOptions& options) {
  STASIS_ASSIGN_OR_RETURN(
      const Json list,
      client.Call({"GET",
                   Target({"containers", options.container, "checkpoints"}, {{"dir", options.directory}}),
                   Json()}));
  if (!list.is_array()) return Internal("the daemon's list of checkpoints is no array");
  Table table({"CHECKPOINT NAME"});
  std::string lines;
  for (const Json& entry : list) {
    std::string name;
    JsonReader reader(entry, "checkpoint");
    reader.Get("Name", &name);
    STASIS_RETURN_IF_ERROR(reader.status());
    table.AddRow({name});
    lines += DumpJson({{"Name", name}}) + "\n";
  }
  Print(options.format == "json" ? lines : table.Text());
  return absl::OkStatus();
}

// Also those that cannot be read; the status is the first one's damage.
Status ListAll(const ApiClient& client, const StoreOptions& options) {
  STASIS_ASSIGN_OR_RETURN(
      const Json list, client.Call({"GET", Target({"checkpoints"}, {{"dir", options.directory}}), Json()}));
  if (!list.is_array()) return Internal("the daemon's list of checkpoints is no array");
  Table table({"CONTAINER", "CHECKPOINT", "IMAGE", "CREATED", "SIZE", "NEW", "FROZEN"});
  std::string lines;
  Status damaged;
  for (const Json& entry : list) {
    STASIS_ASSIGN_OR_RETURN(const CheckpointLine line, ReadCheckpointLine(entry));
    const std::string owner = line.label.owner();
    if (!line.damage.empty())
      damaged.Update(DataLoss(CheckpointText(line.label) + ": " + Shown(line.damage)));
    const std::string frozen = !line.damage.empty() ? "damaged"
                               : line.files_only    ? "files only"
                                                    : HumanMicroseconds(line.frozen_us);
    table.AddRow({owner, line.label.name, line.image, line.created, HumanSize(line.bytes),
                  HumanSize(line.stored_bytes), frozen});
    lines += DumpJson({{"Container", owner},
                       {"ContainerID", line.label.container},
                       {"Checkpoint", line.label.name},
                       {"FilesOnly", line.files_only},
                       {"Image", line.image},
                       {"Created", line.created},
                       {"Bytes", line.bytes},
                       {"StoredBytes", line.stored_bytes},
                       {"FrozenMicroseconds", line.frozen_us},
                       {"Damage", line.damage}}) +
             "\n";
  }
  Print(options.format == "json" ? lines : table.Text());
  return damaged;
}

Status Verify(const ApiClient& client, const StoreOptions& options) {
  STASIS_ASSIGN_OR_RETURN(
      Json answer,
      LongCall(client, {"POST", Target({"checkpoints", "verify"}, {{"dir", options.directory}}), Json()}));
  if (options.format == "json") Print(DumpJson(answer) + "\n");
  uint64_t bytes = 0;
  uint64_t checkpoints = 0;
  std::vector<std::string> damage;
  JsonReader reader(answer, "verification");
  reader.Get("Bytes", &bytes);
  reader.Get("Checkpoints", &checkpoints);
  reader.Get("Damage", &damage);
  const Json* damaged = reader.Find("Damaged");
  STASIS_RETURN_IF_ERROR(reader.status());
  if (damaged == nullptr || !damaged->is_array()) return Internal("the daemon's answer is no verification");
  std::string text;
  for (const std::string& one : damage) text += Shown(one) + "\n";
  for (const Json& entry : *damaged) {
    std::string reason;
    JsonReader one(entry, "damaged");
    const CheckpointLabel label = ReadCheckpointLabel(one);
    one.Get("Reason", &reason);
    STASIS_RETURN_IF_ERROR(one.status());
    text += CheckpointText(label) + " cannot be restored: " + Shown(reason) + "\n";
  }
  text += "Read " + HumanSize(bytes) + ", " + std::to_string(checkpoints) +
          (checkpoints == 1 ? " checkpoint" : " checkpoints") + "\n";
  if (options.format != "json") Print(text);
  if (damage.empty() && damaged->empty()) return absl::OkStatus();
  return DataLoss("damage was found");
}

Status CollectGarbage(const ApiClient& client, const StoreOptions& options) {
  STASIS_ASSIGN_OR_RETURN(
      Json answer,
      LongCall(client, {"POST", Target({"checkpoints", "prune"}, {{"dir", options.directory}}), Json()}));
  uint64_t bytes = 0;
  JsonReader reader(answer, "prune");
  reader.Get("SpaceReclaimed", &bytes);
  STASIS_RETURN_IF_ERROR(reader.status());
  Print("Total reclaimed space: " + HumanSize(bytes) + "\n");
  return absl::OkStatus();
}

Status DiskUsage(const ApiClient& client, const StoreOptions& options) {
  STASIS_ASSIGN_OR_RETURN(
      Json answer,
      LongCall(client, {"GET", Target({"checkpoints", "usage"}, {{"dir", options.directory}}), Json()}));
  if (!answer.is_array()) return Internal("the daemon's list of checkpoints is no array");
  Table table({"CONTAINER", "CHECKPOINT", "SIZE", "STORED", "FREED BY RM"});
  std::string lines;
  Status damaged;
  for (const Json& entry : answer) {
    std::string damage;
    uint64_t bytes = 0, stored = 0, own = 0;
    JsonReader reader(entry, "usage");
    const CheckpointLabel label = ReadCheckpointLabel(reader);
    reader.Get("Damage", &damage);
    reader.Get("Bytes", &bytes);
    reader.Get("StoredBytes", &stored);
    reader.Get("OwnBytes", &own);
    STASIS_RETURN_IF_ERROR(reader.status());
    if (!damage.empty()) damaged.Update(DataLoss(CheckpointText(label) + " is damaged: " + Shown(damage)));
    table.AddRow({label.owner(), label.name, HumanSize(bytes), HumanSize(stored), HumanSize(own)});
    lines += DumpJson(entry) + "\n";
  }
  Print(options.format == "json" ? lines : table.Text());
  return damaged;
}

void AddLs(CLI::App& group, const std::shared_ptr<StoreOptions>& options, Action* action) {
  CLI::App* ls = group.add_subcommand(
      "ls",
      "List the checkpoints of a container, with -a of all, or with --checkpoint-dir alone those there");
  ls->add_option("container", options->container, "Id or name");
  ls->add_option("--checkpoint-dir", options->directory, "Those in this directory");
  ls->add_flag(
      "-a,--all", options->all,
      "Of all containers, with image, time, size, what of it was new in the store, and how long each stood "
      "still; also the files that restores replaced ('files only', see undo)");
  AddFormat(*ls, options->format);
  ls->callback([=] {
    *action = [=](const ApiClient& client) {
      if (options->container.empty() && !options->all && options->directory.empty())
        return Report(
            InvalidArgument("'stasis checkpoint ls' requires a container, -a, or --checkpoint-dir"));
      if (options->container.empty()) return Report(ListAll(client, *options));
      if (options->all) return Report(InvalidArgument("want a container or -a, not both"));
      return Report(ListOfOne(client, *options));
    };
  });
}

using Handler = Status (*)(const ApiClient&, const StoreOptions&);

void AddOfStore(CLI::App& group, const std::string& name, const std::string& description,
                const std::shared_ptr<StoreOptions>& options, Handler handler, Action* action) {
  CLI::App* command = group.add_subcommand(name, description);
  command->add_option("--checkpoint-dir", options->directory,
                      "Those in this directory, not the containers' own");
  if (handler != CollectGarbage) AddFormat(*command, options->format);
  command->callback(
      [=] { *action = [=](const ApiClient& client) { return Report(handler(client, *options)); }; });
}

}  // namespace

void AddCheckpointStoreCommands(CLI::App& group, Action* action) {
  auto options = std::make_shared<StoreOptions>();
  AddLs(group, options, action);
  AddOfStore(group, "verify", "Read all checkpoints, and tell which of them are damaged", options, Verify,
             action);
  AddOfStore(group, "du", "Show the disk space of each checkpoint, and what its removal would free", options,
             DiskUsage, action);
  AddOfStore(group, "gc", "Give back the space of removed checkpoints now", options, CollectGarbage, action);
}

}  // namespace stasis::cli
