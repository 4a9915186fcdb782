#include "backend/mount_json.h"

#include <algorithm>
#include <array>

namespace stasis::backend {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kOptionsOfTypes = {
    {{"BindOptions", "bind"}, {"TmpfsOptions", "tmpfs"}, {"VolumeOptions", "volume"}}};

// TmpfsOptions.Options: lists of a flag, or of a name and its value.
void ReadTmpfsOptions(const JsonReader& tmpfs, MountRequest* mount, Unread& unread) {
  const Json* list = tmpfs.Find("Options");
  if (!list) return;
  const auto is_option = [](const Json& option) {
    return option.is_array() && (option.size() == 1 || option.size() == 2) &&
           std::all_of(option.begin(), option.end(), [](const Json& word) { return word.is_string(); });
  };
  if (!list->is_array() || !std::all_of(list->begin(), list->end(), is_option)) {
    return unread.Add(
        InvalidArgument("Mounts.TmpfsOptions.Options: want a list of [NAME] and [NAME, VALUE]"));
  }
  for (const Json& option : *list) mount->tmpfs_options.push_back(option.get<std::vector<std::string>>());
}

}  // namespace

MountRequest MountFromJson(const Json& json, Unread& unread) {
  JsonReader reader(json, "Mounts");
  MountRequest mount;
  reader.Get("Type", &mount.type);
  reader.Get("Source", &mount.source);
  reader.Get("Target", &mount.target);
  reader.Get("ReadOnly", &mount.read_only);
  reader.Get("Consistency", &mount.consistency);
  unread.Add(reader.status());
  if (const Json* options = reader.Find("BindOptions")) {
    JsonReader bind(*options, "Mounts.BindOptions");
    bind.Get("Propagation", &mount.propagation);
    bind.Get("CreateMountpoint", &mount.create_source);
    bind.Get("NonRecursive", &mount.non_recursive);
    bind.Get("ReadOnlyNonRecursive", &mount.read_only_non_recursive);
    bind.Get("ReadOnlyForceRecursive", &mount.read_only_force_recursive);
    unread.Add(bind.status());
  }
  if (const Json* options = reader.Find("TmpfsOptions")) {
    JsonReader tmpfs(*options, "Mounts.TmpfsOptions");
    tmpfs.Get("SizeBytes", &mount.tmpfs_size);
    tmpfs.Get("Mode", &mount.tmpfs_mode);
    unread.Add(tmpfs.status());
    ReadTmpfsOptions(tmpfs, &mount, unread);
  }
  for (const auto& [member, type] : kOptionsOfTypes) {
    if (reader.Find(member) && mount.type != type) {
      unread.Add(InvalidArgument("invalid mount config for type \"" + mount.type + "\": field " +
                                 std::string(member) + " must not be specified"));
    }
  }
  return mount;
}

Json ToJson(const MountRequest& mount) {
  Json json{{"Type", mount.type}, {"Target", mount.target}};
  if (!mount.source.empty()) json["Source"] = mount.source;
  if (mount.read_only) json["ReadOnly"] = true;
  if (!mount.propagation.empty()) json["BindOptions"]["Propagation"] = mount.propagation;
  if (mount.create_source) json["BindOptions"]["CreateMountpoint"] = true;
  if (mount.non_recursive) json["BindOptions"]["NonRecursive"] = true;
  if (mount.read_only_non_recursive) json["BindOptions"]["ReadOnlyNonRecursive"] = true;
  if (mount.read_only_force_recursive) json["BindOptions"]["ReadOnlyForceRecursive"] = true;
  if (mount.tmpfs_size != 0) json["TmpfsOptions"]["SizeBytes"] = mount.tmpfs_size;
  if (mount.tmpfs_mode != 0) json["TmpfsOptions"]["Mode"] = mount.tmpfs_mode;
  if (!mount.tmpfs_options.empty()) json["TmpfsOptions"]["Options"] = mount.tmpfs_options;
  if (!mount.consistency.empty()) json["Consistency"] = mount.consistency;
  return json;
}

}  // namespace stasis::backend
