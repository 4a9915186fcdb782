// stasis checkpoint create, ls, rm, diff, and of whole stores verify, gc, du.
#include <memory>
#include <utility>

#include "cli/checkpoint_report.h"
#include "cli/commands.h"
#include "cli/inspect_command.h"
#include "cli/long_call.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/units.h"

namespace stasis::cli {
namespace {

struct CheckpointOptions {
  std::string container;
  std::string name;
  std::string other;
  std::string directory;
  std::string freeze;
  bool leave_running = false;
  bool all = false;
  std::string format = "table";
};

Status Create(const ApiClient& client, const CheckpointOptions& options) {
  const Json body = {{"CheckpointID", options.name},
                     {"CheckpointDir", options.directory},
                     {"Exit", !options.leave_running},
                     {"Freeze", options.freeze}};
  STASIS_RETURN_IF_ERROR(
      LongCall(client, {"POST", Target({"containers", options.container, "checkpoints"}), body}).status());
  Print(options.name + "\n");
  return absl::OkStatus();
}

StatusOr<std::vector<std::string>> Names(const ApiClient& client, const std::string& container,
                                         const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(
      Json list,
      client.Call({"GET", Target({"containers", container, "checkpoints"}, {{"dir", directory}}), Json()}));
  std::vector<std::string> names;
  if (!list.is_array()) return Internal("the daemon's list of checkpoints is no array");
  for (const Json& entry : list) {
    JsonReader reader(entry, "checkpoint");
    reader.Get("Name", &names.emplace_back());
    STASIS_RETURN_IF_ERROR(reader.status());
  }
  return names;
}

StatusOr<Json> Inspect(const ApiClient& client, const std::string& container, const std::string& name,
                       const std::string& directory) {
  return client.Call(
      {"GET", Target({"containers", container, "checkpoints", name, "json"}, {{"dir", directory}}), Json()});
}

Status ListOfOne(const ApiClient& client, const CheckpointOptions& options) {
  STASIS_ASSIGN_OR_RETURN(std::vector<std::string> names,
                          Names(client, options.container, options.directory));
  Table table({"CHECKPOINT NAME"});
  std::string lines;
  for (const std::string& name : names) {
    table.AddRow({name});
    lines += DumpJson({{"Name", name}}) + "\n";
  }
  Print(options.format == "json" ? lines : table.Text());
  return absl::OkStatus();
}

// The name of a container as the list of containers has it.
std::string NameOf(const Json& container) {
  std::vector<std::string> names;
  std::string id;
  JsonReader reader(container);
  reader.Get("Id", &id);
  reader.Get("Names", &names);
  return names.empty() || names.front().empty() ? id : names.front().substr(1);
}

StatusOr<std::vector<CheckpointLine>> CheckpointsOf(const ApiClient& client, const std::string& container) {
  STASIS_ASSIGN_OR_RETURN(std::vector<std::string> names, Names(client, container, ""));
  std::vector<CheckpointLine> lines;
  for (const std::string& name : names) {
    auto manifest = Inspect(client, container, name, "");
    if (absl::IsNotFound(manifest.status())) continue;  // deleted in the meantime
    STASIS_RETURN_IF_ERROR(manifest.status());
    STASIS_ASSIGN_OR_RETURN(CheckpointLine line, ReadCheckpointLine(container, *manifest));
    line.name = name;
    lines.push_back(std::move(line));
  }
  return lines;
}

Status ListAll(const ApiClient& client, const CheckpointOptions& options) {
  STASIS_ASSIGN_OR_RETURN(Json containers,
                          client.Call({"GET", Target({"containers", "json"}, {{"all", "1"}}), Json()}));
  if (!containers.is_array()) return Internal("the daemon's list of containers is no array");
  Table table({"CONTAINER", "CHECKPOINT", "CREATED", "SIZE", "NEW", "FROZEN"});
  std::string lines;
  for (const Json& container : containers) {
    auto checkpoints = CheckpointsOf(client, NameOf(container));
    if (absl::IsNotFound(checkpoints.status())) continue;  // removed in the meantime
    STASIS_RETURN_IF_ERROR(checkpoints.status());
    for (const CheckpointLine& line : *checkpoints) {
      table.AddRow({line.container, line.name, line.created, HumanSize(line.bytes),
                    HumanSize(line.stored_bytes), HumanMicroseconds(line.frozen_us)});
      lines += DumpJson({{"Container", line.container},
                         {"Checkpoint", line.name},
                         {"Created", line.created},
                         {"Bytes", line.bytes},
                         {"StoredBytes", line.stored_bytes},
                         {"FrozenMicroseconds", line.frozen_us}}) +
               "\n";
    }
  }
  Print(options.format == "json" ? lines : table.Text());
  return absl::OkStatus();
}

Status Diff(const ApiClient& client, const CheckpointOptions& options) {
  const Query query = {{"to", options.other}, {"dir", options.directory}};
  STASIS_ASSIGN_OR_RETURN(
      Json changes,
      client.Call({"GET",
                   Target({"containers", options.container, "checkpoints", options.name, "diff"}, query),
                   Json()}));
  STASIS_ASSIGN_OR_RETURN(std::string report, ChangesReport(changes));
  std::string lines;
  for (const Json& change : changes) lines += DumpJson(change) + "\n";
  Print(options.format == "json" ? lines : report);
  return absl::OkStatus();
}

Status Remove(const ApiClient& client, const CheckpointOptions& options) {
  const Query query = {{"dir", options.directory}};
  return client
      .Call({"DELETE", Target({"containers", options.container, "checkpoints", options.name}, query), Json()})
      .status();
}

// ---- all checkpoints of one store

Status Verify(const ApiClient& client, const CheckpointOptions& options) {
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
    std::string container, name, reason;
    JsonReader one(entry, "damaged");
    one.Get("Container", &container);
    one.Get("Name", &name);
    one.Get("Reason", &reason);
    STASIS_RETURN_IF_ERROR(one.status());
    text += "checkpoint " + Shown(name) + (container.empty() ? "" : " of " + Shown(container.substr(0, 12))) +
            " cannot be restored: " + Shown(reason) + "\n";
  }
  text += "Read " + HumanSize(bytes) + ", " + std::to_string(checkpoints) +
          (checkpoints == 1 ? " checkpoint" : " checkpoints") + "\n";
  if (options.format != "json") Print(text);
  if (damage.empty() && damaged->empty()) return absl::OkStatus();
  return DataLoss("damage was found");
}

Status CollectGarbage(const ApiClient& client, const CheckpointOptions& options) {
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

Status DiskUsage(const ApiClient& client, const CheckpointOptions& options) {
  STASIS_ASSIGN_OR_RETURN(
      Json answer,
      LongCall(client, {"GET", Target({"checkpoints", "usage"}, {{"dir", options.directory}}), Json()}));
  if (!answer.is_array()) return Internal("the daemon's list of checkpoints is no array");
  Table table({"CONTAINER", "CHECKPOINT", "SIZE", "STORED", "FREED BY RM"});
  std::string lines;
  for (const Json& entry : answer) {
    std::string container, name;
    uint64_t bytes = 0, stored = 0, own = 0;
    JsonReader reader(entry, "usage");
    reader.Get("Container", &container);
    reader.Get("Name", &name);
    reader.Get("Bytes", &bytes);
    reader.Get("StoredBytes", &stored);
    reader.Get("OwnBytes", &own);
    STASIS_RETURN_IF_ERROR(reader.status());
    table.AddRow({container.substr(0, 12), name, HumanSize(bytes), HumanSize(stored), HumanSize(own)});
    lines += DumpJson(entry) + "\n";
  }
  Print(options.format == "json" ? lines : table.Text());
  return absl::OkStatus();
}

using Handler = Status (*)(const ApiClient&, const CheckpointOptions&);

// A subcommand of "CONTAINER CHECKPOINT" form.
CLI::App* AddOne(CLI::App& group, const std::string& name, const std::string& description,
                 const std::shared_ptr<CheckpointOptions>& options, Handler handler, Action* action) {
  CLI::App* command = group.add_subcommand(name, description);
  command->add_option("container", options->container, "Id or name")->required();
  command->add_option("checkpoint", options->name, "The checkpoint's name")->required();
  command->add_option("--checkpoint-dir", options->directory,
                      "The checkpoint is in this directory, as DIR/NAME");
  command->callback(
      [=] { *action = [=](const ApiClient& client) { return Report(handler(client, *options)); }; });
  return command;
}

void AddLs(CLI::App& group, const std::shared_ptr<CheckpointOptions>& options, Action* action) {
  CLI::App* ls = group.add_subcommand("ls", "List the checkpoints of a container, or with -a of all");
  ls->add_option("container", options->container, "Id or name");
  ls->add_option("--checkpoint-dir", options->directory, "Those in this directory");
  ls->add_flag(
      "-a,--all", options->all,
      "Of all containers, with time, size, what of it was new in the store, and how long each stood still");
  AddFormat(*ls, options->format);
  ls->callback([=] {
    *action = [=](const ApiClient& client) {
      if (options->all) return Report(ListAll(client, *options));
      if (options->container.empty())
        return Report(InvalidArgument("'stasis checkpoint ls' requires a container, or -a"));
      return Report(ListOfOne(client, *options));
    };
  });
}

void AddOfStore(CLI::App& group, const std::string& name, const std::string& description,
                const std::shared_ptr<CheckpointOptions>& options, Handler handler, Action* action) {
  CLI::App* command = group.add_subcommand(name, description);
  command->add_option("--checkpoint-dir", options->directory,
                      "Those in this directory, not the containers' own");
  if (handler != CollectGarbage) AddFormat(*command, options->format);
  command->callback(
      [=] { *action = [=](const ApiClient& client) { return Report(handler(client, *options)); }; });
}

}  // namespace

void AddCheckpoint(CLI::App& app, Action* action) {
  CLI::App* group = app.add_subcommand("checkpoint", "Make, list, show, check and remove checkpoints");
  group->require_subcommand(1);
  auto options = std::make_shared<CheckpointOptions>();
  CLI::App* create =
      AddOne(*group, "create", "Checkpoint a running container and end it", options, Create, action);
  create->add_flag("--leave-running", options->leave_running, "Let it run on");
  create
      ->add_option("--freeze", options->freeze,
                   "cow: memory is saved once the container runs on; plain: while it stands still")
      ->check(CLI::IsMember({"cow", "plain"}));
  AddLs(*group, options, action);
  AddOne(*group, "rm", "Remove a checkpoint", options, Remove, action);
  AddCheckpointInspect(*group, action);
  CLI::App* diff =
      AddOne(*group, "diff",
             "List the files that differ between a checkpoint and now, or another checkpoint: A "
             "added, C changed, D deleted. Only those of the container's own layer, not of volumes",
             options, Diff, action);
  diff->add_option("other", options->other,
                   "Another checkpoint; without it, the container's files as they are");
  AddFormat(*diff, options->format);
  AddOfStore(*group, "verify", "Read all checkpoints, and tell which of them are damaged", options, Verify,
             action);
  AddOfStore(*group, "du", "Show the disk space of each checkpoint, and what its removal would free", options,
             DiskUsage, action);
  AddOfStore(*group, "gc", "Give back the space of removed checkpoints now", options, CollectGarbage, action);
}

}  // namespace stasis::cli
