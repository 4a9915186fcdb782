// The memory of one process in CRIU's images, as far as we complete it (docs/adr/0005): CRIU is kept from
// saving private memory (preload/pages.c), and what it left out is added afterwards, from a twin of the
// process or, where that stands still, from itself.
//
//   mm-PID.img       the mappings
//   pagemap-PID.img  which pages are saved, as runs by address; names pages-ID.img
//   pages-ID.img     the pages, in that order
//
// PID is as the container sees it. The layout is CRIU's own (https://criu.org/Images, criu/image.c).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "linux/pagemap.h"

namespace stasis::criu {

// Private mappings that a twin does not have as they are: left out of a fork or cleared in it (madvise(2),
// MADV_DONTFORK and MADV_WIPEONFORK), or of huge pages of the pool. From the text of /proc/PID/smaps.
std::vector<AddressRange> MappingsWithoutTwin(std::string_view smaps);

struct MemorySource {
  int memory = -1;    // descriptor of its /proc/PID/mem
  int pagemap = -1;   // descriptor of its /proc/PID/pagemap
  bool twin = false;  // lacks MappingsWithoutTwin
};

// Adds the private pages of `process` to the images in the directory `images`, but those in `shown`, which
// CRIU has saved; those are by address. The pages go to `take_pages`, piece by piece, in place of what CRIU
// has written to the file that is returned by its name. kAborted: a mapping has become one that a twin does
// not have. kNotFound: the source has died. kDataLoss: the images are not CRIU's. What `take_pages` returns.
using TakePages = std::function<Status(std::string_view pages)>;
StatusOr<std::string> AddPrivateMemory(int images, pid_t process, const MemorySource& source,
                                       const std::vector<AddressRange>& shown, const TakePages& take_pages,
                                       const std::stop_token& cancel);

}  // namespace stasis::criu
