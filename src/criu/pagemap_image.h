// pagemap-PID.img: which pages of a process are saved, as runs by address, and where: one after the other in
// pages-ID.img. PID is as the container sees it. The layout is CRIU's own (https://criu.org/Images,
// criu/pagemap.c).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "criu/image_file.h"
#include "linux/memory_mapping.h"

namespace stasis::criu {

struct PagemapImage {
  uint32_t pages_id = 0;
  std::vector<AddressRange> runs;  // in whole pages

  // Of the process, in the directory `images`. kDataLoss: it is not CRIU's, or of an incremental dump.
  static StatusOr<PagemapImage> Read(int images, pid_t process);
  // In place of the one that is there.
  Status Write(int images, pid_t process) const;

  std::string PagesFile() const { return ImageName("pages", pages_id); }
};

// What is left of `range` outside `holes`, which are by address.
std::vector<AddressRange> Without(AddressRange range, const std::vector<AddressRange>& holes);

}  // namespace stasis::criu
