#include "supervisor/spec_json.h"

#include <string>
#include <vector>

namespace stasis::supervisor {
namespace {

template <typename Strings>
std::vector<std::string> Copy(const Strings& strings) {
  return {strings.begin(), strings.end()};
}

void SetNumber(Json& object, const char* field, uint64_t value) {
  if (value != 0) object[field] = value;
}

void SetText(Json& object, const char* field, const std::string& value) {
  if (!value.empty()) object[field] = value;
}

void SetThrottle(Json& object, const char* field,
                 const google::protobuf::RepeatedPtrField<types::ThrottleDevice>& devices) {
  for (const types::ThrottleDevice& device : devices) {
    object[field].push_back({{"major", device.blkiodevice().major()},
                             {"minor", device.blkiodevice().minor()},
                             {"rate", device.rate()}});
  }
}

Json BlockIoSpec(const types::UpdateResource& resources) {
  Json block_io = Json::object();
  SetNumber(block_io, "weight", resources.blkioweight());
  SetNumber(block_io, "leafWeight", resources.blkioleafweight());
  for (const types::WeightDevice& device : resources.blkioweightdevice()) {
    Json entry = {{"major", device.blkiodevice().major()}, {"minor", device.blkiodevice().minor()}};
    SetNumber(entry, "weight", device.weight());
    SetNumber(entry, "leafWeight", device.leafweight());
    block_io["weightDevice"].push_back(entry);
  }
  SetThrottle(block_io, "throttleReadBpsDevice", resources.blkiothrottlereadbpsdevice());
  SetThrottle(block_io, "throttleWriteBpsDevice", resources.blkiothrottlewritebpsdevice());
  SetThrottle(block_io, "throttleReadIOPSDevice", resources.blkiothrottlereadiopsdevice());
  SetThrottle(block_io, "throttleWriteIOPSDevice", resources.blkiothrottlewriteiopsdevice());
  return block_io;
}

}  // namespace

StatusOr<Json> ProcessSpec(const types::AddProcessRequest& request) {
  if (request.args().empty()) return InvalidArgument("process " + request.pid() + ": no arguments");
  Json spec = {{"terminal", request.terminal()},
               {"args", Copy(request.args())},
               {"env", Copy(request.env())},
               {"cwd", request.cwd().empty() ? "/" : request.cwd()},
               {"noNewPrivileges", request.nonewprivileges()}};
  spec["user"] = {{"uid", request.user().uid()}, {"gid", request.user().gid()}};
  for (uint32_t gid : request.user().additionalgids()) spec["user"]["additionalGids"].push_back(gid);
  if (!request.capabilities().empty()) {
    std::vector<std::string> all = Copy(request.capabilities());
    spec["capabilities"] = {
        {"bounding", all}, {"effective", all}, {"permitted", all}, {"inheritable", Json::array()}};
  }
  SetText(spec, "apparmorProfile", request.apparmorprofile());
  SetText(spec, "selinuxLabel", request.selinuxlabel());
  for (const types::Rlimit& limit : request.rlimits()) {
    spec["rlimits"].push_back({{"type", limit.type()}, {"soft", limit.soft()}, {"hard", limit.hard()}});
  }
  return spec;
}

Json ResourcesSpec(const types::UpdateResource& resources) {
  Json memory = Json::object();
  SetNumber(memory, "limit", resources.memorylimit());
  SetNumber(memory, "swap", resources.memoryswap());
  SetNumber(memory, "reservation", resources.memoryreservation());
  SetNumber(memory, "kernel", resources.kernelmemorylimit());
  SetNumber(memory, "kernelTCP", resources.kerneltcpmemorylimit());
  Json cpu = Json::object();
  SetNumber(cpu, "shares", resources.cpushares());
  SetNumber(cpu, "period", resources.cpuperiod());
  if (resources.cpuquota() != 0) cpu["quota"] = static_cast<int64_t>(resources.cpuquota());  // -1: no limit
  SetText(cpu, "cpus", resources.cpusetcpus());
  SetText(cpu, "mems", resources.cpusetmems());
  Json block_io = BlockIoSpec(resources);

  Json spec = Json::object();
  if (!memory.empty()) spec["memory"] = memory;
  if (!cpu.empty()) spec["cpu"] = cpu;
  if (!block_io.empty()) spec["blockIO"] = block_io;
  return spec;
}

}  // namespace stasis::supervisor
