// Frames of the private protocols, and the structs in them.
#include <sys/socket.h>
#include <unistd.h>

#include "linux/clock.h"
#include "linux/unix_socket.h"
#include "protocol/checkpointer.h"
#include "protocol/frame.h"
#include "protocol/journal.h"
#include "protocol/shim.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto pair = stasis::MakeSocketPair();
  if (!pair.ok() || size > 4096) return 0;
  (void)!::write(pair->first.get(), data, size);
  pair->first.reset();
  auto frame = stasis::protocol::ReadFrame(pair->second.get(), stasis::After(std::chrono::seconds(1)), {});
  auto json = stasis::ParseJson({reinterpret_cast<const char*>(data), size});
  if (!frame.ok() && !json.ok()) return 0;
  const stasis::Json& value = frame.ok() ? *frame : *json;
  (void)stasis::protocol::ShimConfigFromJson(value);
  (void)stasis::protocol::ShimStateFromJson(value);
  (void)stasis::protocol::ExecRequestFromJson(value);
  (void)stasis::protocol::CheckpointRequestFromJson(value);
  (void)stasis::protocol::CheckpointPlanFromJson(value);
  (void)stasis::protocol::JournalFromJson(value);
  (void)stasis::protocol::AttachRequestFromJson(value);
  (void)stasis::protocol::ShimEventFromJson(value);
  return 0;
}
