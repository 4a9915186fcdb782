// What a restore needs of a checkpoint: CRIU's images, in a directory, and the memory that does not go
// through them (criu/restored_memory.h), straight from the store into the restored processes. runc and CRIU
// may be started once it is open: CRIU waits for its images (criu/preload/restore.c).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "criu/restored_memory.h"
#include "linux/unique_fd.h"
#include "linux/unix_socket.h"
#include "manifest/manifest.h"
#include "store/page_reader.h"
#include "store/stream_reader.h"

namespace stasis::checkpoint {

class MemoryWriter;

class RestoredFiles {
 public:
  using OnBytes = std::function<void(uint64_t)>;

  // `images`: an empty directory; what runc reads there is there afterwards. kDataLoss: the store lacks
  // something, or is damaged; also of the others. kCancelled.
  static StatusOr<RestoredFiles> Open(std::vector<ManifestFile> files, const std::string& store,
                                      UniqueFd images, const std::stop_token& cancel);

  // The images for CRIU, every page checked. On an error some of them are there. `on_bytes` here and in Fill:
  // of bytes that were written.
  Status Unpack(const OnBytes& on_bytes, const std::stop_token& cancel);

  // In the images, once they are there: another host name. Nothing where the container has the host's own.
  Status SetHostName(const std::string& host_name);

  // Afterwards: tells CRIU that its images are there; learns from it which threads it holds, when it has
  // restored them; writes the memory that is not in the images; and tells CRIU that it may let them go. On an
  // error it is hung up on when this ends, and ends the processes. kCancelled: CRIU has hung up.
  Status Fill(const UnixListener& listener, const OnBytes& on_bytes, const std::stop_token& cancel);

 private:
  struct Memory {
    criu::ProcessMemory pages;
    store::StreamId stream;
  };
  Status WritePages(const ManifestFile& file, std::vector<criu::ProcessMemory>* taken,
                    const OnBytes& on_bytes, const std::stop_token& cancel);

  Status ReadMemory(MemoryWriter* writer, const OnBytes& on_bytes, const std::stop_token& cancel) const;

  std::vector<ManifestFile> files_;
  UniqueFd images_;
  UniqueFd criu_;                      // the connection
  std::string settings_;               // criu/settings.h
  std::vector<int> removed_segments_;  // criu/removed_segments.h
  std::unique_ptr<store::PageFinder> finder_;
  std::unique_ptr<store::StreamReader> reader_;
  std::vector<Memory> memory_;
};

}  // namespace stasis::checkpoint
