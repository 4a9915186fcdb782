// A container's own layer as a document: one entry for each file, in order of their paths.
// docs/formats/checkpoint.md has the form. A document from elsewhere is hostile: Parse checks what it says.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "store/page_tree.h"

namespace stasis::layer {

inline constexpr size_t kMaxDocument = 512 << 20;  // bytes
inline constexpr size_t kMaxEntries = 4'000'000;

struct Entry {
  std::string path;   // "a/b", below the layer's directory; "." is that itself
  uint32_t mode = 0;  // st_mode, with the type
  uint32_t user = 0;
  uint32_t group = 0;
  timespec modified = {};
  std::map<std::string, std::string> attributes;  // extended ones
  std::string target;                             // of a symbolic link
  std::string hard_link;                          // path of an earlier entry that it is the same file as
  uint64_t device = 0;                            // st_rdev
  store::StreamId content;                        // of a regular file

  // What tells whether a file is still the one that was captured.
  uint64_t inode = 0;
  timespec changed = {};  // st_ctim

  bool IsRegular() const { return S_ISREG(mode) && hard_link.empty(); }
  bool IsWhiteout() const { return S_ISCHR(mode) && device == 0; }
  bool IsOpaque() const;  // of overlayfs: a directory that nothing shows through
};

bool Equal(const timespec& a, const timespec& b);

// Whether nothing has been done to it since `captured` was. Not for a file that is mapped for writing.
bool IsUnchanged(const Entry& now, const Entry& captured);

std::string ToText(const std::vector<Entry>& entries);
// kDataLoss: no such document.
StatusOr<std::vector<Entry>> Parse(std::string_view text);

}  // namespace stasis::layer
