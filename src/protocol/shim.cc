#include "protocol/shim.h"

#include <utility>

#include "base/names.h"
#include "base/time.h"
#include "protocol/fields.h"
#include "protocol/frame.h"

namespace stasis::protocol {
namespace {

// The id of a process of a container: kInit, or an exec's, which becomes part of file names.
Status CheckProcess(const std::string& process) {
  if (process == kInit || IsRestrictedName(process)) return {};
  return InvalidArgument("process: \"" + process + "\" is not an id");
}

Json ToJson(const Stdio& stdio) {
  return {{"stdin_fifo", stdio.stdin_fifo},
          {"stdout_fifo", stdio.stdout_fifo},
          {"stderr_fifo", stdio.stderr_fifo},
          {"terminal", stdio.terminal},
          {"open_stdin", stdio.open_stdin},
          {"stdin_once", stdio.stdin_once},
          {"width", stdio.width},
          {"height", stdio.height}};
}

StatusOr<Stdio> StdioFromJson(const Json& json) {
  Stdio stdio;
  JsonReader reader(json, "stdio");
  reader.Get("stdin_fifo", &stdio.stdin_fifo);
  reader.Get("stdout_fifo", &stdio.stdout_fifo);
  reader.Get("stderr_fifo", &stdio.stderr_fifo);
  reader.Get("terminal", &stdio.terminal);
  reader.Get("open_stdin", &stdio.open_stdin);
  reader.Get("stdin_once", &stdio.stdin_once);
  reader.Get("width", &stdio.width);
  reader.Get("height", &stdio.height);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(stdio.stdin_fifo, "stdio.stdin_fifo", true));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(stdio.stdout_fifo, "stdio.stdout_fifo", true));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(stdio.stderr_fifo, "stdio.stderr_fifo", true));
  return stdio;
}

StatusOr<RestoreSource> RestoreSourceFromJson(const Json& json) {
  RestoreSource source;
  JsonReader reader(json, "restore");
  reader.Get("directory", &source.directory);
  reader.Get("store", &source.store);
  reader.Get("paused", &source.paused);
  reader.Get("empty_namespaces", &source.empty_namespaces);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(source.directory, "restore.directory"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(source.store, "restore.store"));
  return source;
}

Status CheckConfig(const ShimConfig& config) {
  STASIS_RETURN_IF_ERROR(BundleId::Parse(config.id).status());
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(config.bundle, "bundle"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(config.runtime, "runtime"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(config.runtime_root, "runtime_root"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(config.criu, "criu", true));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(config.checkpointer, "checkpointer", true));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(config.cgroup_path, "cgroup_path", true));
  // All in this group gets killed at the container's end.
  if (!config.cgroup_path.empty() && config.cgroup_path.find_first_not_of("/.") == std::string::npos) {
    return InvalidArgument("cgroup_path: the root of all groups is no container's");
  }
  return CheckAbsolutePath(config.log_path, "log_path", true);
}

StatusOr<ShimState::Exec> ExecFromJson(const Json& json) {
  ShimState::Exec exec;
  JsonReader reader(json, "exec");
  reader.Get("process", &exec.process);
  reader.Get("pid", &exec.pid);
  reader.Get("terminal", &exec.terminal);
  reader.Get("args", &exec.args);
  STASIS_RETURN_IF_ERROR(reader.status());
  return exec;
}

}  // namespace

Json ToJson(const ShimConfig& config) {
  Json json = {{"version", config.version},
               {"id", config.id},
               {"bundle", config.bundle},
               {"runtime", config.runtime},
               {"runtime_root", config.runtime_root},
               {"runtime_arguments", config.runtime_arguments},
               {"no_pivot", config.no_pivot},
               {"criu", config.criu},
               {"checkpointer", config.checkpointer},
               {"cgroup_path", config.cgroup_path},
               {"stdio", ToJson(config.stdio)},
               {"log_path", config.log_path},
               {"log_max_size", config.log_max_size},
               {"log_max_files", config.log_max_files},
               {"labels", config.labels}};
  if (config.restore) {
    json["restore"] = {{"directory", config.restore->directory},
                       {"store", config.restore->store},
                       {"paused", config.restore->paused},
                       {"empty_namespaces", config.restore->empty_namespaces}};
  }
  return json;
}

StatusOr<ShimConfig> ShimConfigFromJson(const Json& json) {
  ShimConfig config;
  JsonReader reader(json, "config");
  reader.Get("version", &config.version);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckVersion(config.version, "config.json"));
  reader.Get("id", &config.id);
  reader.Get("bundle", &config.bundle);
  reader.Get("runtime", &config.runtime);
  reader.Get("runtime_root", &config.runtime_root);
  reader.Get("runtime_arguments", &config.runtime_arguments);
  reader.Get("no_pivot", &config.no_pivot);
  reader.Get("criu", &config.criu);
  reader.Get("checkpointer", &config.checkpointer);
  reader.Get("cgroup_path", &config.cgroup_path);
  reader.Get("log_path", &config.log_path);
  reader.Get("log_max_size", &config.log_max_size);
  reader.Get("log_max_files", &config.log_max_files);
  reader.Get("labels", &config.labels);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetStruct(reader, "stdio", StdioFromJson, &config.stdio));
  STASIS_RETURN_IF_ERROR(GetStruct(reader, "restore", RestoreSourceFromJson, &config.restore));
  STASIS_RETURN_IF_ERROR(CheckConfig(config));
  return config;
}

Json ToJson(const ExitRecord& record) {
  return {{"process", record.process},
          {"status", record.status},
          {"oom_killed", record.oom_killed},
          {"at", ToRfc3339(record.at)},
          {"reason", record.reason}};
}

StatusOr<ExitRecord> ExitRecordFromJson(const Json& json) {
  ExitRecord record;
  JsonReader reader(json, "exit");
  reader.Get("process", &record.process);
  reader.Get("status", &record.status);
  reader.Get("oom_killed", &record.oom_killed);
  reader.Get("reason", &record.reason);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetTime(reader, "at", &record.at));
  STASIS_RETURN_IF_ERROR(CheckProcess(record.process));
  if (record.status < 0 || record.status > 255) return InvalidArgument("exit.status: want 0 to 255");
  return record;
}

Json ToJson(const ShimState& state) {
  Json json = {{"version", state.version},
               {"status", state.status},
               {"pid", state.pid},
               {"started_at", ToRfc3339(state.started_at)},
               {"checkpointing", state.checkpointing},
               {"execs", Json::array()}};
  if (state.exit) json["exit"] = ToJson(*state.exit);
  for (const ShimState::Exec& exec : state.execs) {
    json["execs"].push_back(
        {{"process", exec.process}, {"pid", exec.pid}, {"terminal", exec.terminal}, {"args", exec.args}});
  }
  return json;
}

StatusOr<ShimState> ShimStateFromJson(const Json& json) {
  ShimState state;
  JsonReader reader(json, "state");
  reader.Get("version", &state.version);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckVersion(state.version, "the shim's state"));
  reader.Get("status", &state.status);
  reader.Get("pid", &state.pid);
  reader.Get("checkpointing", &state.checkpointing);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetTime(reader, "started_at", &state.started_at));
  STASIS_RETURN_IF_ERROR(GetStruct(reader, "exit", ExitRecordFromJson, &state.exit));
  STASIS_RETURN_IF_ERROR(GetStructs(reader, "execs", ExecFromJson, &state.execs));
  return state;
}

Json ToJson(const ExecRequest& request) {
  return {{"process", request.process},
          {"spec", request.spec},
          {"stdio", ToJson(request.stdio)},
          {"wait_for_attach", request.wait_for_attach}};
}

StatusOr<ExecRequest> ExecRequestFromJson(const Json& json) {
  ExecRequest request;
  JsonReader reader(json, "exec");
  reader.Get("process", &request.process);
  reader.Get("wait_for_attach", &request.wait_for_attach);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetStruct(reader, "stdio", StdioFromJson, &request.stdio));
  if (request.process == kInit) return AlreadyExists("exec: \"init\" is the container's own process");
  STASIS_RETURN_IF_ERROR(CheckProcess(request.process));
  const Json* spec = reader.Find("spec");
  if (!spec || !spec->is_object()) return InvalidArgument("exec.spec: want an object");
  request.spec = *spec;
  return request;
}

Json ToJson(const CheckpointRequest& request) {
  return {{"name", request.name},
          {"directory", request.directory},
          {"store", request.store},
          {"layer", request.layer},
          {"exit", request.exit},
          {"tcp", request.tcp},
          {"unix_sockets", request.unix_sockets},
          {"shell", request.shell},
          {"empty_namespaces", request.empty_namespaces},
          {"frozen_limit_ms", request.frozen_limit_ms},
          {"freeze", request.freeze},
          {"freeze_reason", request.freeze_reason},
          {"engine_record", request.engine_record},
          {"allow", request.allow}};
}

StatusOr<CheckpointRequest> CheckpointRequestFromJson(const Json& json) {
  CheckpointRequest request;
  JsonReader reader(json, "checkpoint");
  reader.Get("name", &request.name);
  reader.Get("directory", &request.directory);
  reader.Get("store", &request.store);
  reader.Get("layer", &request.layer);
  reader.Get("exit", &request.exit);
  reader.Get("tcp", &request.tcp);
  reader.Get("unix_sockets", &request.unix_sockets);
  reader.Get("shell", &request.shell);
  reader.Get("empty_namespaces", &request.empty_namespaces);
  reader.Get("frozen_limit_ms", &request.frozen_limit_ms);
  reader.Get("freeze", &request.freeze);
  reader.Get("freeze_reason", &request.freeze_reason);
  reader.Get("engine_record", &request.engine_record);
  reader.Get("allow", &request.allow);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckpointName::Parse(request.name).status());
  if (request.freeze != kFreezeCow && request.freeze != kFreezePlain)
    return InvalidArgument("checkpoint.freeze: want cow or plain");
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(request.directory, "checkpoint.directory"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(request.store, "checkpoint.store"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(request.layer, "checkpoint.layer", true));
  return request;
}

Json ToJson(const CheckpointResult& result) {
  return {{"frozen_us", result.frozen_us}, {"bytes", result.bytes}, {"warnings", result.warnings}};
}

StatusOr<CheckpointResult> CheckpointResultFromJson(const Json& json) {
  CheckpointResult result;
  JsonReader reader(json, "result");
  reader.Get("frozen_us", &result.frozen_us);
  reader.Get("bytes", &result.bytes);
  reader.Get("warnings", &result.warnings);
  STASIS_RETURN_IF_ERROR(reader.status());
  return result;
}

Json ToJson(const ShimEvent& event) {
  Json json = {{"sequence", event.sequence},
               {"type", event.type},
               {"process", event.process},
               {"at", ToRfc3339(event.at)}};
  if (event.exit) json["exit"] = ToJson(*event.exit);
  return json;
}

StatusOr<ShimEvent> ShimEventFromJson(const Json& json) {
  ShimEvent event;
  JsonReader reader(json, "event");
  reader.Get("sequence", &event.sequence);
  reader.Get("type", &event.type);
  reader.Get("process", &event.process);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetTime(reader, "at", &event.at));
  STASIS_RETURN_IF_ERROR(GetStruct(reader, "exit", ExitRecordFromJson, &event.exit));
  if (event.sequence == 0 || event.type.empty()) return InvalidArgument("event: wants a sequence and a type");
  return event;
}

Json ToJson(const AttachRequest& request) {
  return {{"process", request.process},
          {"stdin", request.use_stdin},
          {"stdout", request.use_stdout},
          {"stderr", request.use_stderr}};
}

StatusOr<AttachRequest> AttachRequestFromJson(const Json& json) {
  AttachRequest request;
  JsonReader reader(json, "attach");
  reader.Get("process", &request.process);
  reader.Get("stdin", &request.use_stdin);
  reader.Get("stdout", &request.use_stdout);
  reader.Get("stderr", &request.use_stderr);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckProcess(request.process));
  return request;
}

}  // namespace stasis::protocol
