// stasis checkpoint create, rm, diff, undo.
#include <memory>
#include <utility>

#include "cli/archive_commands.h"
#include "cli/checkpoint_report.h"
#include "cli/checkpoint_store_commands.h"
#include "cli/commands.h"
#include "cli/inspect_command.h"
#include "cli/long_call.h"
#include "cli/target.h"

namespace stasis::cli {
namespace {

struct CheckpointOptions {
  std::string container;
  std::string name;
  std::string other;
  std::string directory;
  std::string freeze;
  bool leave_running = false;
  std::string format = "table";
};

Status Create(const ApiClient& client, const CheckpointOptions& options) {
  const Json body = {{"CheckpointID", options.name},
                     {"CheckpointDir", options.directory},
                     {"Exit", !options.leave_running},
                     {"Freeze", options.freeze}};
  STASIS_ASSIGN_OR_RETURN(
      const Json answer,
      LongCall(client, {"POST", Target({"containers", options.container, "checkpoints"}), body}));
  std::vector<std::string> warnings;
  JsonReader reader(answer, "answer");
  reader.Get("Warnings", &warnings);
  STASIS_RETURN_IF_ERROR(reader.status());
  for (const std::string& warning : warnings) PrintError("WARNING: " + warning);
  Print(options.name + "\n");
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

Status Undo(const ApiClient& client, const CheckpointOptions& options) {
  STASIS_ASSIGN_OR_RETURN(
      const Json answer,
      client.Call({"POST", Target({"containers", options.container, "undo"}, {{"checkpoint", options.name}}),
                   Json()}));
  std::string restored, kept;
  JsonReader reader(answer, "undo");
  reader.Get("Restored", &restored);
  reader.Get("Kept", &kept);
  STASIS_RETURN_IF_ERROR(reader.status());
  Print(options.container + "\n");
  std::string text = options.container + " has the files again that were kept as " + restored;
  if (!kept.empty())
    text += "; those it had until now are kept: 'stasis checkpoint undo " + options.container +
            "' brings them back";
  PrintError(text);
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

void AddUndo(CLI::App& group, const std::shared_ptr<CheckpointOptions>& options, Action* action) {
  CLI::App* undo = group.add_subcommand(
      "undo",
      "Give a stopped container the files back that its last restore replaced. What it has now is kept in "
      "their place: a second undo goes forth again");
  undo->add_option("container", options->container, "Id or name")->required();
  undo->add_option("checkpoint", options->name,
                   "Those kept as this, not the last ('stasis checkpoint ls -a')");
  undo->callback([=] { *action = [=](const ApiClient& client) { return Report(Undo(client, *options)); }; });
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
  AddUndo(*group, options, action);
  AddCheckpointStoreCommands(*group, action);
  AddCheckpointArchiveCommands(*group, action);
}

}  // namespace stasis::cli
