// The processes of a checkpoint, as CRIU's images say it (https://criu.org/Images):
//
//   pstree.img                who is whose child
//   core-PID.img              name and state
//   ids-PID.img, fs-PID.img   its table of files; where it is
//   mm-PID.img                its mappings
//   pagemap-PID.img           which of their pages are saved; pagemap-shmem-ID.img, of shared memory
//
// Foreign bytes, as open_files.h says.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "criu/open_files.h"
#include "linux/pagemap.h"

namespace stasis::criu {

inline constexpr size_t kMaxMappings = 1 << 20;  // of one process

struct SavedProcess {
  uint32_t pid = 0;  // as the container sees it
  uint32_t parent = 0;
  uint32_t threads = 0;
  std::string name;
  std::string state;  // "running", "stopped", "zombie"
};

struct SavedMapping {
  uint64_t start = 0;
  uint64_t end = 0;
  std::string protection;    // "rw-p", as in /proc/PID/maps
  std::string kind;          // "heap", "stack", "anonymous", "file", "shared", "memfd", "sysv", "vdso" ...
  std::string name;          // of a file
  uint64_t saved_bytes = 0;  // of its pages, as they come back; what a file has is not saved
};

struct SavedMemory {
  uint64_t mapped_bytes = 0;
  uint64_t saved_bytes = 0;   // of its own
  uint64_t shared_bytes = 0;  // of what it shares, which others may count as well
  std::vector<SavedMapping> mappings;
};

// Which pages of a memory are saved.
class PageRuns {
 public:
  // Runs by address, none twice. kDataLoss: otherwise. kResourceExhausted: more than this is made for.
  Status Add(uint64_t begin, uint64_t pages);
  // How many bytes of `range` are saved.
  uint64_t BytesIn(const AddressRange& range) const {
    return BytesBelow(range.end) - BytesBelow(range.begin);
  }
  size_t runs() const { return runs_.size(); }

 private:
  uint64_t BytesBelow(uint64_t address) const;

  struct Run {
    AddressRange range;
    uint64_t below = 0;  // bytes of the runs before
  };
  std::vector<Run> runs_;
};

struct SavedDescriptor {
  uint32_t fd = 0;
  OpenFile file;
};

class ProcessImages {
 public:
  // kDataLoss: not CRIU's images. kResourceExhausted: more than this is made for. And what `read` returns.
  static StatusOr<ProcessImages> Read(ReadImage read);

  // As CRIU has them: parents first.
  const std::vector<SavedProcess>& processes() const { return processes_; }

  // These read the images of one process; a zombie has none, which is no error. Errors as Read's.
  StatusOr<std::vector<SavedDescriptor>> Descriptors(const SavedProcess& process) const;
  struct Places {
    std::string executable;
    std::string working_directory;
    std::string root_directory;
  };
  StatusOr<Places> PlacesOf(const SavedProcess& process) const;
  StatusOr<SavedMemory> Memory(const SavedProcess& process);

 private:
  ProcessImages(ReadImage read, OpenFiles files) : read_(std::move(read)), files_(std::move(files)) {}
  StatusOr<uint64_t> SharedBytes(uint64_t memory, const AddressRange& range);
  std::string NameOf(uint32_t file) const;

  ReadImage read_;
  OpenFiles files_;
  std::vector<SavedProcess> processes_;
  std::map<uint64_t, PageRuns> shared_;  // by the id of the memory
};

}  // namespace stasis::criu
