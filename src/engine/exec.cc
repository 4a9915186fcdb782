// Further processes in a running container.
#include <fcntl.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "engine/bundle.h"
#include "engine/engine.h"
#include "engine/log_entry.h"
#include "engine/status_text.h"
#include "linux/random_hex.h"
#include "linux/unix_socket.h"

namespace stasis::engine {
namespace {

constexpr std::chrono::seconds kAttachLimit{10};

// Docker's codes for a command that is not there, and for one that cannot be run.
int FailureCode(const Status& why) {
  const std::string message = Message(why);
  const bool missing = message.find("executable file not found") != std::string::npos ||
                       message.find("no such file or directory") != std::string::npos;
  return missing ? 127 : 126;
}

// `name`: what the client called it.
Status CheckExecAllowed(const ContainerRecord& record, const std::string& name) {
  const std::string who = "Container " + name;
  if (record.state.phase == Phase::kPaused) {
    return FailedPrecondition(who + " is paused, unpause the container before exec");
  }
  if (record.state.phase == Phase::kRestarting) {
    return FailedPrecondition(who + " is restarting, wait until the container is running");
  }
  return IsAlive(record.state.phase) ? Status()
                                     : FailedPrecondition("Container " + record.id.str() + " is not running");
}

// A stream that says why there is none, as Docker writes it to the client that attached.
StatusOr<UniqueFd> StreamOf(const Status& why, bool terminal) {
  STASIS_ASSIGN_OR_RETURN(SocketPair pair, MakeSocketPair());
  const LogEntry entry{Message(why) + "\r\n", false, absl::Now()};
  STASIS_RETURN_IF_ERROR(
      SendExactly(pair.second.get(), Render(entry, false, terminal), After(std::chrono::seconds(1)), {}));
  return std::move(pair.first);
}

StatusOr<types::AddProcessRequest> PlanRequest(const Exec& exec, const ContainerRecord& record,
                                               const std::string& root, const oci::HostLimits& limits) {
  const backend::ExecConfig& config = exec.config();
  STASIS_ASSIGN_OR_RETURN(const oci::ProcessOptions process, PlanExec(record, root,
                                                                      {.args = config.cmd,
                                                                       .env = config.env,
                                                                       .user = config.user,
                                                                       .working_dir = config.working_dir,
                                                                       .terminal = config.tty,
                                                                       .privileged = config.privileged}));
  types::AddProcessRequest request;
  request.set_id(record.id.str());
  request.set_pid(exec.id());
  request.set_terminal(config.tty);
  request.mutable_user()->set_uid(process.uid);
  request.mutable_user()->set_gid(process.gid);
  request.mutable_user()->mutable_additionalgids()->Assign(process.additional_gids.begin(),
                                                           process.additional_gids.end());
  request.mutable_args()->Assign(process.args.begin(), process.args.end());
  request.mutable_env()->Assign(process.env.begin(), process.env.end());
  request.set_cwd(process.cwd);
  request.set_nonewprivileges(process.no_new_privileges);
  if (config.privileged) {
    request.mutable_capabilities()->Assign(limits.capabilities.begin(), limits.capabilities.end());
  }
  STASIS_ASSIGN_OR_RETURN(const std::vector<oci::Rlimit> rlimits, SettleRlimits(process.rlimits, limits));
  for (const oci::Rlimit& rlimit : rlimits) {
    types::Rlimit* const limit = request.add_rlimits();
    limit->set_type(rlimit.type);
    limit->set_soft(rlimit.soft);
    limit->set_hard(rlimit.hard);
  }
  request.set_open_stdin(config.attach_stdin);
  request.set_width(config.console_size.width);
  request.set_height(config.console_size.height);
  return request;
}

}  // namespace

StatusOr<std::string> Engine::CreateExec(const std::string& name, const backend::ExecConfig& config) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  if (config.cmd.empty()) return InvalidArgument("No exec command specified");
  const ContainerRecord record = container->Record();
  STASIS_RETURN_IF_ERROR(CheckExecAllowed(record, name));
  if (!config.working_dir.empty() && config.working_dir[0] != '/') {
    return InvalidArgument("the working directory '" + config.working_dir +
                           "' is invalid, it needs to be an absolute path");
  }
  const auto exec = std::make_shared<Exec>(RandomHex(32), record.id.str(), config);
  execs_.Insert(exec);
  Emit(ContainerEvent(record, "exec_create: " + CommandText(config.cmd), {{"execID", exec->id()}}));
  return exec->id();
}

Status Engine::StartExecDetached(const std::string& id) {
  STASIS_ASSIGN_OR_RETURN(const std::shared_ptr<Exec> exec, execs_.Find(id));
  STASIS_RETURN_IF_ERROR(exec->BeginRunning());
  return RunExec(exec, false, {});
}

// An exec whose client has been answered, and that runs once it is connected.
class Engine::ExecSession final : public backend::AttachSession {
 public:
  ExecSession(Engine& engine, std::shared_ptr<Exec> exec, backend::ConsoleSize size)
      : engine_(engine), exec_(std::move(exec)), size_(size) {}
  bool terminal() const override { return exec_->config().tty; }
  StatusOr<UniqueFd> Connect(std::stop_token cancel) override {
    StatusOr<UniqueFd> stream = engine_.StartAttached(exec_, size_, std::move(cancel));
    if (stream.ok()) return stream;
    exec_->Finish(FailureCode(stream.status()));
    return StreamOf(stream.status(), terminal());
  }
  void Detached() override {
    const StatusOr<ContainerRef> container = engine_.containers_.Find(exec_->container());
    if (!container.ok()) return;
    engine_.Emit(ContainerEvent((*container)->Record(), "exec_detach", {{"execID", exec_->id()}}));
  }

 private:
  Engine& engine_;
  const std::shared_ptr<Exec> exec_;
  const backend::ConsoleSize size_;
};

StatusOr<std::unique_ptr<backend::AttachSession>> Engine::AttachExec(const std::string& id,
                                                                     backend::ConsoleSize size) {
  STASIS_ASSIGN_OR_RETURN(const std::shared_ptr<Exec> exec, execs_.Find(id));
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(exec->container()));
  STASIS_RETURN_IF_ERROR(CheckExecAllowed(container->Record(), exec->container()));
  STASIS_RETURN_IF_ERROR(exec->BeginRunning());
  return std::unique_ptr<backend::AttachSession>(std::make_unique<ExecSession>(*this, exec, size));
}

StatusOr<UniqueFd> Engine::StartAttached(const std::shared_ptr<Exec>& exec, backend::ConsoleSize size,
                                         std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(exec->container()));
  const std::string socket = container->attach_socket();
  if (socket.empty()) return FailedPrecondition("Container " + exec->container() + " is not running");
  protocol::AttachRequest request;
  request.process = exec->id();
  request.use_stdin = exec->config().attach_stdin;
  request.use_stdout = exec->config().attach_stdout;
  request.use_stderr = exec->config().attach_stderr;
  STASIS_ASSIGN_OR_RETURN(UniqueFd stream, AskToAttach(socket, request));
  exec->WatchStream(UniqueFd(::fcntl(stream.get(), F_DUPFD_CLOEXEC, 0)));
  STASIS_RETURN_IF_ERROR(RunExec(exec, true, {}));  // a client that leaves now does not end it
  STASIS_RETURN_IF_ERROR(AwaitAttached(stream.get(), After(kAttachLimit), std::move(cancel)));
  if (exec->config().tty && size.width > 0 && size.height > 0) {
    supervisor_->Resize(exec->container(), exec->id(), size.width, size.height)
        .IgnoreError();  // it may have ended
  }
  return stream;
}

Status Engine::RunExec(const std::shared_ptr<Exec>& exec, bool attached, std::stop_token cancel) {
  const auto run = [&]() -> StatusOr<int> {
    STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(exec->container()));
    const ContainerRecord record = container->Record();
    STASIS_RETURN_IF_ERROR(CheckExecAllowed(record, exec->container()));
    STASIS_ASSIGN_OR_RETURN(const image::Image image, images_->Find(record.image_id));
    STASIS_ASSIGN_OR_RETURN(const std::string root, images_->MountRoot(record.id, image));
    STASIS_ASSIGN_OR_RETURN(types::AddProcessRequest request, PlanRequest(*exec, record, root, host_.limits));
    request.set_wait_for_attach(attached);
    STASIS_ASSIGN_OR_RETURN(const int pid, supervisor_->AddProcess(request, std::move(cancel)));
    Emit(ContainerEvent(record, "exec_start: " + CommandText(exec->config().cmd), {{"execID", exec->id()}}));
    return pid;
  };
  const StatusOr<int> pid = run();
  if (pid.ok()) {
    exec->SetPid(*pid);
    return {};
  }
  exec->Finish(FailureCode(pid.status()));
  return pid.status();
}

void Engine::HandleExecExit(const std::string& id, int code) {
  const StatusOr<std::shared_ptr<Exec>> exec = execs_.Find(id);
  if (!exec.ok()) return;  // of an engine before this one
  (*exec)->Finish(code);
  const StatusOr<ContainerRef> container = containers_.Find((*exec)->container());
  if (!container.ok()) return;
  Emit(ContainerEvent((*container)->Record(), "exec_die",
                      {{"execID", id}, {"exitCode", std::to_string(code)}}));
}

Status Engine::ResizeExec(const std::string& id, uint32_t width, uint32_t height) {
  STASIS_ASSIGN_OR_RETURN(const std::shared_ptr<Exec> exec, execs_.Find(id));
  if (exec->finished()) return FailedPrecondition("exec " + id + " is not running");
  if (!exec->config().tty) return {};  // as for a container without a terminal
  return supervisor_->Resize(exec->container(), id, width, height);
}

StatusOr<backend::ExecDetails> Engine::InspectExec(const std::string& id) {
  STASIS_ASSIGN_OR_RETURN(const std::shared_ptr<Exec> exec, execs_.Find(id));
  return exec->Describe();
}

}  // namespace stasis::engine
