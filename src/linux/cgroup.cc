#include "linux/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "linux/cancel.h"
#include "linux/files.h"
#include "linux/process_handle.h"

namespace stasis {
namespace {

constexpr char kRoot[] = "/sys/fs/cgroup";
constexpr std::chrono::seconds kThawLimit{10};
constexpr std::chrono::seconds kFreezeToKillLimit{1};
constexpr std::chrono::milliseconds kAttempt{50};  // most freezes take less than 5 ms

bool IsDirectory(const std::string& path) {
  struct stat found;
  return ::lstat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

bool IsGone(const Status& status) {
  // ENODEV: the group went between open and read.
  return GetErrno(status) == ENOENT || GetErrno(status) == ENODEV;
}

// The group and all below it, parents first; empty when it is not there.
std::vector<std::string> GroupsBelow(const std::string& directory) {
  std::vector<std::string> groups;
  if (IsDirectory(directory)) groups.push_back(directory);
  for (size_t next = 0; next < groups.size(); ++next) {
    auto names = ListDirectory(groups[next]);
    if (!names.ok()) continue;  // gone meanwhile
    for (const std::string& name : *names) {
      std::string path = groups[next] + "/" + name;
      if (IsDirectory(path)) groups.push_back(std::move(path));
    }
  }
  return groups;
}

// Our own group in a hierarchy of v1: a line "4:cpu,cpuacct:/PATH" of /proc/self/cgroup.
StatusOr<std::string> OwnGroup(std::string_view controller) {
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/self/cgroup"));
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::vector<std::string> names = absl::StrSplit(fields[1], ',');
    if (std::find(names.begin(), names.end(), controller) != names.end()) return fields[2];
  }
  return NotFound("no cgroup of our own for " + std::string(controller));
}

void ParsePids(std::string_view text, std::set<pid_t>* pids) {
  while (!text.empty()) {
    pid_t pid = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
    // 0 stands for one whom our pid namespace does not see.
    if (error == std::errc() && pid > 0) pids->insert(pid);
    size_t line = text.find('\n');
    text.remove_prefix(line == text.npos ? text.size() : line + 1);
  }
}

}  // namespace

StatusOr<CgroupLayout> DetectCgroupLayout() {
  struct statfs found;
  if (::statfs(kRoot, &found) != 0) return ErrnoError(errno, std::string("statfs ") + kRoot);
  return found.f_type == CGROUP2_SUPER_MAGIC ? CgroupLayout::kV2 : CgroupLayout::kV1;
}

StatusOr<Cgroup> Cgroup::Open(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(CgroupLayout layout, DetectCgroupLayout());
  return OpenAt(layout, kRoot, path);
}

StatusOr<Cgroup> Cgroup::OpenAt(CgroupLayout layout, const std::string& root, const std::string& path) {
  if (path.size() < 2 || path[0] != '/' || path.back() == '/')
    return InvalidArgument("not a cgroup: " + path);
  for (size_t begin = 1; begin <= path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    std::string part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return InvalidArgument("not a cgroup: " + path);
    begin = end + 1;
  }
  return Cgroup(layout, root, path);
}

std::string Cgroup::Directory(std::string_view controller) const {
  if (layout_ == CgroupLayout::kV2) return root_ + path_;
  return root_ + "/" + std::string(controller) + path_;
}

std::string Cgroup::FreezerDirectory() const { return Directory("freezer"); }

StatusOr<std::vector<std::string>> Cgroup::Directories() const {
  if (layout_ == CgroupLayout::kV2) return std::vector<std::string>{root_ + path_};
  // Named hierarchies and a cgroup2 beside them too: runc makes the group there as well.
  STASIS_ASSIGN_OR_RETURN(auto hierarchies, ListDirectory(root_));
  std::vector<std::string> out;
  for (const std::string& name : hierarchies) {
    if (IsDirectory(root_ + "/" + name)) out.push_back(root_ + "/" + name + path_);
  }
  return out;
}

Status Cgroup::WriteFrozen(bool frozen) const {
  if (layout_ == CgroupLayout::kV2)
    return WriteControlFile(FreezerDirectory() + "/cgroup.freeze", frozen ? "1" : "0");
  return WriteControlFile(FreezerDirectory() + "/freezer.state", frozen ? "FROZEN" : "THAWED");
}

StatusOr<bool> Cgroup::Frozen() const {
  if (layout_ == CgroupLayout::kV2) {
    STASIS_ASSIGN_OR_RETURN(std::string events, ReadFile(FreezerDirectory() + "/cgroup.events"));
    return ParseKeyedCgroupFile(events)["frozen"] == 1;
  }
  STASIS_ASSIGN_OR_RETURN(std::string state, ReadFile(FreezerDirectory() + "/freezer.state"));
  return state == "FROZEN\n";
}

Status Cgroup::WaitFrozen(bool frozen, Deadline deadline, std::stop_token cancel) const {
  UniqueFd events;
  if (layout_ == CgroupLayout::kV2) {
    STASIS_ASSIGN_OR_RETURN(events, OpenFile(FreezerDirectory() + "/cgroup.events", O_RDONLY));
  }
  for (;;) {
    // Reading by this descriptor arms the poll below: a change from now on ends it.
    if (events.valid()) {
      char byte;
      if (::pread(events.get(), &byte, 1, 0) < 0) return ErrnoError(errno, "read cgroup.events");
    }
    STASIS_ASSIGN_OR_RETURN(bool now, Frozen());
    if (now == frozen) return absl::OkStatus();
    // v1 tells nobody when it is done: it is asked each millisecond.
    bool ask_again = !events.valid();
    Deadline until = ask_again ? std::min(deadline, After(std::chrono::milliseconds(1))) : deadline;
    Status waited = WaitFor(events.get(), POLLPRI, until, cancel).status();
    bool passed = std::chrono::steady_clock::now() >= deadline;
    if (waited.code() == StatusCode::kDeadlineExceeded && ask_again && !passed) {
      // Who forked meanwhile may be out of the first order's reach (kernel, freezer-subsystem.rst).
      if (frozen) {
        STASIS_RETURN_IF_ERROR(WriteFrozen(true));
      }
      continue;
    }
    STASIS_RETURN_IF_ERROR(waited);
  }
}

StatusOr<bool> Cgroup::TryFreeze(Deadline deadline, const std::stop_token& cancel) const {
  STASIS_RETURN_IF_ERROR(Annotate(WriteFrozen(true), "freeze " + path_));
  const Deadline attempt = layout_ == CgroupLayout::kV1 ? std::min(deadline, After(kAttempt)) : deadline;
  const Status frozen = WaitFrozen(true, attempt, cancel);
  if (absl::IsDeadlineExceeded(frozen) && std::chrono::steady_clock::now() < deadline) return false;
  STASIS_RETURN_IF_ERROR(Annotate(frozen, "freeze " + path_));
  return true;
}

Status Cgroup::Freeze(Deadline deadline, std::stop_token cancel, uint64_t* thaws) const {
  for (;;) {
    const StatusOr<bool> frozen = TryFreeze(deadline, cancel);
    if (frozen.ok() && *frozen) return absl::OkStatus();
    const Status thawed = WriteFrozen(false);
    STASIS_RETURN_IF_ERROR(frozen.status());  // says more than the thaw's
    STASIS_RETURN_IF_ERROR(Annotate(thawed, "freeze " + path_ + ": thaw it for a moment"));
    if (thaws != nullptr) ++*thaws;
    const Status waited = WaitFor(-1, 0, std::min(deadline, After(kBetweenAttempts)), cancel).status();
    if (!absl::IsDeadlineExceeded(waited)) return Annotate(waited, "freeze " + path_);
  }
}

Status Cgroup::Thaw() const {
  STASIS_RETURN_IF_ERROR(Annotate(WriteFrozen(false), "thaw " + path_));
  return Annotate(WaitFrozen(false, After(kThawLimit), {}), "thaw " + path_);
}

StatusOr<std::vector<pid_t>> Cgroup::Processes() const {
  std::set<pid_t> pids;
  for (const std::string& group : GroupsBelow(FreezerDirectory())) {
    auto text = ReadFile(group + "/cgroup.procs");
    if (text.ok()) {
      ParsePids(*text, &pids);
    } else if (!IsGone(text.status()) && GetErrno(text.status()) != EOPNOTSUPP) {
      // EOPNOTSUPP: a threaded group of v2, whose processes the group above lists.
      return text.status();
    }
  }
  return std::vector<pid_t>(pids.begin(), pids.end());
}

Status Cgroup::TakeOut(pid_t process) const {
  if (layout_ == CgroupLayout::kV2) return absl::OkStatus();
  for (const std::string_view controller : {"freezer", "pids"}) {
    const std::string hierarchy = root_ + "/" + std::string(controller);
    if (!IsDirectory(hierarchy)) continue;
    STASIS_ASSIGN_OR_RETURN(const std::string own, OwnGroup(controller));
    STASIS_RETURN_IF_ERROR(WriteControlFile(hierarchy + own + "/cgroup.procs", std::to_string(process)));
  }
  return absl::OkStatus();
}

Status Cgroup::KillOnce(Deadline deadline) const {
  // Frozen first: then nobody forks away, and no pid in the list becomes another's before it is opened. One
  // that cannot be frozen (it sleeps uninterruptibly) is killed all the same.
  Freeze(std::min(deadline, After(kFreezeToKillLimit)), {}).IgnoreError();
  auto pids = Processes();
  std::vector<ProcessHandle> handles;
  if (pids.ok()) {
    for (pid_t pid : *pids) {
      auto handle = ProcessHandle::Open(pid);
      if (!handle.ok() || !handle->Signal(SIGKILL).ok()) continue;  // ended by itself
      handles.push_back(*std::move(handle));
    }
  }
  Status thawed = Thaw();
  if (!thawed.ok() && !IsGone(thawed)) return thawed;
  STASIS_RETURN_IF_ERROR(pids.status());
  for (const ProcessHandle& handle : handles) STASIS_RETURN_IF_ERROR(handle.WaitEnded(deadline, {}));
  return absl::OkStatus();
}

Status Cgroup::KillAll(Deadline deadline) const {
  for (;;) {
    STASIS_RETURN_IF_ERROR(Annotate(KillOnce(deadline), "kill " + path_));
    STASIS_ASSIGN_OR_RETURN(auto left, Processes());
    if (left.empty()) return absl::OkStatus();
    if (std::chrono::steady_clock::now() >= deadline)
      return DeadlineExceeded("kill " + path_ + ": some are left");
  }
}

uint64_t Cgroup::OomKills() const {
  const char* file = layout_ == CgroupLayout::kV2 ? "/memory.events" : "/memory.oom_control";
  auto text = ReadFile(Directory("memory") + file);
  return text.ok() ? ParseKeyedCgroupFile(*text)["oom_kill"] : 0;
}

StatusOr<CgroupStats> Cgroup::Stats() const {
  if (!IsDirectory(FreezerDirectory())) return NotFound("no cgroup " + path_);
  auto read = [this](std::string_view controller, std::string_view file) {
    auto text = ReadFile(Directory(controller) + "/" + std::string(file));
    return text.ok() ? *std::move(text) : std::string();
  };
  if (layout_ == CgroupLayout::kV2) return StatsFromV2(read);
  return StatsFromV1(read, static_cast<uint64_t>(::sysconf(_SC_CLK_TCK)));
}

Status SetLimits(const std::vector<CgroupLimit>& limits) {
  Status status;
  for (const CgroupLimit& limit : limits) {
    const Status set = WriteControlFile(limit.file, std::to_string(limit.value));
    if (!IsGone(set)) status.Update(set);
  }
  return status;
}

std::vector<CgroupLimit> Cgroup::Limits() const {
  constexpr uint64_t kNone = 1ull << 62;  // v1 writes a number near the greatest, v2 "max"
  const bool v2 = layout_ == CgroupLayout::kV2;
  const std::string memory = Directory("memory");
  std::vector<CgroupLimit> limits;
  for (const std::string& file :
       v2 ? std::vector<std::string>{memory + "/memory.high", memory + "/memory.max"}
          : std::vector<std::string>{memory + "/memory.limit_in_bytes",
                                     memory + "/memory.memsw.limit_in_bytes"}) {
    limits.push_back({CgroupLimit::Of::kMemory, file});
  }
  limits.push_back({CgroupLimit::Of::kProcesses, Directory("pids") + "/pids.max"});
  std::erase_if(limits, [](CgroupLimit& limit) {
    auto text = ReadFile(limit.file);
    return !text.ok() || !absl::SimpleAtoi(*text, &limit.value) || limit.value >= kNone;
  });
  return limits;
}

Status Cgroup::Remove() const {
  STASIS_ASSIGN_OR_RETURN(auto directories, Directories());
  for (const std::string& directory : directories) {
    std::vector<std::string> groups = GroupsBelow(directory);
    for (auto group = groups.rbegin(); group != groups.rend(); ++group) {
      if (::rmdir(group->c_str()) != 0 && errno != ENOENT)
        return ErrnoError(errno, "remove cgroup " + *group);
    }
  }
  return absl::OkStatus();
}

}  // namespace stasis
