// What the kernel can do, tried: its configuration is often not to be read, and a module may be missing.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/doctor.h"
#include "linux/files.h"

namespace stasis::cli {
namespace {

constexpr char kMinKernel[] = "5.11";  // close_range(2)
constexpr char kOtherKernel[] = "boot a kernel with this option; Debian's own kernels have it";

Check CheckVersion() {
  utsname system{};
  ::uname(&system);
  const std::string seen = std::string(system.release) + " " + system.machine;
  if (!VersionAtLeast(system.release, kMinKernel))
    return {"kernel", Verdict::kFail, seen, std::string("boot Linux ") + kMinKernel + " or later"};
  return {"kernel", Verdict::kOk, seen};
}

// prctl(2): only where CONFIG_CHECKPOINT_RESTORE is set.
Check CheckCheckpointRestore() {
  int* address = nullptr;
  if (::prctl(PR_GET_TID_ADDRESS, &address, 0, 0, 0) == 0)
    return {"CHECKPOINT_RESTORE", Verdict::kOk, "the kernel has it"};
  return {"CHECKPOINT_RESTORE", Verdict::kFail, "the kernel lacks it: nothing can be checkpointed",
          kOtherKernel};
}

Check CheckUserfaultfd() {
  UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  if (fd.valid()) return {"USERFAULTFD", Verdict::kOk, "the kernel has it"};
  return {"USERFAULTFD", Verdict::kWarn,
          std::string("not usable (") + std::strerror(errno) + "): no lazy restore", kOtherKernel};
}

// Bit 55 of a page's entry in pagemap tells that it was written since the last clear_refs (proc(5),
// soft-dirty).
StatusOr<bool> HasSoftDirty() {
  const auto page_size = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  void* page = ::mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return ErrnoError(errno, "mmap");
  auto* byte = static_cast<volatile char*>(page);
  *byte = 1;
  Status cleared = WriteControlFile("/proc/self/clear_refs", "4");
  *byte = 2;
  auto pagemap = OpenFile("/proc/self/pagemap", O_RDONLY);
  uint64_t entry = 0;
  const auto offset = static_cast<off_t>(reinterpret_cast<uintptr_t>(page) / page_size * sizeof entry);
  const bool read = pagemap.ok() && ::pread(pagemap->get(), &entry, sizeof entry, offset) == sizeof entry;
  ::munmap(page, page_size);
  STASIS_RETURN_IF_ERROR(cleared);
  if (!read) return Internal("pagemap cannot be read");
  return (entry >> 55 & 1) != 0;
}

Check CheckSoftDirty() {
  const auto has = HasSoftDirty();
  if (has.ok() && *has) return {"MEM_SOFT_DIRTY", Verdict::kOk, "the kernel has it"};
  return {"MEM_SOFT_DIRTY", Verdict::kInfo,
          "the kernel lacks it: no incremental dumps by CRIU; nothing needs them"};
}

std::string CapabilityText(uint64_t effective, const std::vector<std::pair<int, const char*>>& wanted) {
  std::string missing;
  for (const auto& [number, name] : wanted) {
    if ((effective >> number & 1) == 0) missing += std::string(missing.empty() ? "" : ", ") + name;
  }
  return missing;
}

StatusOr<uint64_t> EffectiveCapabilities() {
  STASIS_ASSIGN_OR_RETURN(std::string status, ReadFile("/proc/self/status"));
  constexpr char kField[] = "CapEff:\t";
  const size_t at = status.find(kField);
  if (at == status.npos) return Internal("/proc/self/status has no CapEff");
  return std::strtoull(status.c_str() + at + sizeof kField - 1, nullptr, 16);
}

Check CheckCapabilities() {
  const auto effective = EffectiveCapabilities();
  if (!effective.ok())
    return {"capabilities", Verdict::kFail, std::string(effective.status().message()), "mount /proc"};
  const std::string needed = CapabilityText(*effective, {{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
                                                         {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                                         {CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
                                                         {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
                                                         {CAP_CHOWN, "CAP_CHOWN"},
                                                         {CAP_KILL, "CAP_KILL"}});
  if (!needed.empty()) return {"capabilities", Verdict::kFail, "missing: " + needed, "run as root"};
  const std::string useful =
      CapabilityText(*effective, {{CAP_MKNOD, "CAP_MKNOD"}, {CAP_SETFCAP, "CAP_SETFCAP"}});
  if (!useful.empty())
    return {"capabilities", Verdict::kWarn,
            "missing: " + useful + ": images with devices or file capabilities fail",
            "run as root of the machine, not of a container"};
  return {"capabilities", Verdict::kOk, "all that are needed"};
}

Check CheckSysResource() {
  const auto effective = EffectiveCapabilities();
  if (effective.ok() && (*effective >> CAP_SYS_RESOURCE & 1) != 0)
    return {"CAP_SYS_RESOURCE", Verdict::kOk, "held"};
  return {"CAP_SYS_RESOURCE", Verdict::kWarn,
          "missing: no --ulimit above our own hard limit, no negative OOM score, --privileged without it; "
          "processes of "
          "other users are checkpointed with the help of a preloaded library",
          "run as root of the machine, not of a container or sandbox"};
}

Check CheckOpenFiles() {
  constexpr rlim_t kEnough = 8192;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::string seen = "at most " + std::to_string(limit.rlim_max) + " open files for each process";
  if (limit.rlim_max >= kEnough) return {"limits", Verdict::kOk, seen};
  return {"limits", Verdict::kWarn, seen + ": few containers at once",
          "raise the hard limit (ulimit -Hn, LimitNOFILE=) to " + std::to_string(kEnough)};
}

}  // namespace

Checks CheckKernel() {
  return {CheckVersion(), CheckCheckpointRestore(), CheckUserfaultfd(), CheckSoftDirty()};
}

Checks CheckNamespaces() {
  constexpr std::array kNeeded = {"mnt", "pid", "net", "ipc", "uts"};
  constexpr std::array kUseful = {"time", "cgroup", "user"};
  std::string missing, lacking;
  for (const char* name : kNeeded) {
    if (!Exists(std::string("/proc/self/ns/") + name)) missing += std::string(" ") + name;
  }
  for (const char* name : kUseful) {
    if (!Exists(std::string("/proc/self/ns/") + name)) lacking += std::string(" ") + name;
  }
  if (!missing.empty()) return {{"namespaces", Verdict::kFail, "missing:" + missing, kOtherKernel}};
  if (!lacking.empty())
    return {{"namespaces", Verdict::kWarn, "missing:" + lacking + "; without time, clocks jump at a restore",
             kOtherKernel}};
  return {{"namespaces", Verdict::kOk, "mnt pid net ipc uts time cgroup user"}};
}

Checks CheckRights() {
  if (::geteuid() != 0) return {{"root", Verdict::kFail, "not root", "run as root"}};
  return {CheckCapabilities(), CheckSysResource(), CheckOpenFiles()};
}

}  // namespace stasis::cli
