#include "protocol/checkpointer.h"

#include "protocol/fields.h"

namespace stasis::protocol {

std::string KerndatFile(std::string_view runtime_root) {
  return std::string(runtime_root.substr(0, runtime_root.rfind('/') + 1)) + "criu.kerndat";
}

Json ToJson(const CheckpointPlan& plan) {
  return {{"request", ToJson(plan.request)},
          {"container_id", plan.container_id},
          {"bundle", plan.bundle},
          {"init_pid", plan.init_pid},
          {"cgroup_path", plan.cgroup_path},
          {"criu", plan.criu},
          {"shim_directory", plan.shim_directory},
          {"paused", plan.paused},
          {"failed_log", plan.failed_log},
          {"exec_processes", plan.exec_processes}};
}

StatusOr<CheckpointPlan> CheckpointPlanFromJson(const Json& json) {
  CheckpointPlan plan;
  JsonReader reader(json, "plan");
  STASIS_RETURN_IF_ERROR(GetStruct(reader, "request", CheckpointRequestFromJson, &plan.request));
  reader.Get("container_id", &plan.container_id);
  reader.Get("bundle", &plan.bundle);
  reader.Get("init_pid", &plan.init_pid);
  reader.Get("cgroup_path", &plan.cgroup_path);
  reader.Get("criu", &plan.criu);
  reader.Get("shim_directory", &plan.shim_directory);
  reader.Get("paused", &plan.paused);
  reader.Get("failed_log", &plan.failed_log);
  reader.Get("exec_processes", &plan.exec_processes);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (plan.init_pid <= 1) return InvalidArgument("plan.init_pid: want a process of a container");
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(plan.bundle, "plan.bundle"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(plan.shim_directory, "plan.shim_directory"));
  return plan;
}

Json ToJson(const RestorePlan& plan) {
  return {{"checkpoint", plan.checkpoint},
          {"store", plan.store},
          {"images", plan.images},
          {"socket", plan.socket},
          {"container_id", plan.container_id},
          {"host_name", plan.host_name}};
}

StatusOr<RestorePlan> RestorePlanFromJson(const Json& json) {
  RestorePlan plan;
  JsonReader reader(json, "plan");
  reader.Get("checkpoint", &plan.checkpoint);
  reader.Get("store", &plan.store);
  reader.Get("images", &plan.images);
  reader.Get("socket", &plan.socket);
  reader.Get("container_id", &plan.container_id);
  reader.Get("host_name", &plan.host_name);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(plan.checkpoint, "plan.checkpoint"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(plan.store, "plan.store"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(plan.images, "plan.images"));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(plan.socket, "plan.socket"));
  return plan;
}

}  // namespace stasis::protocol
