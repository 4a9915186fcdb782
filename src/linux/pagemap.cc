#include "linux/pagemap.h"

#include <fcntl.h>

#include <array>
#include <cerrno>

#include "linux/files.h"
#include "linux/pagemap_scan.h"

namespace stasis {
namespace {

// What the kernel writes to `regions`.
struct Region {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};
constexpr uint64_t kFile = 1 << 2, kPresent = 1 << 3, kSwapped = 1 << 4, kZero = 1 << 5, kGuard = 1 << 8;

}  // namespace

bool KernelHasPagemapScan() {
  auto pagemap = OpenFile("/proc/self/pagemap", O_RDONLY);
  return pagemap.ok() && ::ioctl(pagemap->get(), STASIS_PAGEMAP_SCAN, nullptr) != 0 && errno == EFAULT;
}

StatusOr<std::vector<AddressRange>> OwnPages(int pagemap, const AddressRange& range) {
  std::vector<AddressRange> pages;
  std::array<Region, 512> regions;
  StasisPagemapScan scan = {};
  scan.size = sizeof scan;
  scan.end = range.end;
  scan.regions = reinterpret_cast<uint64_t>(regions.data());
  scan.regions_size = regions.size();
  // A guard (madvise(2), MADV_GUARD_INSTALL) looks like a page that is swapped out, and cannot be read.
  scan.category_mask = scan.category_inverted = kFile | kZero | kGuard;
  scan.category_any_of = kPresent | kSwapped;
  scan.return_mask = kPresent | kSwapped;
  for (uint64_t at = range.begin; at < range.end; at = scan.walk_end) {
    scan.start = at;
    int found = ::ioctl(pagemap, STASIS_PAGEMAP_SCAN, &scan);
    if (found < 0 && errno == EINVAL && (scan.category_mask & kGuard) != 0) {  // Linux before 6.15
      scan.category_mask = scan.category_inverted = kFile | kZero;
      scan.walk_end = at;
      continue;
    }
    if (found < 0) return ErrnoError(errno, "look for pages");
    if (scan.walk_end <= at) return Internal("look for pages: the kernel does not go on");
    for (int i = 0; i < found; ++i) {
      const Region& region = regions[static_cast<size_t>(i)];
      if (!pages.empty() && pages.back().end == region.start) {
        pages.back().end = region.end;
      } else {
        pages.push_back({region.start, region.end});
      }
    }
  }
  return pages;
}

}  // namespace stasis
