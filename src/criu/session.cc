#include "criu/session.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <tuple>
#include <utility>

#include "criu_rpc/rpc.pb.h"
#include "linux/cancel.h"

namespace stasis::criu {
namespace {

constexpr size_t kMaxMessage = 64 << 10;
constexpr int kChildSocket = 3;

// Deleted files that are still open are saved whole, whatever their size; the most that the 32-bit field
// holds.
constexpr uint32_t kGhostLimit = 0xfffff000;

Status Send(int socket, const rpc::Request& request) {
  std::string bytes;
  if (!request.SerializeToString(&bytes)) return Internal("criu request: not serialisable");
  ssize_t sent;
  do {
    sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return ErrnoError(errno, "send to criu");
  return absl::OkStatus();
}

// Until CRIU says something, or has ended: its socket alone does not tell of its end, while a helper of its
// own holds it too. kUnavailable, kDeadlineExceeded, kCancelled.
Status AwaitMessage(int socket, int process, Deadline deadline, std::stop_token cancel) {
  pollfd polled[] = {{socket, POLLIN, 0}, {process, POLLIN, 0}};
  STASIS_RETURN_IF_ERROR(WaitForAny(polled, deadline, std::move(cancel)));
  return polled[0].revents != 0 ? absl::OkStatus() : Unavailable("criu has ended");
}

// kUnavailable: the other side is gone.
StatusOr<rpc::Response> Receive(int socket, const ProcessHandle& process, Deadline deadline,
                                std::stop_token cancel) {
  STASIS_RETURN_IF_ERROR(AwaitMessage(socket, process.fd(), deadline, std::move(cancel)));
  std::string bytes(kMaxMessage, '\0');
  ssize_t got;
  do {
    got = ::recv(socket, bytes.data(), bytes.size(), MSG_TRUNC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return ErrnoError(errno, "receive from criu");
  if (got == 0) return Unavailable("criu closed the connection");
  if (static_cast<size_t>(got) > bytes.size()) return DataLoss("criu sent a message over the limit");
  rpc::Response response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(got))) {
    return DataLoss("criu sent a message that is not its RPC");
  }
  return response;
}

rpc::Options ToRpc(const DumpOptions& options) {
  rpc::Options out;
  out.set_images_dir_fd(options.images_directory);
  out.set_work_dir_fd(options.work_directory);
  out.set_log_file(options.log_file);
  out.set_log_level(options.log_level);
  out.set_pid(options.process);
  out.set_root(options.root);
  if (!options.freezer.empty()) out.set_freeze_cgroup(options.freezer);
  out.set_timeout(options.freeze_timeout_s);
  out.set_notify_scripts(true);
  out.set_leave_running(options.leave_running);
  out.set_tcp_established(options.tcp_established);
  out.set_ext_unix_sk(options.external_unix_sockets);
  out.set_shell_job(options.shell_job);
  out.set_file_locks(true);
  out.set_orphan_pts_master(true);
  out.set_force_irmap(options.force_irmap);
  out.set_ghost_limit(kGhostLimit);
  out.set_manage_cgroups_mode(rpc::CGROUPS_IGNORED);
  out.set_network_lock(rpc::LOCK_SKIPPED);
  if (options.empty_namespaces != 0) out.set_empty_ns(options.empty_namespaces);
  for (const std::string& external : options.external) out.add_external(external);
  for (const ExternalMount& mount : options.external_mounts) {
    rpc::ExternalMount* added = out.add_ext_mnt();
    added->set_key(mount.key);
    added->set_val(mount.value);
  }
  return out;
}

}  // namespace

std::string Version::Text() const {
  std::string text = std::to_string(major) + "." + std::to_string(minor);
  if (sublevel != 0) text += "." + std::to_string(sublevel);
  return text;
}

Status CheckVersion(const Version& version) {
  if (std::tie(version.major, version.minor) >= std::tie(kOldestVersion.major, kOldestVersion.minor)) {
    return absl::OkStatus();
  }
  return FailedPrecondition("CRIU " + version.Text() + " is too old, " + kOldestVersion.Text() +
                            " or newer is needed; scripts/setup installs one");
}

StatusOr<Session> Session::Start(const Program& program) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError(errno, "socketpair");
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);

  Command command;
  command.argv = {program.path, "swrk", std::to_string(kChildSocket)};
  command.env = BaseEnvironment();
  if (!program.preload.empty()) command.env["LD_PRELOAD"] = program.preload;
  if (!program.shown_memory.empty()) command.env["STASIS_SHOWN_MEMORY"] = program.shown_memory;
  if (!program.waits.empty()) command.env["STASIS_WAITS"] = program.waits;
  if (!program.late_signals.empty()) command.env["STASIS_LATE_SIGNALS"] = program.late_signals;
  if (!program.kerndat.empty()) command.env["STASIS_KERNDAT"] = program.kerndat;
  if (!program.task_images.empty()) command.env["STASIS_TASK_IMAGES"] = program.task_images;
  if (!program.sockets.empty()) command.env["STASIS_SOCKETS"] = program.sockets;
  if (!program.outside_peers.empty()) command.env["STASIS_OUTSIDE_PEERS"] = program.outside_peers;
  if (program.layer_made != 0) command.env["STASIS_LAYER_MADE"] = std::to_string(program.layer_made);
  command.fds = {{kChildSocket, theirs.get()}};
  // It must not die with us by a signal: it sees the socket closed at its next notification, and lets the
  // tasks go on unharmed.
  command.die_with_parent = false;
  command.new_session = true;  // and a process group: Helpers
  auto child = Spawn(command);
  if (!child.ok()) return Annotate(child.status(), "start criu");
  return Session(std::move(ours), *std::move(child));
}

StatusOr<Version> Session::AskVersion(Deadline deadline, std::stop_token cancel) {
  rpc::Request request;
  request.set_type(rpc::VERSION);
  request.set_keep_open(true);
  STASIS_RETURN_IF_ERROR(Send(socket_.get(), request));
  auto response = Receive(socket_.get(), child_.process(), deadline, std::move(cancel));
  if (absl::IsUnavailable(response.status())) return Died();
  if (!response.ok()) return response.status();
  if (!response->success() || !response->has_version()) return DataLoss("criu does not tell its version");
  return Version{response->version().major_number(), response->version().minor_number(),
                 response->version().sublevel()};
}

Status Session::BeginDump(const DumpOptions& options) {
  rpc::Request request;
  request.set_type(rpc::DUMP);
  *request.mutable_opts() = ToRpc(options);
  return Send(socket_.get(), request);
}

StatusOr<Event> Session::Next(Deadline deadline, std::stop_token cancel) {
  auto response = Receive(socket_.get(), child_.process(), deadline, std::move(cancel));
  if (absl::IsUnavailable(response.status())) return Died();
  if (!response.ok()) return response.status();
  Event event;
  if (response->type() == rpc::NOTIFY) {
    event.notification = response->notify().script();
    return event;
  }
  event.done = true;
  event.success = response->success() && response->type() == rpc::DUMP;
  event.error = response->cr_errmsg();
  return event;
}

Status Session::Answer(bool success) {
  rpc::Request request;
  request.set_type(rpc::NOTIFY);
  request.set_notify_success(success);
  return Send(socket_.get(), request);
}

void Session::End(Deadline deadline) {
  child_.process().WaitEnded(deadline, {}).IgnoreError();
  Kill();
}

void Session::Kill() {
  helpers_.Kill();
  child_.Kill();
}

Session::Helpers& Session::Helpers::operator=(Helpers&& other) noexcept {
  std::swap(group_, other.group_);
  return *this;
}

void Session::Helpers::Kill() {
  if (const pid_t group = std::exchange(group_, 0); group > 1) ::kill(-group, SIGKILL);
}

Status Session::Died() {
  // Its socket is closed by its end, so it is (almost) a zombie already.
  if (!child_.process().WaitEnded(After(std::chrono::seconds(5)), {}).ok()) {
    Kill();
    return Unavailable("criu closed its connection");
  }
  helpers_.Kill();
  auto exit = child_.Wait(kNoDeadline, {});
  if (!exit.ok()) return Unavailable("criu has ended");
  if (exit->signal != 0) return Unavailable("criu was killed by signal " + std::to_string(exit->signal));
  return Unavailable("criu ended with exit code " + std::to_string(exit->code));
}

}  // namespace stasis::criu
