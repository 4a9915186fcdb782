#include "oci/seccomp.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "oci/default_seccomp.h"

namespace stasis::oci {
namespace {

constexpr size_t kMaxRules = 4096;

struct Condition {
  std::vector<std::string> architectures;
  std::vector<std::string> capabilities;
  std::string min_kernel;
};

StatusOr<Condition> ReadCondition(const Json& rule, const char* field) {
  Condition condition;
  auto found = rule.find(field);
  if (found == rule.end() || found->is_null()) return condition;
  JsonReader reader(*found, field);
  reader.Get("arches", &condition.architectures);
  reader.Get("caps", &condition.capabilities);
  reader.Get("minKernel", &condition.min_kernel);
  STASIS_RETURN_IF_ERROR(reader.status());
  return condition;
}

bool Contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

StatusOr<bool> KernelIsAtLeast(const std::string& version, const SeccompContext& context) {
  int major = 0, minor = 0;
  char rest = 0;
  if (std::sscanf(version.c_str(), "%4d.%4d%c", &major, &minor, &rest) != 2) {
    return InvalidArgument("minKernel \"" + version + "\": want MAJOR.MINOR");
  }
  return std::pair(context.kernel_major, context.kernel_minor) >= std::pair(major, minor);
}

// Whether the rule is meant for this container: all of `includes` hold, nothing of `excludes` does.
StatusOr<bool> Applies(const Json& rule, const SeccompContext& context) {
  STASIS_ASSIGN_OR_RETURN(Condition excludes, ReadCondition(rule, "excludes"));
  STASIS_ASSIGN_OR_RETURN(Condition includes, ReadCondition(rule, "includes"));
  if (Contains(excludes.architectures, context.architecture)) return false;
  for (const std::string& capability : excludes.capabilities) {
    if (Contains(context.capabilities, capability)) return false;
  }
  if (!excludes.min_kernel.empty()) {
    STASIS_ASSIGN_OR_RETURN(bool newer, KernelIsAtLeast(excludes.min_kernel, context));
    if (newer) return false;
  }
  if (!includes.architectures.empty() && !Contains(includes.architectures, context.architecture))
    return false;
  for (const std::string& capability : includes.capabilities) {
    if (!Contains(context.capabilities, capability)) return false;
  }
  if (!includes.min_kernel.empty()) {
    STASIS_ASSIGN_OR_RETURN(bool newer, KernelIsAtLeast(includes.min_kernel, context));
    if (!newer) return false;
  }
  return true;
}

StatusOr<Json> ConvertArguments(const Json& rule) {
  Json out = Json::array();
  auto found = rule.find("args");
  if (found == rule.end() || found->is_null()) return out;
  if (!found->is_array()) return InvalidArgument("args: want a list");
  for (const Json& argument : *found) {
    uint32_t index = 0;
    uint64_t value = 0, value_two = 0;
    std::string op;
    JsonReader reader(argument, "args");
    reader.Get("index", &index);
    reader.Get("value", &value);
    reader.Get("valueTwo", &value_two);
    reader.Get("op", &op);
    STASIS_RETURN_IF_ERROR(reader.status());
    if (index > 5) return InvalidArgument("args.index: a system call has 6 arguments");
    Json converted = {{"index", index}, {"value", value}, {"op", op}};
    if (value_two != 0) converted["valueTwo"] = value_two;
    out.push_back(std::move(converted));
  }
  return out;
}

StatusOr<Json> ConvertRule(const Json& rule) {
  std::vector<std::string> names;
  std::string name, action;
  uint32_t error = 0;
  JsonReader reader(rule, "syscalls");
  reader.Get("names", &names);
  reader.Get("name", &name);
  reader.Get("action", &action);
  reader.Get("errnoRet", &error);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (!name.empty() && !names.empty()) {
    return InvalidArgument(
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'");
  }
  if (!name.empty()) names.push_back(name);
  if (names.empty()) return InvalidArgument("a rule of the seccomp profile names no system call");
  Json out = {{"names", names}, {"action", action}};
  if (reader.Find("errnoRet")) out["errnoRet"] = error;
  STASIS_ASSIGN_OR_RETURN(Json arguments, ConvertArguments(rule));
  if (!arguments.empty()) out["args"] = std::move(arguments);
  return out;
}

StatusOr<std::vector<std::string>> Architectures(const JsonReader& reader,
                                                 std::vector<std::string> architectures,
                                                 const std::string& native) {
  const Json* map = reader.Find("archMap");
  if (!map) return architectures;
  if (!map->is_array()) return InvalidArgument("archMap: want a list");
  if (!architectures.empty() && !map->empty()) {
    return InvalidArgument(
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' "
        "or "
        "'archMap'");
  }
  static const std::map<std::string, std::string> kNames = {{"amd64", "SCMP_ARCH_X86_64"},
                                                            {"arm64", "SCMP_ARCH_AARCH64"}};
  auto wanted = kNames.find(native);
  for (const Json& entry : *map) {
    std::string architecture;
    std::vector<std::string> others;
    JsonReader item(entry, "archMap");
    item.Get("architecture", &architecture);
    item.Get("subArchitectures", &others);
    STASIS_RETURN_IF_ERROR(item.status());
    if (wanted == kNames.end() || architecture != wanted->second) continue;
    architectures.push_back(architecture);
    architectures.insert(architectures.end(), others.begin(), others.end());
    break;
  }
  return architectures;
}

}  // namespace

std::string NativeArchitecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#else
#error "the seccomp profile has no data for this architecture"
#endif
}

const Json& DefaultSeccompProfile() {
  static const Json profile = *ParseJson(kDefaultSeccompProfile);
  return profile;
}

StatusOr<Json> ConvertSeccompProfile(const Json& profile, const SeccompContext& context) {
  std::string default_action, listener_path;
  uint32_t default_error = 0;
  std::vector<std::string> architectures, flags;
  JsonReader reader(profile, "seccomp profile");
  reader.Get("defaultAction", &default_action);
  reader.Get("defaultErrnoRet", &default_error);
  reader.Get("architectures", &architectures);
  reader.Get("flags", &flags);
  reader.Get("listenerPath", &listener_path);
  STASIS_RETURN_IF_ERROR(reader.status());
  const Json* rules = reader.Find("syscalls");
  if (rules && !rules->is_array()) return InvalidArgument("seccomp profile.syscalls: want a list");
  if (rules && rules->size() > kMaxRules) return InvalidArgument("seccomp profile: too many rules");
  if (default_action.empty() && (!rules || rules->empty())) return Json(nullptr);
  // A listener gets a descriptor into the container and answers for the kernel: a socket of the caller's
  // choice is more than a profile may ask for.
  if (!listener_path.empty()) return InvalidArgument("seccomp profile.listenerPath is not supported");

  Json out = {{"defaultAction", default_action}};
  if (reader.Find("defaultErrnoRet")) out["defaultErrnoRet"] = default_error;
  STASIS_ASSIGN_OR_RETURN(architectures,
                          Architectures(reader, std::move(architectures), context.architecture));
  if (!architectures.empty()) out["architectures"] = architectures;
  if (!flags.empty()) out["flags"] = flags;
  Json converted = Json::array();
  static const Json kNoRules = Json::array();
  for (const Json& rule : rules ? *rules : kNoRules) {
    if (!rule.is_object()) return InvalidArgument("seccomp profile.syscalls: want objects");
    STASIS_ASSIGN_OR_RETURN(bool applies, Applies(rule, context));
    if (!applies) continue;
    STASIS_ASSIGN_OR_RETURN(Json call, ConvertRule(rule));
    converted.push_back(std::move(call));
  }
  if (!converted.empty()) out["syscalls"] = std::move(converted);
  return out;
}

}  // namespace stasis::oci
