// What has become of a container's files: two states of its own layer, compared.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "layer/entry.h"

namespace stasis::layer {

enum class ChangeKind { kModified, kAdded, kDeleted };

struct Change {
  std::string path;  // "a/b", as the container has it below its "/"
  ChangeKind kind = ChangeKind::kModified;

  friend bool operator==(const Change&, const Change&) = default;
};

// The layer in `directory` as it is now, for a comparison with `captured`. Of content no more is read than is
// in doubt: of a file with the size and time that it had, which has been touched since. Files that come or go
// meanwhile are in it or not. kCancelled.
StatusOr<std::vector<Entry>> ListForComparison(int directory, const std::vector<Entry>& captured,
                                               const std::stop_token& cancel);

// What the image has at a path; nothing: no file.
using FindInImage = std::function<StatusOr<std::optional<Entry>>(const std::string& path)>;

// What differs, by path, as the container sees it: what a whiteout hides is not there, and where its layer
// has nothing the image's is. A regular file differs also by its time; a directory does where something in it
// does. Of a directory that is gone, what was in it is not listed.
StatusOr<std::vector<Change>> Compare(const std::vector<Entry>& before, const std::vector<Entry>& after,
                                      const FindInImage& image);

}  // namespace stasis::layer
