// Mounting (mount(2), umount2(2)) and reading /proc/self/mountinfo.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace stasis {

Status Mount(const std::string& source, const std::string& target, const std::string& type,
             unsigned long flags, const std::string& data);
// Not an error when nothing is mounted there. A last link is not followed. `detach`: MNT_DETACH, gone from
// sight at once.
Status Unmount(const std::string& target, bool detach);
// Unmounts all that is mounted at or below `path`, deepest first, detaching. Not an error when `path` is
// gone.
Status UnmountBelow(const std::string& path);

struct MountEntry {
  int id = 0;
  int parent_id = 0;
  std::string device;       // "MAJOR:MINOR" of the file system
  std::string root;         // path inside its file system
  std::string mount_point;  // unescaped
  std::string type;
  std::string source;
  std::string options;        // per mount
  std::string super_options;  // of the file system
};
// /proc/PID/mountinfo (proc_pid_mountinfo(5)); `process` is a pid as text, or "self".
StatusOr<std::vector<MountEntry>> ReadMounts(const std::string& process = "self");
// The same from text.
StatusOr<std::vector<MountEntry>> ParseMounts(std::string_view text);

// Where the file system is mounted that `path` lies on, if it is full: less than 256 KiB of it are free, or
// no inode. Empty: it is not, or that cannot be told.
std::string FullFileSystem(const std::string& path);

}  // namespace stasis
