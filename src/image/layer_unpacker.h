// Unpacks one layer of an image into a directory of its own, as overlayfs wants lower layers.
//
// The archive is hostile: names are checked, paths are resolved as if the layer were "/"
// (linux/inside_root.h), an entry never goes through a link out of it. Absolute names and names with ".." are
// refused. A hard link's target must be an earlier entry of the same layer. Extended attributes other than
// security.capability and user.* are left out: trusted.overlay.* would let a layer redirect lookups.
//
// Whiteouts (image-spec, layer.md): ".wh.NAME" becomes a character device 0:0 called NAME, ".wh..wh..opq" the
// directory's attribute trusted.overlay.opaque; other ".wh..wh.*" entries are aufs' own and are left out.
#pragma once

#include <cstdint>
#include <stop_token>

#include "base/status.h"
#include "image/tar_reader.h"
#include "linux/unique_fd.h"

namespace stasis::image {

// Caps against archives that are small to send and endless to unpack.
struct UnpackLimits {
  uint64_t entries = 4'000'000;
  uint64_t bytes = kMaxUncompressed;  // of file content, holes included
  uint64_t names = 512 << 20;         // bytes of all directories' names, which are kept until the end
};

// Reads all entries of `tar` into `directory`, an empty directory that nobody else writes to. Returns the
// bytes of all regular files. On failure what was unpacked so far stays: the caller removes the directory.
// Nothing is synced. Needs root: owners, device nodes and trusted attributes.
StatusOr<uint64_t> UnpackLayer(TarReader& tar, int directory, const UnpackLimits& limits,
                               std::stop_token cancel);

}  // namespace stasis::image
