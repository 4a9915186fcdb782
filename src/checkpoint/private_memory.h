// The private memory that is hidden from CRIU (docs/adr/0005), put into the store in its stead, and into
// CRIU's images.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/twins.h"
#include "criu/processes.h"
#include "linux/memory_mapping.h"
#include "manifest/manifest.h"
#include "protocol/shim.h"
#include "store/writer.h"

namespace stasis::checkpoint {

// By process, as the container sees it: private memory that was not hidden.
using ShownMemory = std::map<pid_t, std::vector<AddressRange>>;

// Why private memory is left to CRIU; empty: it is not. `no_twins`: a process that would need one is stopped.
std::string WhyPlain(const protocol::CheckpointRequest& request, const std::string& preload, bool no_twins);

// What twins of these processes would not have. Returned is the text that says so to CRIU (preload/pages.c).
std::string ShowWhatTwinsLack(const std::vector<criu::Process>& processes, ShownMemory* shown);

struct MemoryTarget {
  int images = -1;  // descriptor of the directory
  store::Writer* writer = nullptr;
  std::vector<ManifestFile>* files = nullptr;
  std::function<Status(uint64_t bytes)> on_bytes;  // after each piece; its error ends it
};

// All processes of the images, from their twins, which are quiet, or from themselves, while they stand still.
// What goes from here into the store is gone from the images. kNotFound: one has died. kDataLoss: the images
// hold another process, too. kCancelled, and what the store and `on_bytes` return.
Status SaveMemory(const Twins& twins, const ShownMemory& shown, const MemoryTarget& target,
                  const std::stop_token& cancel);
Status SaveMemory(const std::vector<criu::Process>& processes, const MemoryTarget& target,
                  const std::stop_token& cancel);

}  // namespace stasis::checkpoint
