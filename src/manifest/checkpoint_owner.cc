#include "manifest/checkpoint_owner.h"

#include <string_view>

#include "base/json.h"

namespace stasis {
namespace {

const Json& MemberOf(const Json& json, std::string_view name) {
  static const Json kNone = Json::object();
  if (!json.is_object()) return kNone;
  const auto found = json.find(name);
  return found == json.end() ? kNone : *found;
}

std::string TextOf(const Json& json, std::string_view name) {
  const Json& member = MemberOf(json, name);
  return member.is_string() ? member.get<std::string>() : std::string();
}

std::vector<std::string> TextsOf(const Json& json, std::string_view name) {
  std::vector<std::string> texts;
  const Json& member = MemberOf(json, name);
  if (!member.is_array()) return texts;
  for (const Json& entry : member) {
    if (entry.is_string()) texts.push_back(entry.get<std::string>());
  }
  return texts;
}

bool FlagOf(const Json& json, std::string_view name) {
  const Json& member = MemberOf(json, name);
  return member.is_boolean() && member.get<bool>();
}

std::vector<std::string> Options(const Json& record) {
  std::vector<std::string> options;
  const Json& config = MemberOf(record, "Config");
  const Json& host = MemberOf(record, "HostConfig");
  const auto text = [&](const char* option, const std::string& value) {
    if (!value.empty()) options.push_back(std::string(option) + "=" + value);
  };
  const auto flag = [&](const char* option, bool on) {
    if (on) options.emplace_back(option);
  };
  const auto texts = [&](const char* option, const std::vector<std::string>& values) {
    for (const std::string& value : values) text(option, value);
  };
  flag("--tty", FlagOf(config, "Tty"));
  flag("--interactive", FlagOf(config, "OpenStdin"));
  text("--user", TextOf(config, "User"));
  flag("--read-only", FlagOf(host, "ReadonlyRootfs"));
  flag("--privileged", FlagOf(host, "Privileged"));
  flag("--init", FlagOf(host, "Init"));
  texts("--cap-add", TextsOf(host, "CapAdd"));
  texts("--cap-drop", TextsOf(host, "CapDrop"));
  texts("--security-opt", TextsOf(host, "SecurityOpt"));
  const std::string network = TextOf(host, "NetworkMode");
  if (network != "default") text("--network", network);
  for (const auto& [option, field] :
       {std::pair("--ipc", "IpcMode"), {"--pid", "PidMode"}, {"--uts", "UTSMode"}}) {
    if (const std::string mode = TextOf(host, field); mode == "host") text(option, mode);
  }
  for (const Json& mount : MemberOf(record, "Mounts")) {
    const std::string read_only = MemberOf(mount, "RW") == Json(false) ? ",readonly" : "";
    const std::string source = TextOf(mount, "Source");
    options.push_back("--mount=type=" + TextOf(mount, "Type") + (source.empty() ? "" : ",source=" + source) +
                      ",target=" + TextOf(mount, "Destination") + read_only);
  }
  return options;
}

}  // namespace

CheckpointOwner OwnerOf(const std::string& engine_record) {
  const auto record = ParseJson(engine_record);
  if (!record.ok() || !record->is_object()) return {};
  CheckpointOwner owner;
  owner.name = TextOf(*record, "Name");
  owner.image = TextOf(MemberOf(*record, "Config"), "Image");
  owner.image_id = TextOf(*record, "ImageId");
  owner.options = Options(*record);
  owner.command = TextsOf(*record, "Argv");
  return owner;
}

CheckpointOwner OwnerOf(const Manifest& manifest) { return OwnerOf(manifest.engine_record); }

}  // namespace stasis
