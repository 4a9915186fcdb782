#include "checkpoint/description.h"

#include <sched.h>
#include <sys/utsname.h>

#include <unordered_map>
#include <utility>

#include "absl/time/clock.h"
#include "base/log.h"
#include "linux/cpu_features.h"

namespace stasis::checkpoint {
namespace {

static_assert(criu::kMaxProcesses <= kMaxProcesses, "what can be dumped has to fit into a manifest");

std::vector<ManifestProcess> ForManifest(const std::vector<criu::Process>& processes) {
  // Thousands of them with long command lines would make a manifest that nobody reads.
  const size_t most = processes.size() > 1000 ? 256 : criu::kMaxCommand;
  std::unordered_map<pid_t, pid_t> inside;  // by our own number
  for (const criu::Process& process : processes) inside[process.pid] = process.inside;
  std::vector<ManifestProcess> out;
  for (const criu::Process& process : processes) {
    ManifestProcess entry;
    entry.pid = process.inside;
    if (const auto parent = inside.find(process.parent); parent != inside.end())
      entry.parent = parent->second;
    entry.user = process.user;
    entry.name = process.name;
    entry.command = process.command.substr(0, most);
    entry.threads = process.threads;
    entry.resident_bytes = process.resident_bytes;
    out.push_back(std::move(entry));
  }
  return out;
}

// Of "ID (ARGV)".
std::string ExecWarning(const std::string& exec) {
  const size_t begin = exec.find(" (");
  const std::string command = begin == exec.npos ? exec : exec.substr(begin + 2, exec.size() - begin - 3);
  return "\"" + Printable(command, 256) +
         "\" was started by exec, beside the container's own processes: it is not in the checkpoint";
}

}  // namespace

void Describe(const protocol::CheckpointPlan& plan, const ContainerView& view,
              const std::vector<criu::Process>& processes, Manifest* manifest) {
  const protocol::CheckpointRequest& request = plan.request;
  manifest->name = request.name;
  manifest->container_id = plan.container_id;
  manifest->created = absl::Now();
  manifest->exit = request.exit;
  manifest->paused = plan.paused;
  struct utsname system = {};
  ::uname(&system);
  manifest->kernel = system.release;
  manifest->architecture = system.machine;
  manifest->cpu_features = CpuFeatures();
  manifest->tcp_established = request.tcp;
  manifest->external_unix_sockets = request.unix_sockets;
  manifest->shell_job = request.shell;
  manifest->empty_namespaces = request.empty_namespaces;
  manifest->network_namespace = view.network;
  manifest->processes = ForManifest(processes);
  manifest->exec_processes = plan.exec_processes;
  for (const std::string& exec : plan.exec_processes) manifest->warnings.push_back(ExecWarning(exec));
  manifest->engine_record = request.engine_record;
}

StatusOr<uint32_t> EmptyNamespaces(const std::vector<std::string>& names) {
  uint32_t flags = 0;
  for (const std::string& name : names) {
    if (name != "network" && name != "net") {
      return InvalidArgument("empty namespace " + name + ": CRIU can leave out only network");
    }
    flags |= CLONE_NEWNET;
  }
  return flags;
}

}  // namespace stasis::checkpoint
