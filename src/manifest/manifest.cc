#include "manifest/manifest.h"

#include <set>
#include <utility>

#include "base/time.h"

namespace stasis {
namespace {

// One string of a process: as much as criu/processes.h gives, each byte of it perhaps replaced by U+FFFD.
constexpr size_t kMaxText = 3 * 4096;
constexpr size_t kMaxExecs = 1024;     // entries of exec_processes
constexpr size_t kMaxWarnings = 4096;  // entries of warnings
constexpr size_t kMaxNamespaces = 16;  // entries of empty_namespaces
constexpr size_t kMaxCpuFeatures = 1024;
constexpr size_t kMaxEngineRecord = 1 << 20;

Status TooLarge(std::string_view what) {
  return DataLoss("manifest: " + std::string(what) + " is too large");
}

Json ToJson(const ManifestProcess& process) {
  return {{"pid", process.pid},
          {"parent", process.parent},
          {"user", process.user},
          {"name", process.name},
          {"command", process.command},
          {"threads", process.threads},
          {"resident_bytes", process.resident_bytes}};
}

StatusOr<ManifestProcess> ProcessFromJson(const Json& json) {
  if (!json.is_object()) return DataLoss("manifest: processes: want objects");
  ManifestProcess process;
  JsonReader reader(json, "processes");
  reader.Get("pid", &process.pid);
  reader.Get("parent", &process.parent);
  reader.Get("user", &process.user);
  reader.Get("name", &process.name);
  reader.Get("command", &process.command);
  reader.Get("threads", &process.threads);
  reader.Get("resident_bytes", &process.resident_bytes);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (process.name.size() > kMaxText || process.command.size() > kMaxText)
    return TooLarge("a process's text");
  return process;
}

StatusOr<std::vector<ManifestProcess>> ProcessesFromJson(const Json* json) {
  std::vector<ManifestProcess> processes;
  if (json == nullptr) return processes;
  if (!json->is_array()) return DataLoss("manifest: processes: want an array");
  if (json->size() > kMaxProcesses) return TooLarge("processes");
  for (const Json& entry : *json) {
    STASIS_ASSIGN_OR_RETURN(ManifestProcess process, ProcessFromJson(entry));
    processes.push_back(std::move(process));
  }
  return processes;
}

Json ToJson(const store::StreamId& stream) {
  return {{"size", stream.size}, {"depth", stream.depth}, {"root", store::ToHex(stream.root)}};
}

Json ToJson(const ManifestFile& file) {
  Json json = ToJson(file.content);
  json["name"] = file.name;
  return json;
}

// Hostile: the name becomes a file.
Status CheckFileName(const std::string& name) {
  if (name.empty() || name.size() > 255 || name[0] == '.' || name.find('/') != name.npos ||
      name.find('\0') != name.npos)
    return DataLoss("manifest: files: a name that cannot be");
  return absl::OkStatus();
}

StatusOr<store::StreamId> StreamFromJson(const Json& json, const std::string& what) {
  store::StreamId stream;
  std::string root;
  JsonReader reader(json, what);
  reader.Get("size", &stream.size);
  reader.Get("depth", &stream.depth);
  reader.Get("root", &root);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (stream.size > store::kMaxStream || stream.depth > store::kMaxDepth) return TooLarge(what);
  STASIS_ASSIGN_OR_RETURN(stream.root, store::PageHashFromHex(root));
  return stream;
}

StatusOr<ManifestFile> FileFromJson(const Json& json) {
  if (!json.is_object()) return DataLoss("manifest: files: want objects");
  ManifestFile file;
  JsonReader reader(json, "files");
  reader.Get("name", &file.name);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckFileName(file.name));
  STASIS_ASSIGN_OR_RETURN(file.content, StreamFromJson(json, "files"));
  return file;
}

StatusOr<std::vector<ManifestFile>> FilesFromJson(const Json* json) {
  std::vector<ManifestFile> files;
  if (json == nullptr) return files;
  if (!json->is_array()) return DataLoss("manifest: files: want an array");
  if (json->size() > kMaxFiles) return TooLarge("files");
  std::set<std::string> names;
  for (const Json& entry : *json) {
    STASIS_ASSIGN_OR_RETURN(ManifestFile file, FileFromJson(entry));
    if (!names.insert(file.name).second) return DataLoss("manifest: files: one twice");
    files.push_back(std::move(file));
  }
  return files;
}

StatusOr<absl::Time> TimeFromText(const std::string& text) {
  auto time = FromRfc3339(text);
  if (!time.ok()) return Annotate(time.status(), "created");
  return time;
}

// All fields but the version, which is known to be ours.
StatusOr<Manifest> ReadFields(const Json& json) {
  Manifest manifest;
  std::string created;
  JsonReader reader(json, "manifest");
  reader.Get("name", &manifest.name);
  reader.Get("container_id", &manifest.container_id);
  reader.Get("created", &created);
  reader.Get("exit", &manifest.exit);
  reader.Get("paused", &manifest.paused);
  reader.Get("frozen_us", &manifest.frozen_us);
  reader.Get("thaws", &manifest.thaws);
  reader.Get("prepare_us", &manifest.prepare_us);
  reader.Get("dump_us", &manifest.dump_us);
  reader.Get("copy_us", &manifest.copy_us);
  reader.Get("memory_us", &manifest.memory_us);
  reader.Get("files_us", &manifest.files_us);
  reader.Get("layer_files", &manifest.layer_files);
  reader.Get("layer_bytes", &manifest.layer_bytes);
  reader.Get("total_us", &manifest.total_us);
  reader.Get("bytes", &manifest.bytes);
  reader.Get("stored_bytes", &manifest.stored_bytes);
  reader.Get("freeze", &manifest.freeze);
  reader.Get("freeze_reason", &manifest.freeze_reason);
  reader.Get("criu_version", &manifest.criu_version);
  reader.Get("kernel", &manifest.kernel);
  reader.Get("architecture", &manifest.architecture);
  reader.Get("cpu_features", &manifest.cpu_features);
  reader.Get("tcp_established", &manifest.tcp_established);
  reader.Get("external_unix_sockets", &manifest.external_unix_sockets);
  reader.Get("shell_job", &manifest.shell_job);
  reader.Get("empty_namespaces", &manifest.empty_namespaces);
  reader.Get("network_namespace", &manifest.network_namespace);
  reader.Get("exec_processes", &manifest.exec_processes);
  reader.Get("warnings", &manifest.warnings);
  reader.Get("engine_record", &manifest.engine_record);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_ASSIGN_OR_RETURN(manifest.created, TimeFromText(created));
  STASIS_ASSIGN_OR_RETURN(manifest.files, FilesFromJson(reader.Find("files")));
  if (const Json* layer = reader.Find("layer"); layer != nullptr && !layer->is_null()) {
    if (!layer->is_object()) return DataLoss("manifest: layer: want an object");
    STASIS_ASSIGN_OR_RETURN(manifest.layer, StreamFromJson(*layer, "layer"));
  }
  STASIS_ASSIGN_OR_RETURN(manifest.processes, ProcessesFromJson(reader.Find("processes")));
  return manifest;
}

Status CheckLimits(const Manifest& manifest) {
  for (const std::string* text :
       {&manifest.name, &manifest.container_id, &manifest.criu_version, &manifest.kernel,
        &manifest.architecture, &manifest.network_namespace, &manifest.freeze}) {
    if (text->size() > 256) return TooLarge("a name");
  }
  if (manifest.freeze_reason.size() > kMaxText) return TooLarge("freeze_reason");
  if (manifest.exec_processes.size() > kMaxExecs) return TooLarge("exec_processes");
  if (manifest.warnings.size() > kMaxWarnings) return TooLarge("warnings");
  if (manifest.cpu_features.size() > kMaxCpuFeatures) return TooLarge("cpu_features");
  if (manifest.empty_namespaces.size() > kMaxNamespaces) return TooLarge("empty_namespaces");
  if (manifest.engine_record.size() > kMaxEngineRecord) return TooLarge("engine_record");
  return absl::OkStatus();
}

}  // namespace

std::string ToText(const Manifest& manifest) {
  Json processes = Json::array();
  for (const ManifestProcess& process : manifest.processes) processes.push_back(ToJson(process));
  Json files = Json::array();
  for (const ManifestFile& file : manifest.files) files.push_back(ToJson(file));
  return DumpJson({{"version", manifest.version},
                   {"name", manifest.name},
                   {"container_id", manifest.container_id},
                   {"created", ToRfc3339(manifest.created)},
                   {"exit", manifest.exit},
                   {"paused", manifest.paused},
                   {"frozen_us", manifest.frozen_us},
                   {"thaws", manifest.thaws},
                   {"prepare_us", manifest.prepare_us},
                   {"dump_us", manifest.dump_us},
                   {"copy_us", manifest.copy_us},
                   {"memory_us", manifest.memory_us},
                   {"files_us", manifest.files_us},
                   {"bytes", manifest.bytes},
                   {"stored_bytes", manifest.stored_bytes},
                   {"total_us", manifest.total_us},
                   {"freeze", manifest.freeze},
                   {"freeze_reason", manifest.freeze_reason},
                   {"criu_version", manifest.criu_version},
                   {"kernel", manifest.kernel},
                   {"architecture", manifest.architecture},
                   {"cpu_features", manifest.cpu_features},
                   {"tcp_established", manifest.tcp_established},
                   {"external_unix_sockets", manifest.external_unix_sockets},
                   {"shell_job", manifest.shell_job},
                   {"empty_namespaces", manifest.empty_namespaces},
                   {"network_namespace", manifest.network_namespace},
                   {"files", std::move(files)},
                   {"layer", manifest.layer ? ToJson(*manifest.layer) : Json()},
                   {"layer_files", manifest.layer_files},
                   {"layer_bytes", manifest.layer_bytes},
                   {"processes", std::move(processes)},
                   {"exec_processes", manifest.exec_processes},
                   {"warnings", manifest.warnings},
                   {"engine_record", manifest.engine_record}}) +
         "\n";
}

StatusOr<Manifest> ParseManifest(std::string_view text) {
  if (text.size() > kMaxManifest) return TooLarge("the whole");
  auto json = ParseJson(text);
  if (!json.ok()) return DataLoss("manifest: " + Message(json.status()));
  if (!json->is_object()) return DataLoss("manifest: want an object");
  int version = 0;
  JsonReader reader(*json, "manifest");
  reader.Get("version", &version);
  if (!reader.status().ok()) return DataLoss(Message(reader.status()));
  if (version > kManifestVersion) {
    return Unimplemented("manifest: version " + std::to_string(version) +
                         " is newer than this program knows (" + std::to_string(kManifestVersion) + ")");
  }
  if (version < 1) return DataLoss("manifest: no version");
  if (version < kManifestVersion) {
    return Unimplemented("manifest: version " + std::to_string(version) +
                         " is of a Stasis before there was a store, and cannot be read any more");
  }
  auto manifest = ReadFields(*json);
  if (!manifest.ok()) return DataLoss(Message(manifest.status()));
  STASIS_RETURN_IF_ERROR(CheckLimits(*manifest));
  return manifest;
}

}  // namespace stasis
