#include "supervisor/checkpoints.h"

#include <fcntl.h>
#include <stdio.h>

#include <set>
#include <utility>

#include "base/json.h"
#include "base/names.h"
#include "linux/files.h"
#include "linux/random_hex.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"

namespace stasis::supervisor {
namespace {

// What containerd 0.2 left in a checkpoint's directory.
constexpr char kOldConfigFile[] = "config.json";
constexpr size_t kMaxOldConfig = 64 << 10;

Status NoSuchCheckpoint(const std::string& name, const std::string& id) {
  return NotFound("checkpoint " + name + " does not exist for container " + id);
}

StatusOr<types::Checkpoint> ReadOldCheckpoint(const std::string& directory, const std::string& name) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd opened, OpenDirectory(directory));
  STASIS_ASSIGN_OR_RETURN(UniqueFd entry,
                          OpenFileAt(opened.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  STASIS_ASSIGN_OR_RETURN(UniqueFd file,
                          OpenFileAt(entry.get(), kOldConfigFile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadAll(file.get(), kMaxOldConfig));
  STASIS_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  bool exit = false, tcp = false, unix_sockets = false, shell = false;
  JsonReader reader(json, kOldConfigFile);
  reader.Get("exit", &exit);
  reader.Get("tcp", &tcp);
  reader.Get("unixSockets", &unix_sockets);
  reader.Get("shell", &shell);
  STASIS_RETURN_IF_ERROR(reader.status());
  types::Checkpoint checkpoint;
  checkpoint.set_name(name);
  checkpoint.set_exit(exit);
  checkpoint.set_tcp(tcp);
  checkpoint.set_unixsockets(unix_sockets);
  checkpoint.set_shell(shell);
  return checkpoint;
}

types::Checkpoint Describe(const std::string& name, const Manifest& manifest) {
  types::Checkpoint checkpoint;
  checkpoint.set_name(name);
  checkpoint.set_exit(manifest.exit);
  checkpoint.set_tcp(manifest.tcp_established);
  checkpoint.set_unixsockets(manifest.external_unix_sockets);
  checkpoint.set_shell(manifest.shell_job);
  checkpoint.mutable_emptyns()->Assign(manifest.empty_namespaces.begin(), manifest.empty_namespaces.end());
  return checkpoint;
}

// Renamed aside first: half removed, it is never listed.
Status DeleteOldCheckpoint(const std::string& directory, const std::string& name) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd opened, OpenDirectory(directory));
  STASIS_ASSIGN_OR_RETURN(const UniqueFd old, OpenDirectoryAt(opened.get(), name));
  if (!LockAside(old.get())) return NotFound(name + " is being removed");
  const std::string aside = "." + name + kDeletedMark + RandomHex(4);
  STASIS_RETURN_IF_ERROR(PublishByRename(opened.get(), name, opened.get(), aside));
  return RemoveTreeAt(opened.get(), aside);
}

}  // namespace

StatusOr<std::string> CheckpointDirectory(const std::string& requested, const std::string& bundle) {
  if (requested.empty()) return bundle + "/checkpoints";
  if (requested[0] != '/' || requested.find('\0') != std::string::npos) {
    return InvalidArgument("checkpoint directory \"" + requested + "\": want an absolute path");
  }
  return requested;
}

StatusOr<protocol::RestoreSource> FindCheckpoint(const std::string& requested, const std::string& bundle,
                                                 const std::string& name, const std::string& id) {
  STASIS_ASSIGN_OR_RETURN(std::string directory, CheckpointDirectory(requested, bundle));
  STASIS_ASSIGN_OR_RETURN(CheckpointName parsed, CheckpointName::Parse(name));
  StatusOr<Manifest> found = ReadManifest(directory, parsed);
  if (absl::IsNotFound(found.status())) return NoSuchCheckpoint(name, id);
  if (!found.ok()) return found.status();
  return protocol::RestoreSource{.directory = CheckpointPath(directory, parsed),
                                 .store = OwnStore(directory),
                                 .empty_namespaces = std::move(found->empty_namespaces)};
}

StatusOr<types::ListCheckpointResponse> ListCheckpointsIn(const std::string& directory) {
  types::ListCheckpointResponse response;
  STASIS_ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> all, FindCheckpoints({directory}));
  std::set<std::string> listed;
  for (const FoundCheckpoint& found : all) {
    if (!found.manifest.ok()) continue;
    *response.add_checkpoints() = Describe(found.name, *found.manifest);
    listed.insert(found.name);
  }
  StatusOr<std::vector<std::string>> names = ListDirectory(directory);
  if (!names.ok()) return response;  // there is no such directory
  for (const std::string& name : *names) {
    if (listed.contains(name) || !CheckpointName::Parse(name).ok()) continue;
    if (auto old = ReadOldCheckpoint(directory, name); old.ok()) {
      *response.add_checkpoints() = *std::move(old);
    }
  }
  return response;
}

Status DeleteCheckpointIn(const std::string& directory, const std::string& name, const std::string& id) {
  STASIS_ASSIGN_OR_RETURN(CheckpointName parsed, CheckpointName::Parse(name));
  Status deleted = DeleteCheckpoint(directory, parsed);
  if (!absl::IsNotFound(deleted)) return deleted;
  if (!ReadOldCheckpoint(directory, name).ok()) return NoSuchCheckpoint(name, id);
  return DeleteOldCheckpoint(directory, name);
}

}  // namespace stasis::supervisor
