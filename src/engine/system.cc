// Who the engine is, and what happens.
#include "engine/engine.h"
#include "linux/subprocess.h"

namespace stasis::engine {
namespace {

// The first line of `PROGRAM --version`, or why there is none.
std::string ProgramVersion(const std::string& program) {
  if (program.empty()) return "";
  Command command;
  command.argv = {program, "--version"};
  command.env = BaseEnvironment();
  const StatusOr<CommandResult> result = Run(command, {.deadline = After(std::chrono::seconds(10))});
  if (!result.ok()) return "";
  const std::string line = result->output.substr(0, result->output.find('\n'));
  const size_t blank = line.rfind(' ');  // "runc version 1.3.6", "Version: 4.2.1"
  return blank == std::string::npos ? line : line.substr(blank + 1);
}

}  // namespace

void Engine::ReadProgramVersions() {
  std::call_once(programs_once_, [&] {
    runc_version_ = ProgramVersion(options_.runc);
    criu_version_ = ProgramVersion(options_.criu);
  });
}

backend::VersionInfo Engine::Version() {
  ReadProgramVersions();
  backend::VersionInfo info;
  info.version = options_.version;
  info.git_commit = options_.git_commit;
  info.build_time = options_.build_time;
  info.kernel_version = host_.kernel;
  info.components = {{"runc", runc_version_, {{"Path", options_.runc}}},
                     {"criu", criu_version_, {{"Path", options_.criu}}},
                     {"stasis-supervisor", supervisor_->Version().value_or("unreachable"), {}}};
  return info;
}

StatusOr<backend::SystemInfo> Engine::Info() {
  ReadProgramVersions();
  backend::SystemInfo info;
  info.id = store_->InstallationId().value_or("");  // it is made at the first call, which a full disk fails
  for (const ContainerRef& container : containers_.All()) {
    ++info.containers;
    switch (container->phase()) {
      case Phase::kRunning:
      case Phase::kRestarting:
        ++info.running;
        break;
      case Phase::kPaused:
        ++info.paused;
        break;
      case Phase::kCreated:
      case Phase::kRemoving:
      case Phase::kExited:
      case Phase::kDead:
        ++info.stopped;
        break;
    }
  }
  info.images = static_cast<int64_t>(images_->List().size());
  info.root_directory = options_.paths.root;
  info.name = host_.name;
  info.kernel_version = host_.kernel;
  info.operating_system = host_.operating_system;
  info.architecture = host_.architecture;
  info.cpus = host_.cpus;
  info.memory = host_.memory;
  info.cgroup_version = host_.cgroup_v2 ? "2" : "1";
  info.runc_version = runc_version_;
  if (const StatusOr<std::string> version = supervisor_->Version(); !version.ok()) {
    info.warnings.push_back("the supervisor does not answer: " + Message(version.status()));
  }
  return info;
}

Status Engine::Events(const backend::EventQuery& query,
                      const std::function<Status(const backend::EventMessage&)>& on_event,
                      std::stop_token cancel) {
  return events_.Follow(query, on_event, std::move(cancel));
}

}  // namespace stasis::engine
