#include "cli/checkpoint_report.h"

#include <cstdio>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/process_report.h"
#include "cli/table.h"
#include "cli/tree.h"
#include "cli/units.h"
#include "manifest/checkpoint_owner.h"

namespace stasis::cli {
namespace {

constexpr uint64_t kPage = 4096;
constexpr size_t kShortId = 12;

struct Process {
  int pid = 0;
  int parent = 0;
  std::string name;
  std::string command;
  int threads = 0;
  uint64_t resident_bytes = 0;
};

struct Summary {
  std::string name, container_id, created, criu_version, kernel, architecture, network_namespace, freeze,
      freeze_reason, engine_record;
  uint64_t bytes = 0, stored_bytes = 0, layer_files = 0, layer_bytes = 0, total_us = 0;
  uint64_t frozen_us = 0, thaws = 0, prepare_us = 0, dump_us = 0, files_us = 0, copy_us = 0, memory_us = 0;
  bool has_layer = false;
  bool exit = false, paused = false;
  std::vector<std::string> exec_processes, warnings;
  std::vector<Process> processes;
};

StatusOr<std::vector<Process>> ReadProcesses(const Json* json) {
  std::vector<Process> processes;
  if (json == nullptr) return processes;
  if (!json->is_array()) return InvalidArgument("processes: want an array");
  for (const Json& entry : *json) {
    Process process;
    JsonReader reader(entry, "processes");
    reader.Get("pid", &process.pid);
    reader.Get("parent", &process.parent);
    reader.Get("name", &process.name);
    reader.Get("command", &process.command);
    reader.Get("threads", &process.threads);
    reader.Get("resident_bytes", &process.resident_bytes);
    STASIS_RETURN_IF_ERROR(reader.status());
    processes.push_back(std::move(process));
  }
  return processes;
}

StatusOr<Summary> ReadSummary(const Json& manifest) {
  Summary summary;
  JsonReader reader(manifest, "manifest");
  reader.Get("name", &summary.name);
  reader.Get("container_id", &summary.container_id);
  reader.Get("created", &summary.created);
  reader.Get("criu_version", &summary.criu_version);
  reader.Get("kernel", &summary.kernel);
  reader.Get("architecture", &summary.architecture);
  reader.Get("network_namespace", &summary.network_namespace);
  reader.Get("bytes", &summary.bytes);
  reader.Get("stored_bytes", &summary.stored_bytes);
  reader.Get("layer_files", &summary.layer_files);
  reader.Get("layer_bytes", &summary.layer_bytes);
  reader.Get("total_us", &summary.total_us);
  if (const Json* layer = reader.Find("layer")) summary.has_layer = !layer->is_null();
  reader.Get("frozen_us", &summary.frozen_us);
  reader.Get("thaws", &summary.thaws);
  reader.Get("prepare_us", &summary.prepare_us);
  reader.Get("dump_us", &summary.dump_us);
  reader.Get("files_us", &summary.files_us);
  reader.Get("copy_us", &summary.copy_us);
  reader.Get("memory_us", &summary.memory_us);
  reader.Get("freeze", &summary.freeze);
  reader.Get("freeze_reason", &summary.freeze_reason);
  reader.Get("engine_record", &summary.engine_record);
  reader.Get("exit", &summary.exit);
  reader.Get("paused", &summary.paused);
  reader.Get("exec_processes", &summary.exec_processes);
  reader.Get("warnings", &summary.warnings);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_ASSIGN_OR_RETURN(summary.processes, ReadProcesses(reader.Find("processes")));
  return summary;
}

std::string ProcessLabel(const Process& process) {
  std::string label = "[" + std::to_string(process.pid) + "]  " + process.name;
  if (!process.command.empty() && process.command != process.name) label += "  " + process.command;
  label += " (" + HumanSize(process.resident_bytes);
  if (process.threads > 1) label += ", " + std::to_string(process.threads) + " threads";
  return label + ")";
}

class ProcessForest {
 public:
  // `branches`: what is drawn below each, by pid.
  ProcessForest(const std::vector<Process>& processes, std::map<int, std::vector<TreeNode>> branches)
      : branches_(std::move(branches)) {
    for (const Process& process : processes) by_pid_.emplace(process.pid, &process);
    for (const Process& process : processes) children_[process.parent].push_back(&process);
  }

  std::vector<TreeNode> Trees() {
    std::vector<TreeNode> trees;
    for (const auto& [pid, process] : by_pid_) {
      if (!by_pid_.contains(process->parent)) trees.push_back(Tree(*process, 0));
    }
    // Those whose parents lead in a circle.
    for (const auto& [pid, process] : by_pid_) {
      if (!drawn_.contains(pid)) trees.push_back(Tree(*process, 0));
    }
    return trees;
  }

 private:
  TreeNode Tree(const Process& process, int depth) {
    drawn_.insert(process.pid);
    TreeNode node{ProcessLabel(process), std::move(branches_[process.pid])};
    if (depth > kMaxTreeDepth) return node;  // not drawn anyway
    for (const Process* child : children_[process.pid]) {
      if (!drawn_.contains(child->pid)) node.children.push_back(Tree(*child, depth + 1));
    }
    return node;
  }

  std::map<int, const Process*> by_pid_;
  std::map<int, std::vector<const Process*>> children_;
  std::map<int, std::vector<TreeNode>> branches_;
  std::set<int> drawn_;
};

// The manifest's processes, and those that came between its look at them and the freeze.
StatusOr<TreeNode> ProcessTree(std::vector<Process> processes, const CheckpointDetails& details) {
  std::map<int, std::vector<TreeNode>> branches;
  std::set<int> known;
  for (const Process& process : processes) known.insert(process.pid);
  for (const Json& json : details.processes) {
    Process process;
    JsonReader reader(json, "process");
    reader.Get("pid", &process.pid);
    reader.Get("parent", &process.parent);
    reader.Get("name", &process.name);
    reader.Get("threads", &process.threads);
    STASIS_RETURN_IF_ERROR(reader.status());
    STASIS_ASSIGN_OR_RETURN(branches[process.pid], ProcessBranches(json));
    if (known.insert(process.pid).second) processes.push_back(std::move(process));
  }
  if (details.pid != 0) std::erase_if(processes, [&](const Process& one) { return one.pid != details.pid; });
  return TreeNode{"Process tree", ProcessForest(processes, std::move(branches)).Trees()};
}

// What it takes, alone and with others.
StatusOr<TreeNode> Size(const Summary& summary, const CheckpointDetails& details) {
  TreeNode size{"Size: " + HumanSize(summary.bytes) + ", new in the store " +
                HumanSize(summary.stored_bytes)};
  if (!details.usage) return size;
  uint64_t stored = 0, own = 0;
  JsonReader reader(*details.usage, "usage");
  reader.Get("StoredBytes", &stored);
  reader.Get("OwnBytes", &own);
  STASIS_RETURN_IF_ERROR(reader.status());
  size.children.push_back({"Compressed: " + HumanSize(stored) + " on disk, shared with others or not"});
  size.children.push_back({"Unique: " + HumanSize(own) + ", what its removal would free"});
  return size;
}

// "C /etc"
StatusOr<std::vector<std::string>> ChangeLines(const Json& changes) {
  static constexpr std::string_view kLetters = "CAD";
  if (!changes.is_array()) return InvalidArgument("changes: want an array");
  std::vector<std::string> lines;
  for (const Json& change : changes) {
    std::string path;
    unsigned kind = 0;
    JsonReader reader(change, "changes");
    reader.Get("Path", &path);
    reader.Get("Kind", &kind);
    STASIS_RETURN_IF_ERROR(reader.status());
    if (kind >= kLetters.size()) return InvalidArgument("changes: Kind: want 0, 1 or 2");
    lines.push_back(std::string(1, kLetters[kind]) + " " + path);
  }
  return lines;
}

// The container's own layer, and what in it differs from the image.
StatusOr<TreeNode> Files(const std::string& text, const CheckpointDetails& details) {
  TreeNode files{"Files: " + text};
  if (!details.changes) return files;
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ChangeLines(*details.changes));
  for (const std::string& line : lines) files.children.push_back({line});
  return files;
}

// "sha256:0123456789abcdef...", as Docker shows it in lists.
std::string ShortImage(const std::string& id) { return id.substr(id.find(':') + 1).substr(0, kShortId); }

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string MemoryText(const Summary& summary) {
  uint64_t resident = 0;
  for (const Process& process : summary.processes) resident += process.resident_bytes;
  return HumanSize(resident) + " resident (" + std::to_string(resident / kPage) + " pages) in " +
         std::to_string(summary.processes.size()) +
         (summary.processes.size() == 1 ? " process" : " processes");
}

std::string FilesText(const Summary& summary) {
  if (!summary.has_layer) return "not in it";
  return std::to_string(summary.layer_files) + " (" + HumanSize(summary.layer_bytes) + ")";
}

// How long it stood still, and for what.
TreeNode Frozen(const Summary& summary) {
  TreeNode frozen{"Frozen: " + HumanMicroseconds(summary.frozen_us) +
                  (summary.exit     ? ", then ended"
                   : summary.paused ? ", stayed paused"
                                    : ", then ran on")};
  if (summary.thaws > 0)
    frozen.children.push_back(
        {"Let go on before that: " + std::to_string(summary.thaws) + ", since it was in an exec or a vfork"});
  frozen.children.push_back({"Dump: " + HumanMicroseconds(summary.dump_us)});
  if (summary.has_layer) frozen.children.push_back({"Files: " + HumanMicroseconds(summary.files_us)});
  if (summary.freeze == "cow") frozen.children.push_back({"Copies: " + HumanMicroseconds(summary.copy_us)});
  if (summary.freeze == "direct")
    frozen.children.push_back({"Memory: " + HumanMicroseconds(summary.memory_us)});
  return frozen;
}

}  // namespace

std::string HumanMicroseconds(uint64_t microseconds) {
  char text[48];
  if (microseconds < 1000) {
    std::snprintf(text, sizeof text, "%u us", static_cast<unsigned>(microseconds));
  } else if (microseconds < 1'000'000) {
    std::snprintf(text, sizeof text, "%.3g ms", static_cast<double>(microseconds) / 1e3);
  } else {
    std::snprintf(text, sizeof text, "%.3g s", static_cast<double>(microseconds) / 1e6);
  }
  return text;
}

CheckpointLabel ReadCheckpointLabel(JsonReader& entry) {
  CheckpointLabel label;
  entry.Get("Container", &label.container);
  entry.Get("ContainerName", &label.container_name);
  entry.Get("Name", &label.name);
  return label;
}

StatusOr<CheckpointLine> ReadCheckpointLine(const Json& entry) {
  CheckpointLine line;
  JsonReader reader(entry, "checkpoint");
  line.label = ReadCheckpointLabel(reader);
  reader.Get("FilesOnly", &line.files_only);
  reader.Get("Image", &line.image);
  reader.Get("Created", &line.created);
  reader.Get("Bytes", &line.bytes);
  reader.Get("StoredBytes", &line.stored_bytes);
  reader.Get("FrozenMicroseconds", &line.frozen_us);
  reader.Get("Damage", &line.damage);
  STASIS_RETURN_IF_ERROR(reader.status());
  return line;
}

StatusOr<std::string> ChangesReport(const Json& changes) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ChangeLines(changes));
  std::string text;
  for (const std::string& line : lines) text += Shown(line) + "\n";
  return text;
}

StatusOr<std::string> CheckpointReport(const Json& manifest, const CheckpointDetails& details) {
  STASIS_ASSIGN_OR_RETURN(Summary summary, ReadSummary(manifest));
  TreeNode root{summary.name};
  auto add = [&](const std::string& label) { root.children.push_back({label}); };
  const CheckpointOwner owner = OwnerOf(summary.engine_record);
  add("Container: " + (owner.name.empty()
                           ? summary.container_id
                           : owner.name + " (" + summary.container_id.substr(0, kShortId) + ")"));
  if (!owner.image.empty()) add("Image: " + owner.image + " (" + ShortImage(owner.image_id) + ")");
  if (!owner.options.empty()) add("Options: " + Joined(owner.options));
  if (!owner.command.empty()) add("Command: " + Joined(owner.command));
  add("Created: " + summary.created);
  if (summary.total_us > 0) add("Took: " + HumanMicroseconds(summary.total_us) + ", until it was durable");
  STASIS_ASSIGN_OR_RETURN(root.children.emplace_back(), Size(summary, details));
  add("Memory: " + MemoryText(summary));
  STASIS_ASSIGN_OR_RETURN(root.children.emplace_back(), Files(FilesText(summary), details));
  add("Prepared: " + HumanMicroseconds(summary.prepare_us) + ", before the freeze");
  root.children.push_back(Frozen(summary));
  if (summary.freeze == "cow") {
    add("Freeze: copy on write");
  } else if (summary.freeze == "direct") {
    add("Freeze: direct, memory read from the processes as they stood");
  } else if (!summary.freeze.empty()) {
    add("Freeze: plain (" + summary.freeze_reason + ")");
  }
  add("CRIU: " + summary.criu_version);
  add("Kernel: " + summary.kernel + " " + summary.architecture);
  add("Network namespace: " + summary.network_namespace);
  if (!summary.exec_processes.empty()) {
    TreeNode execs{"Not in it: ran beside the container's own processes"};
    for (const std::string& process : summary.exec_processes) execs.children.push_back({process});
    root.children.push_back(std::move(execs));
  }
  if (!summary.warnings.empty()) {
    TreeNode warnings{"Warnings: what a restore does not bring back"};
    for (const std::string& warning : summary.warnings) warnings.children.push_back({warning});
    root.children.push_back(std::move(warnings));
  }
  STASIS_ASSIGN_OR_RETURN(root.children.emplace_back(), ProcessTree(std::move(summary.processes), details));
  return DrawTree(root);
}

}  // namespace stasis::cli
