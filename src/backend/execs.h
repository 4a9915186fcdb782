// What the exec routes ask of the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "backend/container_config.h"
#include "backend/streams.h"
#include "base/status.h"

namespace stasis::backend {

struct ExecConfig {
  bool attach_stdin = false;
  bool attach_stdout = false;
  bool attach_stderr = false;
  bool tty = false;
  bool privileged = false;
  std::vector<std::string> cmd;
  std::vector<std::string> env;
  std::string user;
  std::string working_dir;
  std::string detach_keys = {};  // as the client wrote them; the API looks for them
  ConsoleSize console_size = {};
};

struct ExecDetails {
  std::string id;
  std::string container_id;
  bool running = false;
  std::optional<int> exit_code;
  int pid = 0;
  ExecConfig config;
};

class ExecBackend {
 public:
  virtual ~ExecBackend() = default;

  // "Container %s is not running" and "is paused" are 409.
  virtual StatusOr<std::string> CreateExec(const std::string& container, const ExecConfig& config) = 0;
  // Starts it detached; returns once it runs. "No such exec instance: %s".
  virtual Status StartExecDetached(const std::string& exec) = 0;
  // Takes it for one that is started with its streams attached; it starts at the session's Connect. The
  // answer's header goes out in between, so that no output comes together with it: clients that read header
  // and stream by different means would lose that. When it cannot be started, Connect gives a stream that
  // says why. Errors as StartExecDetached's, but those of the start itself.
  virtual StatusOr<std::unique_ptr<AttachSession>> AttachExec(const std::string& exec, ConsoleSize size) = 0;
  virtual Status ResizeExec(const std::string& exec, uint32_t width, uint32_t height) = 0;
  virtual StatusOr<ExecDetails> InspectExec(const std::string& exec) = 0;
};

}  // namespace stasis::backend
