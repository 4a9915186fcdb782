#include "linux/mounts.h"

#include <sys/mount.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "linux/files.h"

namespace stasis {
namespace {

constexpr int kUnmountPasses = 16;  // mounts stacked on one another show up again

// The kernel writes space, tab, newline and backslash as \ and three octal digits.
std::string Unescape(std::string_view text) {
  auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    bool escaped = text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
                   is_octal(text[i + 3]);
    if (!escaped) {
      out += text[i];
      continue;
    }
    out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return out;
}

std::vector<std::string_view> SplitWords(std::string_view line) {
  std::vector<std::string_view> words;
  for (size_t begin = 0; begin <= line.size();) {
    size_t end = std::min(line.find(' ', begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

bool ParseId(std::string_view text, int* out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue": any number of optional
// fields before the dash.
bool ParseLine(std::string_view line, MountEntry* entry) {
  std::vector<std::string_view> words = SplitWords(line);
  auto dash = std::find(words.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(6, words.size())),
                        words.end(), "-");
  if (words.end() - dash < 4) return false;
  if (!ParseId(words[0], &entry->id) || !ParseId(words[1], &entry->parent_id)) return false;
  entry->device = words[2];
  entry->root = Unescape(words[3]);
  entry->mount_point = Unescape(words[4]);
  entry->options = words[5];
  entry->type = dash[1];
  entry->source = Unescape(dash[2]);
  entry->super_options = Unescape(dash[3]);
  return true;
}

}  // namespace

Status Mount(const std::string& source, const std::string& target, const std::string& type,
             unsigned long flags, const std::string& data) {
  const char* type_or_none = type.empty() ? nullptr : type.c_str();
  const char* data_or_none = data.empty() ? nullptr : data.c_str();
  if (::mount(source.c_str(), target.c_str(), type_or_none, flags, data_or_none) == 0)
    return absl::OkStatus();
  return ErrnoError(errno, "mount " + (type.empty() ? source : type) + " on " + target);
}

Status Unmount(const std::string& target, bool detach) {
  if (::umount2(target.c_str(), UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0)) == 0) return absl::OkStatus();
  if (errno == EINVAL || errno == ENOENT) return absl::OkStatus();  // no mount point, or not even a path
  return ErrnoError(errno, "unmount " + target);
}

Status UnmountBelow(const std::string& path) {
  const StatusOr<std::string> resolved = RealPath(path);  // mountinfo knows no links
  if (!resolved.ok()) return GetErrno(resolved.status()) == ENOENT ? absl::OkStatus() : resolved.status();
  const std::string prefix = *resolved == "/" ? "/" : *resolved + "/";
  for (int pass = 0; pass < kUnmountPasses; ++pass) {
    STASIS_ASSIGN_OR_RETURN(std::vector<MountEntry> mounts, ReadMounts());
    std::erase_if(mounts, [&](const MountEntry& entry) {
      return entry.mount_point != *resolved && !entry.mount_point.starts_with(prefix);
    });
    if (mounts.empty()) return absl::OkStatus();
    std::stable_sort(mounts.begin(), mounts.end(), [](const MountEntry& a, const MountEntry& b) {
      return a.mount_point.size() > b.mount_point.size();
    });
    for (const MountEntry& entry : mounts)
      STASIS_RETURN_IF_ERROR(Unmount(entry.mount_point, /*detach=*/true));
  }
  return FailedPrecondition("unmount below " + path + ": mounts are left");
}

StatusOr<std::vector<MountEntry>> ReadMounts(const std::string& process) {
  const auto text = ReadFile("/proc/" + process + "/mountinfo");
  // The first thread has let go of its namespaces, in an execve(2) of another one or at the process's end.
  if (GetErrno(text.status()) == EINVAL)
    return Unavailable("process " + process + " is just ending, or executes itself");
  STASIS_RETURN_IF_ERROR(text.status());
  return ParseMounts(*text);
}

StatusOr<std::vector<MountEntry>> ParseMounts(std::string_view text) {
  std::vector<MountEntry> entries;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    MountEntry entry;
    if (!ParseLine(text.substr(0, end), &entry)) {
      return InvalidArgument("not a line of mountinfo: " + std::string(text.substr(0, end)));
    }
    entries.push_back(std::move(entry));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return entries;
}

std::string FullFileSystem(const std::string& path) {
  constexpr uint64_t kRoom = 256 << 10;
  struct statvfs state = {};
  if (::statvfs(path.c_str(), &state) != 0) return "";
  const bool has_inodes = state.f_files == 0 || state.f_ffree > 0;  // some file systems do not count them
  if (has_inodes && uint64_t{state.f_bfree} * state.f_frsize >= kRoom) return "";
  const auto real = RealPath(path);
  const auto mounts = ReadMounts();
  if (!real.ok() || !mounts.ok()) return "";
  std::string longest;
  for (const MountEntry& mount : *mounts) {
    const std::string below = mount.mount_point == "/" ? "/" : mount.mount_point + "/";
    if ((*real + "/").starts_with(below) && mount.mount_point.size() >= longest.size())
      longest = mount.mount_point;
  }
  return longest;
}

}  // namespace stasis
