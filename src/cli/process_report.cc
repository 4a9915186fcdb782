#include "cli/process_report.h"

#include <functional>
#include <string>
#include <utility>

#include "cli/units.h"

namespace stasis::cli {
namespace {

using Describe = StatusOr<std::string> (*)(const Json& entry);

Status AddAll(const Json& list, Describe describe, TreeNode* branch) {
  if (!list.is_array()) return InvalidArgument("process: want an array");
  for (const Json& entry : list) {
    STASIS_ASSIGN_OR_RETURN(std::string label, describe(entry));
    branch->children.push_back({std::move(label)});
  }
  return absl::OkStatus();
}

// "[file 3]  /var/log/app.log (w, at 1024)"
StatusOr<std::string> FileLabel(const Json& entry) {
  uint64_t fd = 0, position = 0;
  std::string kind, name, access;
  JsonReader reader(entry, "files");
  reader.Get("fd", &fd);
  reader.Get("kind", &kind);
  reader.Get("name", &name);
  reader.Get("access", &access);
  reader.Get("position", &position);
  STASIS_RETURN_IF_ERROR(reader.status());
  std::string label = "[" + kind + " " + std::to_string(fd) + "]";
  if (!name.empty()) label += "  " + name;
  if (access.empty()) return label;
  return label + " (" + access + (position > 0 ? ", at " + std::to_string(position) : "") + ")";
}

// "[tcp (established) 7]  10.0.0.1:80 -> 10.0.0.2:4711"
StatusOr<std::string> SocketLabel(const Json& entry) {
  uint64_t fd = 0;
  std::string family, type, protocol, state, local, remote;
  JsonReader reader(entry, "sockets");
  reader.Get("fd", &fd);
  reader.Get("family", &family);
  reader.Get("type", &type);
  reader.Get("protocol", &protocol);
  reader.Get("state", &state);
  reader.Get("local", &local);
  reader.Get("remote", &remote);
  STASIS_RETURN_IF_ERROR(reader.status());
  const bool is_inet = family == "inet" || family == "inet6";
  std::string what = is_inet ? protocol : family;
  std::string more = is_inet ? "" : type;
  if (!state.empty()) more += (more.empty() ? "" : ", ") + state;
  if (!more.empty()) what += " (" + more + ")";
  std::string label = "[" + what + " " + std::to_string(fd) + "]";
  if (!local.empty()) label += "  " + local;
  if (!remote.empty()) label += (local.empty() ? "  -> " : " -> ") + remote;
  return label;
}

// "[rw-p 55d0c0a00000-55d0c0a21000]  heap, 40.9kB saved"
StatusOr<std::string> MappingLabel(const Json& entry) {
  std::string start, end, protection, kind, name;
  uint64_t saved = 0;
  JsonReader reader(entry, "mappings");
  reader.Get("start", &start);
  reader.Get("end", &end);
  reader.Get("protection", &protection);
  reader.Get("kind", &kind);
  reader.Get("name", &name);
  reader.Get("saved_bytes", &saved);
  STASIS_RETURN_IF_ERROR(reader.status());
  std::string label = "[" + protection + " " + start + "-" + end + "]  " + kind;
  if (!name.empty()) label += " " + name;
  return label + (saved > 0 ? ", " + HumanSize(saved) + " saved" : "");
}

StatusOr<std::string> MemoryLabel(const Json& memory) {
  uint64_t mapped = 0, saved = 0, shared = 0;
  JsonReader reader(memory, "memory");
  reader.Get("mapped_bytes", &mapped);
  reader.Get("saved_bytes", &saved);
  reader.Get("shared_bytes", &shared);
  STASIS_RETURN_IF_ERROR(reader.status());
  std::string label = "Memory: " + HumanSize(mapped) + " mapped, " + HumanSize(saved) + " saved";
  return label + (shared > 0 ? ", " + HumanSize(shared) + " shared saved" : "");
}

// Tells of what a list was cut by.
void AddLeftOut(uint64_t left_out, TreeNode* branch) {
  if (left_out > 0) branch->children.push_back({"... and " + std::to_string(left_out) + " more"});
}

}  // namespace

StatusOr<std::vector<TreeNode>> ProcessBranches(const Json& process) {
  std::vector<TreeNode> branches;
  std::string executable, working_directory, root_directory;
  uint64_t descriptors_left_out = 0, mappings_left_out = 0;
  JsonReader reader(process, "process");
  reader.Get("executable", &executable);
  reader.Get("working_directory", &working_directory);
  reader.Get("root_directory", &root_directory);
  reader.Get("descriptors_left_out", &descriptors_left_out);
  reader.Get("mappings_left_out", &mappings_left_out);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (const Json* files = reader.Find("files")) {
    TreeNode branch{"Open files"};
    if (!executable.empty()) branch.children.push_back({"[exe]  " + executable});
    if (!working_directory.empty()) branch.children.push_back({"[cwd]  " + working_directory});
    if (!root_directory.empty()) branch.children.push_back({"[root]  " + root_directory});
    STASIS_RETURN_IF_ERROR(AddAll(*files, FileLabel, &branch));
    AddLeftOut(descriptors_left_out, &branch);
    if (!branch.children.empty()) branches.push_back(std::move(branch));
  }
  if (const Json* sockets = reader.Find("sockets")) {
    TreeNode branch{"Open sockets"};
    STASIS_RETURN_IF_ERROR(AddAll(*sockets, SocketLabel, &branch));
    if (!branch.children.empty()) branches.push_back(std::move(branch));
  }
  const Json* memory = reader.Find("memory");
  if (const Json* mappings = reader.Find("mappings"); memory != nullptr && mappings != nullptr) {
    TreeNode branch;
    STASIS_ASSIGN_OR_RETURN(branch.label, MemoryLabel(*memory));
    STASIS_RETURN_IF_ERROR(AddAll(*mappings, MappingLabel, &branch));
    AddLeftOut(mappings_left_out, &branch);
    if (!branch.children.empty()) branches.push_back(std::move(branch));
  }
  return branches;
}

}  // namespace stasis::cli
