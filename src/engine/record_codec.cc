#include "engine/record_codec.h"

#include "base/json.h"
#include "base/time.h"

namespace stasis::engine {
namespace {

using Problems = std::vector<Status>;

void AddProblem(const Status& status, Problems& problems) {
  if (!status.ok()) problems.push_back(status);
}

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

// Docker's zero time means "never".
void ReadTime(const JsonReader& reader, std::string_view field, absl::Time* out, Problems& problems) {
  const Json* value = reader.Find(field);
  if (!value || !value->is_string()) return;
  const StatusOr<absl::Time> time = FromRfc3339(value->get<std::string>());
  if (!time.ok()) return AddProblem(Annotate(time.status(), field), problems);
  *out = *time < absl::UnixEpoch() ? absl::InfinitePast() : *time;
}

RunState DecodeRunState(const Json& json, Problems& problems) {
  RunState state;
  std::string phase;
  JsonReader reader(json, "State");
  reader.Get("Phase", &phase);
  reader.Get("Pid", &state.pid);
  reader.Get("ExitCode", &state.exit_code);
  reader.Get("OomKilled", &state.oom_killed);
  reader.Get("Error", &state.error);
  reader.Get("Checkpoint", &state.checkpoint);
  AddProblem(reader.status(), problems);
  const StatusOr<Phase> known = PhaseFromText(phase);
  AddProblem(known.status(), problems);
  // Whether it runs all the same, the supervisor says.
  state.phase = known.value_or(Phase::kExited);
  ReadTime(reader, "StartedAt", &state.started_at, problems);
  ReadTime(reader, "FinishedAt", &state.finished_at, problems);
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

ContainerMount DecodeMount(const Json& json, Problems& problems) {
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
  AddProblem(reader.status(), problems);
  return mount;
}

void DecodeParts(const JsonReader& reader, ContainerRecord* record, Problems& problems) {
  ReadTime(reader, "Created", &record->created, problems);
  if (const Json* config = reader.Find("Config"))
    record->config = backend::DecodeContainerConfig(*config, &problems);
  if (const Json* host_config = reader.Find("HostConfig"))
    record->host_config = backend::DecodeHostConfig(*host_config, &problems);
  if (const Json* state = reader.Find("State")) record->state = DecodeRunState(*state, problems);
  if (const Json* mounts = reader.Find("Mounts"); mounts && mounts->is_array()) {
    for (const Json& entry : *mounts) record->mounts.push_back(DecodeMount(entry, problems));
  }
  if (const Json* exiting = reader.Find("ExitingCheckpoint")) {
    ExitingCheckpoint checkpoint;
    JsonReader fields(*exiting, "ExitingCheckpoint");
    fields.Get("Name", &checkpoint.name);
    fields.Get("Directory", &checkpoint.directory);
    AddProblem(fields.status(), problems);
    record->exiting_checkpoint = std::move(checkpoint);
  }
}

}  // namespace

std::string EncodeRecord(const ContainerRecord& record) {
  Json mounts = Json::array();
  for (const ContainerMount& mount : record.mounts) mounts.push_back(ToJson(mount));
  Json json = {{"Version", kRecordVersion},
               {"Id", record.id.str()},
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
  return DumpJson(json);
}

StatusOr<DecodedRecord> DecodeRecord(std::string_view text) {
  const StatusOr<Json> json = ParseJson(text);
  if (!json.ok()) return DataLoss("record: " + Message(json.status()));
  std::string id_text;
  int version = kRecordVersion;  // records of the first programs have none
  JsonReader head(*json, "record");
  head.Get("Id", &id_text);
  head.Get("Version", &version);
  if (!head.status().ok()) return DataLoss(Message(head.status()));
  if (version > kRecordVersion) {
    return Unimplemented("a newer Stasis wrote it (record version " + std::to_string(version) +
                         ", this program knows " + std::to_string(kRecordVersion) + ")");
  }
  StatusOr<ContainerId> id = ContainerId::Parse(id_text);
  if (!id.ok()) return DataLoss("record: " + Message(id.status()));
  DecodedRecord decoded{.record = {.id = *std::move(id)}, .problems = {}};
  ContainerRecord& record = decoded.record;
  JsonReader reader(*json, "record");
  reader.Get("Name", &record.name);
  reader.Get("ImageId", &record.image_id);
  reader.Get("Argv", &record.argv);
  reader.Get("RestartCount", &record.restart_count);
  reader.Get("StoppedByUser", &record.stopped_by_user);
  reader.Get("EndedByCheckpoint", &record.ended_by_checkpoint);
  AddProblem(reader.status(), decoded.problems);
  DecodeParts(reader, &record, decoded.problems);
  return decoded;
}

ContainerRecord UnreadableRecord(const ContainerId& id, const std::string& name, const Status& why) {
  ContainerRecord record{.id = id, .name = name, .created = absl::UnixEpoch()};
  record.state.phase = Phase::kDead;
  record.state.error = "its record cannot be read (" + Message(why) + "): it can only be removed";
  record.unreadable = true;
  return record;
}

}  // namespace stasis::engine
