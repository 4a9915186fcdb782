#include "engine/record.h"

#include <array>

#include "base/time.h"

namespace stasis::engine {
namespace {

constexpr std::array<std::pair<Phase, std::string_view>, 7> kPhases = {{
    {Phase::kCreated, "created"},
    {Phase::kRunning, "running"},
    {Phase::kPaused, "paused"},
    {Phase::kRestarting, "restarting"},
    {Phase::kRemoving, "removing"},
    {Phase::kExited, "exited"},
    {Phase::kDead, "dead"},
}};

Json ToJson(const RunState& state) {
  return {{"Phase", ToText(state.phase)},
          {"Pid", state.pid},
          {"ExitCode", state.exit_code},
          {"OomKilled", state.oom_killed},
          {"Error", state.error},
          {"StartedAt", ToRfc3339(state.started_at)},
          {"FinishedAt", ToRfc3339(state.finished_at)},
          {"Checkpoint", state.checkpoint}};
}

// Docker's zero time back to "never".
Status ReadTime(const JsonReader& reader, std::string_view field, absl::Time* out) {
  const Json* value = reader.Find(field);
  if (!value || !value->is_string()) return {};
  STASIS_ASSIGN_OR_RETURN(const absl::Time time, FromRfc3339(value->get<std::string>()));
  *out = time < absl::UnixEpoch() ? absl::InfinitePast() : time;
  return {};
}

StatusOr<RunState> RunStateFromJson(const Json& json) {
  RunState state;
  std::string phase;
  JsonReader reader(json, "State");
  reader.Get("Phase", &phase);
  reader.Get("Pid", &state.pid);
  reader.Get("ExitCode", &state.exit_code);
  reader.Get("OomKilled", &state.oom_killed);
  reader.Get("Error", &state.error);
  reader.Get("Checkpoint", &state.checkpoint);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_ASSIGN_OR_RETURN(state.phase, PhaseFromText(phase));
  STASIS_RETURN_IF_ERROR(ReadTime(reader, "StartedAt", &state.started_at));
  STASIS_RETURN_IF_ERROR(ReadTime(reader, "FinishedAt", &state.finished_at));
  return state;
}

Json ToJson(const ContainerMount& mount) {
  return {{"Type", mount.type},
          {"Source", mount.source},
          {"Destination", mount.destination},
          {"Options", mount.options},
          {"Mode", mount.mode},
          {"RW", mount.read_write},
          {"Propagation", mount.propagation},
          {"CreateSource", mount.create_source}};
}

StatusOr<ContainerMount> MountFromJson(const Json& json) {
  ContainerMount mount;
  JsonReader reader(json, "Mount");
  reader.Get("Type", &mount.type);
  reader.Get("Source", &mount.source);
  reader.Get("Destination", &mount.destination);
  reader.Get("Options", &mount.options);
  reader.Get("Mode", &mount.mode);
  reader.Get("RW", &mount.read_write);
  reader.Get("Propagation", &mount.propagation);
  reader.Get("CreateSource", &mount.create_source);
  STASIS_RETURN_IF_ERROR(reader.status());
  return mount;
}

Status ReadParts(const JsonReader& reader, ContainerRecord* record) {
  STASIS_RETURN_IF_ERROR(ReadTime(reader, "Created", &record->created));
  if (const Json* config = reader.Find("Config")) {
    STASIS_ASSIGN_OR_RETURN(record->config, backend::ContainerConfigFromJson(*config));
  }
  if (const Json* host_config = reader.Find("HostConfig")) {
    STASIS_ASSIGN_OR_RETURN(record->host_config, backend::HostConfigFromJson(*host_config));
  }
  if (const Json* state = reader.Find("State")) {
    STASIS_ASSIGN_OR_RETURN(record->state, RunStateFromJson(*state));
  }
  if (const Json* mounts = reader.Find("Mounts"); mounts && mounts->is_array()) {
    for (const Json& entry : *mounts) {
      STASIS_ASSIGN_OR_RETURN(ContainerMount mount, MountFromJson(entry));
      record->mounts.push_back(std::move(mount));
    }
  }
  if (const Json* exiting = reader.Find("ExitingCheckpoint")) {
    ExitingCheckpoint checkpoint;
    JsonReader fields(*exiting, "ExitingCheckpoint");
    fields.Get("Name", &checkpoint.name);
    fields.Get("Directory", &checkpoint.directory);
    STASIS_RETURN_IF_ERROR(fields.status());
    record->exiting_checkpoint = std::move(checkpoint);
  }
  return {};
}

}  // namespace

std::string_view ToText(Phase phase) {
  for (const auto& [candidate, text] : kPhases) {
    if (candidate == phase) return text;
  }
  return "";
}

StatusOr<Phase> PhaseFromText(std::string_view text) {
  for (const auto& [phase, candidate] : kPhases) {
    if (candidate == text) return phase;
  }
  return DataLoss("unknown phase of a container: " + std::string(text));
}

Json ToJson(const ContainerRecord& record) {
  Json mounts = Json::array();
  for (const ContainerMount& mount : record.mounts) mounts.push_back(ToJson(mount));
  Json json = {{"Id", record.id.str()},
               {"Name", record.name},
               {"Created", ToRfc3339(record.created)},
               {"ImageId", record.image_id},
               {"Argv", record.argv},
               {"Config", backend::ToJson(record.config)},
               {"HostConfig", backend::ToJson(record.host_config)},
               {"Mounts", std::move(mounts)},
               {"State", ToJson(record.state)},
               {"RestartCount", record.restart_count},
               {"StoppedByUser", record.stopped_by_user},
               {"EndedByCheckpoint", record.ended_by_checkpoint}};
  if (record.exiting_checkpoint) {
    json["ExitingCheckpoint"] = {{"Name", record.exiting_checkpoint->name},
                                 {"Directory", record.exiting_checkpoint->directory}};
  }
  return json;
}

StatusOr<ContainerRecord> RecordFromJson(const Json& json) {
  std::string id_text;
  JsonReader reader(json, "container");
  reader.Get("Id", &id_text);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_ASSIGN_OR_RETURN(ContainerId id, ContainerId::Parse(id_text));
  ContainerRecord record{.id = std::move(id)};
  reader.Get("Name", &record.name);
  reader.Get("ImageId", &record.image_id);
  reader.Get("Argv", &record.argv);
  reader.Get("RestartCount", &record.restart_count);
  reader.Get("StoppedByUser", &record.stopped_by_user);
  reader.Get("EndedByCheckpoint", &record.ended_by_checkpoint);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(Annotate(ReadParts(reader, &record), "container " + id_text));
  return record;
}

backend::ContainerState ToApi(const RunState& state) {
  backend::ContainerState api;
  api.status = std::string(ToText(state.phase));
  api.running = IsAlive(state.phase) || state.phase == Phase::kRestarting;
  api.paused = state.phase == Phase::kPaused;
  api.restarting = state.phase == Phase::kRestarting;
  api.dead = state.phase == Phase::kDead;
  api.oom_killed = state.oom_killed;
  api.pid = state.pid;
  api.exit_code = state.exit_code;
  api.error = state.error;
  api.started_at = state.started_at;
  api.finished_at = state.finished_at;
  api.checkpoint = state.checkpoint;
  return api;
}

}  // namespace stasis::engine
