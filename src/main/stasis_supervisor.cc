// stasis-supervisor: serves types.API over a unix socket, and drives one shim for each container.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <string>

#include "base/log.h"
#include "supervisor/server.h"

namespace {

int Serve(const stasis::supervisor::ServerOptions& options) {
  // Blocked before any thread is there, so that all of them leave these signals to sigwait below.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);  // there is nothing to read anew

  auto server = stasis::supervisor::Server::Start(options);
  if (!server.ok()) {
    spdlog::error("{}", stasis::Message(server.status()));
    return 1;
  }
  spdlog::info("serving on {}", options.socket);
  int received = 0;
  sigwait(&signals, &received);
  spdlog::info("stopping; the containers run on");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  stasis::supervisor::ServerOptions options;
  std::string log_level = "info";
  CLI::App app{"Stasis supervisor: serves types.API and drives the shims", "stasis-supervisor"};
  app.add_option("--state", options.state_directory, "directory of the shims, on a file system in memory")
      ->required();
  app.add_option("--socket", options.socket, "unix socket to serve on")->required();
  app.add_option("--shim", options.programs.shim, "path of stasis-shim")->required();
  app.add_option("--checkpointer", options.programs.checkpointer, "path of stasis-checkpointer")->required();
  app.add_option("--runc", options.programs.runc, "path of runc")->required();
  app.add_option("--criu", options.programs.criu, "path of CRIU")->required();
  app.add_option("--log-level", log_level, "trace, debug, info, warn or error");
  CLI11_PARSE(app, argc, argv);
  if (stasis::Status status = stasis::InitLog("stasis-supervisor", log_level); !status.ok()) {
    fprintf(stderr, "stasis-supervisor: %s\n", stasis::Message(status).c_str());
    return 2;
  }
  return Serve(options);
}
