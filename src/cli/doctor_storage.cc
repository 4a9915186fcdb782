// Where containers live: cgroups, overlay, space.
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "cli/units.h"
#include "linux/cgroup.h"
#include "linux/files.h"
#include "linux/mounts.h"

namespace stasis::cli {
namespace {

constexpr char kCgroupRoot[] = "/sys/fs/cgroup";

bool HasWord(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
    const bool begins = at == 0 || text[at - 1] == ' ';
    const size_t end = at + word.size();
    if (begins && (end == text.size() || text[end] == ' ' || text[end] == '\n')) return true;
  }
  return false;
}

Check CheckControllers(CgroupLayout layout) {
  std::string v2_controllers;
  if (layout == CgroupLayout::kV2)
    v2_controllers = ReadFile(std::string(kCgroupRoot) + "/cgroup.controllers").value_or("");
  auto has = [&](const std::string& name) {
    return layout == CgroupLayout::kV2 ? HasWord(v2_controllers, name) : Exists(kCgroupRoot + ("/" + name));
  };
  const std::string name = layout == CgroupLayout::kV2 ? "cgroups v2" : "cgroups v1";
  std::string found, missing;
  for (const char* controller : {"cpu", "memory", "pids"})
    (has(controller) ? found : missing) += std::string(" ") + controller;
  if (layout == CgroupLayout::kV1 && !has("freezer"))
    return {name, Verdict::kFail, "no freezer: a container cannot be held still",
            "mount the freezer hierarchy"};
  if (!missing.empty())
    return {name, Verdict::kWarn, "missing:" + missing + ": such limits do not work",
            "enable the controllers (kernel command line cgroup_enable=, or mount them)"};
  return {name, Verdict::kOk, "controllers" + found + (layout == CgroupLayout::kV1 ? " freezer" : "")};
}

// The directory itself, or the nearest above it that exists.
std::string Existing(std::string path) {
  while (path.size() > 1 && !Exists(path)) path.erase(std::max<size_t>(path.rfind('/'), 1));
  return path.empty() ? "/" : path;
}

// Mounts an overlay of two layers in `directory`, changes a file through it and looks where the change went.
Status TryOverlay(const std::string& directory) {
  for (const char* name : {"/lower", "/upper", "/work", "/merged"})
    STASIS_RETURN_IF_ERROR(MakeDirectories(directory + name));
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(directory + "/lower/file", "below"));
  const std::string merged = directory + "/merged";
  const std::string data =
      "lowerdir=" + directory + "/lower,upperdir=" + directory + "/upper,workdir=" + directory + "/work";
  STASIS_RETURN_IF_ERROR(Mount("overlay", merged, "overlay", 0, data));
  Status changed = WriteFileAtomically(merged + "/file", "above");
  auto upper = ReadFile(directory + "/upper/file");
  STASIS_RETURN_IF_ERROR(Unmount(merged, /*detach=*/true));
  STASIS_RETURN_IF_ERROR(changed);
  STASIS_RETURN_IF_ERROR(upper.status());
  return *upper == "above" ? absl::OkStatus() : Internal("a change did not reach the upper layer");
}

Check CheckOverlay(const std::string& root) {
  const std::string parent = Existing(root);
  Status status;
  if (auto directory = TemporaryDirectory::Create(parent, "stasis-doctor-"); directory.ok()) {
    status = TryOverlay(directory->path());
  } else {
    status = directory.status();
  }
  if (status.ok()) return {"overlay", Verdict::kOk, "mounted and written on the file system of " + parent};
  return {"overlay", Verdict::kFail, "on the file system of " + parent + ": " + Message(status),
          "run as root; a kernel with OVERLAY_FS; give --root a directory on ext4 or xfs, not on an overlay"};
}

Check CheckSpace(const std::string& root) {
  constexpr uint64_t kFew = uint64_t{2} << 30;
  constexpr uint64_t kTooFew = uint64_t{200} << 20;
  const std::string parent = Existing(root);
  struct statvfs space {};
  if (::statvfs(parent.c_str(), &space) < 0)
    return {"disk", Verdict::kFail, parent + " cannot be looked at", "give --root another directory"};
  const uint64_t bytes = uint64_t{space.f_bavail} * space.f_frsize;
  const std::string seen = HumanSize(bytes) + " free at " + parent;
  const std::string remedy =
      "make room, or give --root a directory elsewhere: a checkpoint needs the container's memory";
  if (bytes < kTooFew) return {"disk", Verdict::kFail, seen, remedy};
  if (bytes < kFew) return {"disk", Verdict::kWarn, seen, remedy};
  return {"disk", Verdict::kOk, seen};
}

}  // namespace

Checks CheckCgroups() {
  const auto layout = DetectCgroupLayout();
  if (!layout.ok())
    return {{"cgroups", Verdict::kFail, Message(layout.status()), "mount cgroup2 on /sys/fs/cgroup"}};
  return {CheckControllers(*layout)};
}

Checks CheckStorage(const std::string& root) { return {CheckOverlay(root), CheckSpace(root)}; }

}  // namespace stasis::cli
