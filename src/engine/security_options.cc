#include "engine/security_options.h"

namespace stasis::engine {
namespace {

Status Invalid(const std::string& option) {
  return InvalidArgument("invalid --security-opt 2: \"" + option + "\"");
}

Status ParseSeccomp(const std::string& value, SecurityOptions* parsed) {
  if (value == "unconfined") {
    parsed->seccomp = oci::SeccompMode::kUnconfined;
    return {};
  }
  if (value == "builtin") return {};
  StatusOr<Json> profile = ParseJson(value);
  if (!profile.ok() || !profile->is_object()) {
    return InvalidArgument("Decoding seccomp profile failed: it is not a JSON object");
  }
  parsed->seccomp = oci::SeccompMode::kCustom;
  parsed->seccomp_profile = *std::move(profile);
  return {};
}

}  // namespace

StatusOr<SecurityOptions> ParseSecurityOptions(const std::vector<std::string>& options) {
  SecurityOptions parsed;
  for (const std::string& option : options) {
    if (option == "no-new-privileges") {
      parsed.no_new_privileges = true;
      continue;
    }
    const size_t separator = option.find_first_of("=:");
    if (separator == std::string::npos) return Invalid(option);
    const std::string name = option.substr(0, separator);
    const std::string value = option.substr(separator + 1);
    if (name == "seccomp") {
      STASIS_RETURN_IF_ERROR(ParseSeccomp(value, &parsed));
    } else if (name == "no-new-privileges" && (value == "true" || value == "false")) {
      parsed.no_new_privileges = value == "true";
    } else if (name == "systempaths" && value == "unconfined") {
      parsed.unmask_paths = true;
    } else if (name != "apparmor" && name != "label" && !(name == "writable-cgroups" && value == "false")) {
      return Invalid(option);
    }
  }
  return parsed;
}

}  // namespace stasis::engine
