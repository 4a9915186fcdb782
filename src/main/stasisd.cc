// stasisd: the engine behind the Docker Engine API. Starts the supervisor unless one is named.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/routes.h"
#include "api/server.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/supervisor_link.h"
#include "linux/cancel.h"
#include "linux/files.h"
#include "linux/regular_file.h"
#include "linux/unix_socket.h"
#include "supervisor_process.h"

namespace stasis {
namespace {

constexpr std::chrono::seconds kSupervisorLimit{30};

struct Flags {
  std::vector<std::string> hosts;
  std::string root = "/var/lib/stasis";
  std::string state = "/run/stasis";
  std::string supervisor;  // socket of one that somebody else starts
  std::string supervisor_program;
  std::string shim;
  std::string checkpointer;
  std::string criu = STASIS_CRIU;
  std::string runc = STASIS_RUNC;
  std::string log_level = "info";
  bool recover = false;
  bool print_routes = false;
};

std::string Beside(const char* program) {
  const StatusOr<std::string> self = RealPath("/proc/self/exe");
  return self.ok() ? self->substr(0, self->rfind('/') + 1) + program : program;
}

void AddFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", std::string("stasisd ") + STASIS_VERSION);
  app.add_option("-H,--host", flags.hosts, "where to serve, unix://PATH; may be given more than once")
      ->default_str("unix://STATE/stasis.sock");
  app.add_option("--root", flags.root, "directory of records, images and containers")->capture_default_str();
  app.add_option("--state", flags.state, "directory of sockets and of what a reboot clears")
      ->capture_default_str();
  app.add_option("--supervisor", flags.supervisor, "socket of a supervisor that runs already");
  app.add_option("--supervisor-program", flags.supervisor_program)->capture_default_str();
  app.add_option("--shim", flags.shim)->capture_default_str();
  app.add_option("--checkpointer", flags.checkpointer)->capture_default_str();
  app.add_option("--criu", flags.criu)->capture_default_str();
  app.add_option("--runc", flags.runc)->capture_default_str();
  app.add_option("--log-level", flags.log_level, "trace, debug, info, warn or error")->capture_default_str();
  app.add_flag("--recover", flags.recover,
               "where the database or the list of images is damaged, keep it aside, make it anew, and go on");
  app.add_flag("--print-routes", flags.print_routes, "list the API and end");
}

// Of a socket that gRPC opens; our own take paths of any length (linux/unix_socket.h).
Status CheckSocketPath(const std::string& flag, const std::string& path) {
  constexpr size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (!path.starts_with('/')) return InvalidArgument(flag + ": want an absolute path");
  if (path.size() > kLongest)
    return InvalidArgument(flag + ": " + path + ": a socket's path has at most " + std::to_string(kLongest) +
                           " bytes");
  return absl::OkStatus();
}

Status CheckPaths(const Flags& flags) {
  if (!flags.root.starts_with('/'))
    return InvalidArgument("--root " + flags.root + ": want an absolute path");
  STASIS_RETURN_IF_ERROR(CheckSocketPath("--state " + flags.state, flags.state + "/supervisor.sock"));
  if (flags.supervisor.empty()) return absl::OkStatus();
  return CheckSocketPath("--supervisor " + flags.supervisor, flags.supervisor);
}

StatusOr<std::vector<UnixListener>> Listen(const Flags& flags) {
  constexpr std::string_view kScheme = "unix://";
  std::vector<std::string> hosts = flags.hosts;
  if (hosts.empty()) hosts.push_back(std::string(kScheme) + flags.state + "/stasis.sock");
  std::vector<UnixListener> listeners;
  for (const std::string& host : hosts) {
    if (host.rfind(kScheme, 0) != 0 || host.size() == kScheme.size()) {
      return InvalidArgument("--host " + host + ": want unix://PATH");
    }
    const std::string path = host.substr(kScheme.size());
    if (!path.starts_with('/')) return InvalidArgument("--host " + host + ": want an absolute path");
    STASIS_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(path).parent_path().string(), 0755));
    STASIS_ASSIGN_OR_RETURN(UnixListener listener, UnixListener::Listen(path, 0660));
    listeners.push_back(std::move(listener));
  }
  return listeners;
}

// Held while we run: one engine for each root.
StatusOr<UniqueFd> LockRoot(const std::string& root) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(root, 0711));
  STASIS_ASSIGN_OR_RETURN(UniqueFd lock, OpenRegularFile(root + "/stasis.lock", O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return AlreadyExists("another stasisd has " + root);
  }
  return lock;
}

StatusOr<std::unique_ptr<SupervisorProcess>> StartSupervisor(const Flags& flags, std::stop_token stop) {
  if (!flags.supervisor.empty()) return std::unique_ptr<SupervisorProcess>();
  SupervisorPlan plan;
  plan.socket = flags.state + "/supervisor.sock";
  plan.log_path = flags.state + "/supervisor.log";
  plan.argv = {flags.supervisor_program,
               "--state",
               flags.state + "/supervisor",
               "--socket",
               plan.socket,
               "--shim",
               flags.shim,
               "--checkpointer",
               flags.checkpointer,
               "--runc",
               flags.runc,
               "--criu",
               flags.criu,
               "--log-level",
               flags.log_level};
  return SupervisorProcess::Start(std::move(plan), std::move(stop));
}

// Nothing that it serves works without: mounts, namespaces, cgroups, processes of other users.
Status CheckPrivileges() {
  if (::geteuid() != 0)
    return FailedPrecondition("stasisd needs root, and was started by user " + std::to_string(::geteuid()));
  return absl::OkStatus();
}

// Starts, and serves until `stop`. kCancelled: it was to stop before it had started.
Status Serve(const Flags& flags, const std::stop_token& stop) {
  STASIS_RETURN_IF_ERROR(CheckPrivileges());
  STASIS_RETURN_IF_ERROR(CheckPaths(flags));
  STASIS_ASSIGN_OR_RETURN(const UniqueFd lock, LockRoot(flags.root));
  STASIS_RETURN_IF_ERROR(MakeDirectories(flags.state, 0711));
  STASIS_ASSIGN_OR_RETURN(std::vector<UnixListener> listeners, Listen(flags));
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<SupervisorProcess> supervisor, StartSupervisor(flags, stop));
  const std::string socket = flags.supervisor.empty() ? flags.state + "/supervisor.sock" : flags.supervisor;
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Engine> engine,
                          engine::Engine::Open({.paths = {.root = flags.root, .state = flags.state},
                                                .version = STASIS_VERSION,
                                                .git_commit = STASIS_COMMIT,
                                                .build_time = {},
                                                .runc = flags.runc,
                                                .criu = flags.criu,
                                                .recover = flags.recover},
                                               std::make_unique<engine::SupervisorLink>(socket)));
  if (Status status = engine->Start(After(kSupervisorLimit), stop); !status.ok()) {
    if (supervisor) supervisor->ExpectNothing();
    return status;
  }

  api::ServerOptions options;
  options.listeners = std::move(listeners);
  options.routes = api::EngineRoutes({engine.get(), engine.get(), engine.get(), engine.get(), engine.get()});
  options.version = STASIS_VERSION;
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<api::Server> server, api::Server::Create(std::move(options)));
  spdlog::info("serving");
  return server->Run(stop);
}

// Blocked before any thread is there, so that all of them leave these signals to the one that waits for them.
// It does so from the beginning: what a start waits for may never come.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return signals;
}

// Asks `stop` to stop when one of `signals` comes, which all threads have blocked. SIGHUP asks dockerd to
// read its configuration anew. Ours is the command line, so nothing changes, and that is said.
StatusOr<std::jthread> StopAtSignal(const sigset_t& signals, std::stop_source* stop) {
  UniqueFd coming(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!coming.valid()) return ErrnoError(errno, "signalfd");
  return std::jthread([coming = std::move(coming), stop](const std::stop_token& over) {
    while (WaitFor(coming.get(), POLLIN, kNoDeadline, over).ok()) {
      signalfd_siginfo signal{};
      if (::read(coming.get(), &signal, sizeof signal) != sizeof signal) continue;
      if (signal.ssi_signo == SIGHUP) {
        spdlog::info("SIGHUP: all configuration is on the command line, so nothing is loaded anew");
        continue;
      }
      spdlog::info("stopping; the containers run on");
      stop->request_stop();
      return;
    }
  });
}

int Main(int argc, char** argv) {
  Flags flags;
  flags.supervisor_program = Beside("stasis-supervisor");
  flags.shim = Beside("stasis-shim");
  flags.checkpointer = Beside("stasis-checkpointer");
  CLI::App app("Stasis: containers behind the Docker Engine API, checkpointed and restored", "stasisd");
  AddFlags(app, flags);
  CLI11_PARSE(app, argc, argv);
  if (Status status = InitLog("stasisd", flags.log_level); !status.ok()) {
    fprintf(stderr, "stasisd: %s\n", Message(status).c_str());
    return 2;
  }
  if (flags.print_routes) {
    api::PrintRoutes(api::EngineRoutes({}), std::cout);
    return 0;
  }
  const sigset_t signals = BlockSignals();
  std::stop_source stop;
  const StatusOr<std::jthread> waiter = StopAtSignal(signals, &stop);
  const Status status = waiter.ok() ? Serve(flags, stop.get_token()) : waiter.status();
  if (status.ok() || absl::IsCancelled(status)) return 0;
  spdlog::error("{}", Message(status));
  return 1;
}

}  // namespace
}  // namespace stasis

int main(int argc, char** argv) { return stasis::Main(argc, argv); }
