// stasis-checkpointer: makes the checkpoints of one container for its shim, over descriptor 3
// (protocol/checkpointer.h). Ends when the shim closes it.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <string>

#include "base/log.h"
#include "checkpoint/server.h"
#include "criu/session.h"
#include "linux/files.h"

namespace stasis {
namespace {

constexpr int kConnection = 3;

// The library for CRIU lies beside this program.
std::string DefaultPreload() {
  const StatusOr<std::string> self = RealPath("/proc/self/exe");
  return self.ok() ? self->substr(0, self->rfind('/') + 1) + criu::kPreloadLibrary : "";
}

int Main(int argc, char** argv) {
  std::string preload = DefaultPreload();
  std::string level = "info";
  CLI::App app("Makes the checkpoints of one container, for its shim, on descriptor 3.",
               "stasis-checkpointer");
  app.add_option("--preload", preload, "library that is loaded into CRIU; empty for none")
      ->capture_default_str();
  app.add_option("--log-level", level, "trace, debug, info, warn or error")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (Status status = InitLog("stasis-checkpointer", level); !status.ok()) {
    fprintf(stderr, "stasis-checkpointer: %s\n", Message(status).c_str());
    return 2;
  }
  if (::fcntl(kConnection, F_SETFD, FD_CLOEXEC) != 0) {
    spdlog::error("descriptor 3 is not open: this program is started by a shim");
    return 2;
  }
  if (!preload.empty() && !Exists(preload)) {
    spdlog::error("{}: missing; it belongs beside this program", preload);
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  Status status = checkpoint::Serve(UniqueFd(kConnection), preload);
  if (!status.ok()) spdlog::error("{}", Message(status));
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace stasis

int main(int argc, char** argv) { return stasis::Main(argc, argv); }
