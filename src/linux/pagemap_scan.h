/* The ioctl(2) PAGEMAP_SCAN of /proc/PID/pagemap, as <linux/fs.h> has it from Linux 6.7 on; Debian 12's
 * headers do not (the kernel's Documentation/admin-guide/mm/pagemap.rst). Plain C, for criu/preload too. */
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

struct StasisPagemapScan {
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

#define STASIS_PAGEMAP_SCAN _IOWR('f', 16, struct StasisPagemapScan)
// A category: pages that nobody may touch (MADV_GUARD_INSTALL), from Linux 6.15 on.
#define STASIS_PAGE_IS_GUARD (1u << 8)
