#include "backend/unsupported_fields.h"

#include <algorithm>

namespace stasis::backend {
namespace {

struct Field {
  const char* object;  // "" is the body itself
  const char* name;
  bool refused;                            // else only warned of
  std::vector<std::string> harmless = {};  // values, as JSON, that ask for what happens anyway
};

constexpr char kHealthcheck[] = "Healthcheck";
constexpr char kNoHealthcheck[] = R"({"Test":["NONE"]})";

const std::vector<Field>& Fields() {
  static const std::vector<Field> kFields = {
      {"HostConfig", "VolumesFrom", true},
      {"HostConfig", "Links", true},
      {"HostConfig", "DeviceRequests", true},
      {"HostConfig", "DeviceCgroupRules", true},
      {"HostConfig", "StorageOpt", true},
      {"HostConfig", "VolumeDriver", true, {"\"local\""}},
      {"HostConfig", "UsernsMode", true, {"\"host\""}},
      {"HostConfig", "CgroupnsMode", true, {"\"private\""}},
      {"HostConfig", "Cgroup", true},
      {"HostConfig", "Isolation", true, {"\"default\""}},
      {"HostConfig", "CpuRealtimePeriod", true},
      {"HostConfig", "CpuRealtimeRuntime", true},
      {"HostConfig", "BlkioWeight", false},
      {"HostConfig", "BlkioWeightDevice", false},
      {"HostConfig", "BlkioDeviceReadBps", true},
      {"HostConfig", "BlkioDeviceWriteBps", true},
      {"HostConfig", "BlkioDeviceReadIOps", true},
      {"HostConfig", "BlkioDeviceWriteIOps", true},
      {"HostConfig", "KernelMemory", false},
      {"HostConfig", "KernelMemoryTCP", false},
      {"HostConfig", "CpuCount", false},
      {"HostConfig", "CpuPercent", false},
      {"HostConfig", "IOMaximumIOps", false},
      {"HostConfig", "IOMaximumBandwidth", false},
      {"", kHealthcheck, false, {kNoHealthcheck}},
      {"", "MacAddress", false},
  };
  return kFields;
}

// Whether a value asks for anything: Go's zero values do not.
bool AsksForSomething(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();  // null, lists and objects
}

std::string Ignored(const std::string& path) {
  return path + " is not implemented by Stasis yet and is ignored";
}

const Json* FindHealthcheck(const Json& config) {
  const Json* check = config.is_object() ? JsonReader(config).Find(kHealthcheck) : nullptr;
  return check != nullptr && AsksForSomething(*check) ? check : nullptr;
}

// What is asked of a container's place in a network. None of the networks that there are has any such place.
Status CheckEndpoints(const JsonReader& top, std::vector<std::string>* warnings) {
  const Json* networking = top.Find("NetworkingConfig");
  const Json* endpoints = networking ? JsonReader(*networking).Find("EndpointsConfig") : nullptr;
  if (!endpoints || !endpoints->is_object()) return absl::OkStatus();
  for (const auto& [network, endpoint] : endpoints->items()) {
    if (!endpoint.is_object()) continue;
    for (const auto& [field, value] : endpoint.items()) {
      if (!AsksForSomething(value)) continue;
      if (field == "Aliases") {
        return InvalidArgument(
            "network-scoped alias is supported only for containers in user defined networks");
      }
      if (field == "IPAMConfig") {
        return InvalidArgument("user specified IP address is supported on user defined networks only");
      }
      warnings->push_back(Ignored("NetworkingConfig.EndpointsConfig." + network + "." + field));
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::vector<std::string>> CheckUnsupportedFields(const Json& body) {
  std::vector<std::string> warnings;
  JsonReader top(body);
  for (const Field& field : Fields()) {
    const std::string object = field.object;
    const Json* holder = object.empty() ? &body : top.Find(object);
    if (!holder || !holder->is_object()) continue;
    const Json* value = JsonReader(*holder).Find(field.name);
    if (!value || !AsksForSomething(*value)) continue;
    if (std::find(field.harmless.begin(), field.harmless.end(), DumpJson(*value)) != field.harmless.end())
      continue;
    const std::string path = (object.empty() ? "" : object + ".") + field.name;
    if (field.refused) return Unimplemented(path + " is not implemented by Stasis yet");
    warnings.push_back(Ignored(path));
  }
  STASIS_RETURN_IF_ERROR(CheckEndpoints(top, &warnings));
  return warnings;
}

std::vector<std::string> IgnoredOfImage(const Json& image, const Json& asked) {
  const Json* check = FindHealthcheck(image);
  if (check == nullptr || DumpJson(*check) == kNoHealthcheck || FindHealthcheck(asked) != nullptr) return {};
  return {Ignored(kHealthcheck)};
}

}  // namespace stasis::backend
