// A real container under runc, and a checkpointer served over a socket as the shim has it. For tests alone.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "linux/cgroup.h"
#include "linux/files.h"
#include "linux/subprocess.h"
#include "manifest/checkpoint_directory.h"
#include "protocol/checkpointer.h"
#include "protocol/frame.h"

namespace stasis::checkpoint {

class RealContainerTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Makes the bundle: busybox as root file system, host's /usr and /lib read-only where `host_programs`, and
  // `args`.
  void MakeBundle(const std::vector<std::string>& args, bool host_programs = false,
                  const std::function<void(Json&)>& change = nullptr);
  // runc run -d, streams to /dev/null. Waits until /tmp/n is there.
  void Start();
  void Counter();  // MakeBundle and Start of a shell that counts in /tmp/n
  // Python of the host that runs `code`, then counts; skips where there is none.
  void Python(const std::string& code);
  int Number();         // in /tmp/n
  bool CountsOn();      // the number grows within 5 s
  std::string State();  // of runc: "running", "paused", "stopped", or "" where it is gone
  pid_t InitPid();
  int Runc(const std::vector<std::string>& args, const std::map<std::string, std::string>& environment = {});
  void WriteCriuOptions();
  // For who asks at base_ + "/restore.sock"; "unpack" and "fill" come next.
  bool Open(const std::string& name);
  int RuncRestore();
  bool CriuHasBegun();  // the restore, which goes no further without its images
  int Restore(const std::string& name);
  std::string FreezerState();

  protocol::CheckpointPlan Plan(const std::string& name, bool exit = false);
  // One verb over the wire.
  StatusOr<Json> Call(const std::string& verb, const Json& params = Json::object());
  StatusOr<Json> Checkpoint(const protocol::CheckpointPlan& plan);  // all three
  void HangUp();    // closes the connection, as a dead shim does, and waits for the server's end
  void Serve();     // a new connection
  pid_t CriuPid();  // from the journal
  // Nothing of a failed checkpoint is left, and the container counts.
  void ExpectAsBefore();

  // A file of the root file system that was open at the checkpoint and has changed since cannot be restored.
  bool count_in_memory_ = false;
  Json limits_ = Json::object();  // linux.resources of what MakeBundle makes
  std::string id_;
  std::string base_;  // of all that the test makes
  std::string bundle_;
  std::string checkpoints_;
  std::string shim_;
  std::string network_;  // pinned namespace
  std::optional<protocol::Caller> caller_;
  std::optional<std::thread> server_;
};

}  // namespace stasis::checkpoint
