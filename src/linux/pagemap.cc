#include "linux/pagemap.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>

#include "linux/files.h"

namespace stasis {
namespace {

// Of <linux/fs.h>, which Debian 12's headers do not have.
struct Scan {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t regions;
  uint64_t regions_size;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_any_of;
  uint64_t return_mask;
};
struct Region {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};
constexpr unsigned long kPagemapScan = _IOWR('f', 16, Scan);
constexpr uint64_t kFile = 1 << 2, kPresent = 1 << 3, kSwapped = 1 << 4, kZero = 1 << 5, kGuard = 1 << 8;

}  // namespace

bool KernelHasPagemapScan() {
  auto pagemap = OpenFile("/proc/self/pagemap", O_RDONLY);
  return pagemap.ok() && ::ioctl(pagemap->get(), kPagemapScan, nullptr) != 0 && errno == EFAULT;
}

StatusOr<std::vector<AddressRange>> OwnPages(int pagemap, const AddressRange& range) {
  std::vector<AddressRange> pages;
  std::array<Region, 512> regions;
  Scan scan = {};
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
    int found = ::ioctl(pagemap, kPagemapScan, &scan);
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
