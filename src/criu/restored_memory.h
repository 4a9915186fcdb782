// The memory that a restore does not get from CRIU (docs/adr/0007): private memory of processes that share it
// with no other. It is taken out of the images, and written straight into the restored processes while CRIU
// still holds them. What CRIU brings back itself is what it must see to share it (pages that a fork left to
// parent and child), or what is not a plain page: the vdso, huge pages of the pool, memory that cannot be
// written to, and where a thread's restartable sequence lies, into which CRIU writes after all else.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "linux/memory_mapping.h"

namespace stasis::criu {

// Saved pages, and where they lie in the file of pages.
struct SavedPages {
  AddressRange range;
  uint64_t offset = 0;
  bool of_file = false;  // of a mapped file: where nothing is written there are the file's bytes, not zeros
};

struct ProcessMemory {
  pid_t process = 0;                     // as the container sees it
  std::string pages_file;                // as it was before anything was taken out
  std::vector<SavedPages> taken = {};    // by address and offset
  std::vector<SavedPages> of_criu = {};  // its file of pages now holds these, one after the other
};

// Takes it out of pagemap-*.img in the directory `images`; the files of pages are the caller's to make.
// Processes of which nothing is taken are left out. kDataLoss: the images are not CRIU's.
StatusOr<std::vector<ProcessMemory>> TakePrivateMemory(int images);

}  // namespace stasis::criu
