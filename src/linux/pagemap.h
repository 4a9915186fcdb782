// Which pages of a process's memory are its own: /proc/PID/pagemap, asked by PAGEMAP_SCAN (the kernel's
// Documentation/admin-guide/mm/pagemap.rst; Linux 6.7).
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "linux/memory_mapping.h"

namespace stasis {

inline constexpr uint64_t kPageSize = 4096;

bool KernelHasPagemapScan();

// The pages of `range` that are in memory or swapped out and neither the kernel's zero page nor a page of the
// file that is mapped there, as runs by address. `pagemap` is a descriptor of /proc/PID/pagemap.
StatusOr<std::vector<AddressRange>> OwnPages(int pagemap, const AddressRange& range);

}  // namespace stasis
