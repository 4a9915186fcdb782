// The look at a container's processes before anything is frozen.
#include <linux/kcmp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/log.h"
#include "criu/verdict.h"
#include "linux/files.h"
#include "linux/namespaces.h"
#include "linux/proc.h"
#include "linux/taken_descriptor.h"

namespace stasis::criu {
namespace {

// Kinds of anonymous inode, as /proc/PID/fd shows them, that CRIU has no way to save. Those it can: eventfd,
// eventpoll, inotify, fanotify, signalfd, timerfd, pidfd, and bpf maps where it was built for them.
struct AnonymousInode {
  std::string_view link;
  std::string_view message;  // behind "process 7 (node) "
};
constexpr AnonymousInode kUnsupportedInodes[] = {
    {"anon_inode:[io_uring]",
     "holds an io_uring instance, which CRIU cannot save; run the container with Docker's default seccomp "
     "profile, "
     "which makes programs do without, or switch it off in the program (node: UV_USE_IO_URING=0)"},
    {"anon_inode:[userfaultfd]",
     "holds a userfaultfd, which CRIU cannot save; switch off what uses it (a garbage collector, a lazy "
     "loader), or "
     "checkpoint after it was closed"},
    {"anon_inode:[perf_event]", "holds a perf event, which CRIU cannot save; end the profiler first"},
    {"anon_inode:bpf-prog", "holds a BPF program, which CRIU cannot save; end what loaded it first"},
    {"anon_inode:bpf_link", "holds a BPF link, which CRIU cannot save; end what loaded it first"},
    {"anon_inode:kvm-vm", "runs a virtual machine, which CRIU cannot save; shut it down first"},
    {"anon_inode:seccomp notify",
     "supervises others by seccomp, which CRIU cannot save; end the supervisor first"},
    {"anon_inode:[landlock-ruleset]", "holds a Landlock ruleset, which CRIU cannot save"},
    {"anon_inode:[fscontext]",
     "holds a mount that is being made, which CRIU cannot save; checkpoint again later"},
    {"anon_inode:sync_file", "holds a fence of a graphics device, which CRIU cannot save"},
    {"anon_inode:dmabuf", "holds a buffer shared with a device, which CRIU cannot save"},
};

// Namespaces that CRIU saves for the whole container only: a process with one of its own cannot be saved.
struct Namespace {
  const char* type;
  std::string_view what;
};
constexpr Namespace kWholeNamespaces[] = {
    {"pid", "a pid namespace"}, {"user", "a user namespace"}, {"ipc", "an IPC namespace"},
    {"uts", "a UTS namespace"}, {"time", "a time namespace"},
};

constexpr Namespace kThreadNamespaces[] = {
    {"net", "a network namespace"}, {"mnt", "a mount namespace"},     {"ipc", "an IPC namespace"},
    {"uts", "a UTS namespace"},     {"cgroup", "a cgroup namespace"},
};

// What clone(2) lets threads share or not; kcmp(2).
struct Shared {
  int kind;
  std::string_view what;
};
constexpr Shared kSharedByThreads[] = {{KCMP_FILES, "open files"}, {KCMP_FS, "a working directory"}};

std::string Says(const Process& process, std::string_view text) {
  return Label(process) + " " + std::string(text);
}

std::optional<std::string> JudgeNamespaces(const Process& init, const Process& process) {
  for (const Namespace& one : kWholeNamespaces) {
    auto outer = NamespaceInode(init.pid, one.type);
    auto inner = NamespaceInode(process.pid, one.type);
    if (!outer.ok() || !inner.ok() || *outer == *inner) continue;
    return Says(process,
                "runs in " + std::string(one.what) +
                    " of its own inside the container, which CRIU cannot save; end it first, or run it in a "
                    "container of its own");
  }
  return std::nullopt;
}

// CRIU writes -1 for the first thread of a process, and the restore fails.
std::optional<std::string> JudgeTimers(const Process& process) {
  const std::string pid = std::to_string(process.pid);
  auto timers = ReadFile(ProcPath(process.pid, "timers"));
  if (!timers.ok() || timers->find("/tid." + pid + "\n") == timers->npos) return std::nullopt;
  return Says(process,
              "has a timer that signals its first thread (SIGEV_THREAD_ID), which CRIU cannot restore; "
              "delete it first");
}

// The next child would be born into another one than its parent's. That one has no name before the first
// child; of a process that is ending no namespace has, but that of its pid.
std::optional<std::string> JudgeChildrensNamespace(const Process& process) {
  auto own = NamespaceInode(process.pid, "pid");
  auto childrens = NamespaceInode(process.pid, "pid_for_children");
  auto another = NamespaceInode(process.pid, "uts");
  if (!own.ok() || !another.ok() || (childrens.ok() && *own == *childrens)) return std::nullopt;
  return Says(
      process,
      "is to have its children in a pid namespace of their own, which CRIU cannot save; end it first");
}

bool IsEnding(pid_t thread) {
  const auto stat = ReadProcessStat(thread);
  return !stat.ok() || stat->ending;
}

// CRIU takes these for the whole process's: threads would come back sharing them.
std::optional<std::string> JudgeThread(const Process& process, pid_t thread) {
  for (const Namespace& one : kThreadNamespaces) {
    auto common = NamespaceInode(process.pid, one.type);
    auto own = NamespaceInode(thread, one.type);
    if (!common.ok() || !own.ok() || *common == *own) continue;
    return Says(process, "has a thread in " + std::string(one.what) +
                             " of its own, which CRIU cannot save; end it first");
  }
  for (const Shared& one : kSharedByThreads) {
    if (::syscall(SYS_kcmp, process.pid, thread, one.kind, 0, 0) <= 0) continue;
    // One that is ending, as all but one do in an execve, has let go of its own.
    if (IsEnding(process.pid) || IsEnding(thread)) continue;
    return Says(process, "has a thread with " + std::string(one.what) +
                             " of its own (unshare), which CRIU cannot save; end it first");
  }
  return std::nullopt;
}

std::optional<std::string> JudgeThreads(const Process& process) {
  if (process.threads < 2) return std::nullopt;
  auto threads = ListThreads(process.pid);
  if (!threads.ok()) return std::nullopt;
  for (const pid_t thread : *threads) {
    if (thread == process.pid) continue;
    if (auto verdict = JudgeThread(process, thread)) return verdict;
  }
  return std::nullopt;
}

std::optional<std::string> JudgeTracer(const std::vector<Process>& processes, const Process& process) {
  if (process.tracer == 0) return std::nullopt;
  std::string by = " by a process outside the container";
  for (const Process& other : processes) {
    if (other.pid == process.tracer) by = " by " + Label(other);
  }
  return Says(process, "is traced" + by +
                           ", and a process can have one tracer only; end the debugger or strace first");
}

bool IsTerminal(unsigned number) { return number == 4 || number == 5 || (number >= 128 && number <= 143); }

// Character devices that CRIU saves: the memory devices (null, zero, full, random, urandom, kmsg), terminals,
// tun.
bool IsSavedDevice(unsigned device_major, unsigned device_minor) {
  constexpr unsigned kMemory = 1, kMiscellaneous = 10, kTun = 200;
  return device_major == kMemory || IsTerminal(device_major) ||
         (device_major == kMiscellaneous && device_minor == kTun);
}

// One that counts down by one with each read; CRIU would bring it back as one that is emptied at once.
bool IsSemaphore(const Process& process, const std::string& descriptor) {
  auto information = ReadFile(ProcPath(process.pid, "fdinfo/" + descriptor));
  return information.ok() && information->find("eventfd-semaphore: 1") != information->npos;
}

// Where each pipe is open, by what /proc shows of it.
struct OpenPipe {
  const Process* process = nullptr;
  std::string descriptor;
};
using OpenPipes = std::map<std::string, OpenPipe>;

// CRIU has room for the content of so many (criu/pipes.c).
constexpr size_t kMostPipesWithData = 1024;

bool HasData(const OpenPipe& pipe) {
  int descriptor = -1;
  const char* end = pipe.descriptor.data() + pipe.descriptor.size();
  if (std::from_chars(pipe.descriptor.data(), end, descriptor).ec != std::errc()) return false;
  const auto opened = TakeDescriptor(pipe.process->pid, descriptor);
  int bytes = 0;
  return opened.ok() && ::ioctl(opened->get(), FIONREAD, &bytes) == 0 && bytes > 0;
}

std::optional<std::string> JudgePipes(const OpenPipes& pipes) {
  if (pipes.size() <= kMostPipesWithData) return std::nullopt;
  size_t with_data = 0;
  std::map<const Process*, size_t> of_process;
  for (const auto& [link, pipe] : pipes) {
    if (!HasData(pipe)) continue;
    ++with_data;
    ++of_process[pipe.process];
  }
  if (with_data <= kMostPipesWithData) return std::nullopt;
  const auto most = std::max_element(of_process.begin(), of_process.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return Says(*most->first, "has " + std::to_string(most->second) + " of the container's " +
                                std::to_string(with_data) + " pipes with unread data, and CRIU can save " +
                                std::to_string(kMostPipesWithData) +
                                " of them; checkpoint again when some were read");
}

std::optional<std::string> JudgeDescriptor(const Process& process, const std::string& directory,
                                           const std::string& descriptor, OpenPipes* pipes, Losses* losses) {
  const std::string path = directory + "/" + descriptor;
  auto link = ReadProcLink(path);
  if (!link.ok()) return std::nullopt;
  if (link->starts_with("pipe:[")) pipes->try_emplace(*link, OpenPipe{&process, descriptor});
  FindDescriptorLosses(process, descriptor, *link, losses);
  if (*link == "anon_inode:[eventfd]" && IsSemaphore(process, descriptor))
    return Says(
        process,
        "holds an eventfd that is a semaphore (EFD_SEMAPHORE), which CRIU cannot save; close it first");
  struct stat info = {};
  FileKind kind = FileKind::kOther;
  // A magic link: the file itself is looked at, nothing is opened.
  if (link->starts_with('/') && ::stat(path.c_str(), &info) == 0) {
    if (S_ISCHR(info.st_mode)) kind = FileKind::kCharacterDevice;
    if (S_ISBLK(info.st_mode)) kind = FileKind::kBlockDevice;
  }
  return JudgeFile(process, *link, kind, major(info.st_rdev), minor(info.st_rdev));
}

std::optional<std::string> JudgeOpenFiles(const Process& process, OpenPipes* pipes, Losses* losses) {
  std::string base = ProcPath(process.pid, "fd");
  auto descriptors = ListDirectory(base);
  if (!descriptors.ok()) return std::nullopt;
  for (const std::string& descriptor : *descriptors) {
    if (auto verdict = JudgeDescriptor(process, base, descriptor, pipes, losses)) return verdict;
  }
  return std::nullopt;
}

// A ring or a userfaultfd may live on in a mapping when its descriptor is closed.
std::optional<std::string> JudgeMappings(const Process& process) {
  auto maps = ReadFile(ProcPath(process.pid, "maps"));
  if (!maps.ok()) return std::nullopt;
  for (const AnonymousInode& inode : kUnsupportedInodes) {
    if (maps->find(inode.link) != maps->npos) return Says(process, inode.message);
  }
  if (maps->find("/secretmem (deleted)") != maps->npos) {
    return Says(process, "holds secret memory (memfd_secret), which nobody else can read; end it first");
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> JudgeFile(const Process& process, std::string_view link, FileKind kind,
                                     unsigned device_major, unsigned device_minor) {
  for (const AnonymousInode& inode : kUnsupportedInodes) {
    if (link == inode.link) return Says(process, inode.message);
  }
  if (kind == FileKind::kOther) return std::nullopt;
  if (kind == FileKind::kCharacterDevice && IsSavedDevice(device_major, device_minor)) return std::nullopt;
  return Says(process, "has the device " + Printable(link, 256) + " (" + std::to_string(device_major) + ":" +
                           std::to_string(device_minor) +
                           ") open, whose state CRIU cannot save; close it, or end the process first");
}

std::optional<std::string> Survey(const std::vector<Process>& processes, Losses* losses) {
  // Who is in a namespace says more than who made it.
  for (const Process& process : processes) {
    if (auto verdict = JudgeNamespaces(processes.front(), process)) return verdict;
  }
  OpenPipes pipes;
  for (const Process& process : processes) {
    if (auto verdict = JudgeTracer(processes, process)) return verdict;
    if (auto verdict = JudgeChildrensNamespace(process)) return verdict;
    if (auto verdict = JudgeTimers(process)) return verdict;
    if (auto verdict = JudgeThreads(process)) return verdict;
    if (auto verdict = JudgeOpenFiles(process, &pipes, losses)) return verdict;
    if (auto verdict = JudgeMappings(process)) return verdict;
    FindLosses(process, losses);
  }
  return JudgePipes(pipes);
}

}  // namespace stasis::criu
