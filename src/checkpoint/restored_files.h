// What a restore needs of a checkpoint: CRIU's images, in a directory, and the memory that does not go
// through them (criu/restored_memory.h), straight from the store into the restored processes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "criu/restored_memory.h"
#include "linux/unix_socket.h"
#include "manifest/manifest.h"
#include "store/page_reader.h"
#include "store/stream_reader.h"

namespace stasis::checkpoint {

class MemoryWriter;

class RestoredFiles {
 public:
  using OnBytes = std::function<void(uint64_t)>;

  // Makes the images in the empty directory `images`, every page checked. kDataLoss: the store lacks
  // something, or is damaged. kCancelled. On an error some of them are there. `on_bytes` here and in Fill: of
  // bytes that were written.
  static StatusOr<RestoredFiles> Unpack(const Manifest& manifest, const std::string& store, int images,
                                        const OnBytes& on_bytes, const std::stop_token& cancel);

  // Whether there is memory that is not in the images: CRIU must not let the processes go before Fill.
  bool leaves_memory() const { return !memory_.empty(); }

  // Waits for CRIU, which says by preload/restored_memory.c which threads it holds; writes their memory; and
  // answers. On an error it hangs up, and CRIU ends the processes. kDataLoss, kCancelled.
  Status Fill(const UnixListener& listener, const OnBytes& on_bytes, const std::stop_token& cancel) const;

 private:
  struct Memory {
    criu::ProcessMemory pages;
    store::StreamId stream;
  };
  Status WritePages(const ManifestFile& file, int images, std::vector<criu::ProcessMemory>* taken,
                    const OnBytes& on_bytes, const std::stop_token& cancel);

  Status ReadMemory(MemoryWriter* writer, const OnBytes& on_bytes, const std::stop_token& cancel) const;

  std::unique_ptr<store::PageFinder> finder_;
  std::unique_ptr<store::StreamReader> reader_;
  std::vector<Memory> memory_;
};

}  // namespace stasis::checkpoint
