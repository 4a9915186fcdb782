#include "layer/compare.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "layer/look.h"
#include "linux/files.h"

namespace stasis::layer {
namespace {

constexpr size_t kChunk = 1 << 20;
static_assert(kChunk % store::kPageBytes == 0);

using ByPath = std::map<std::string, Entry>;

// Whether nothing of the image can be seen below it: what is in another place of the image counts as the
// layer's own.
bool HidesImage(const Entry& entry) {
  if (!S_ISDIR(entry.mode)) return true;
  return entry.IsOpaque() || entry.attributes.contains("trusted.overlay.redirect");
}

// All paths of a file alike: each with its content and attributes.
ByPath WithoutHardLinks(const std::vector<Entry>& entries) {
  ByPath files;
  for (const Entry& entry : entries) {
    Entry file = entry;
    if (const auto first = files.find(entry.hard_link); first != files.end()) {
      file = first->second;
      file.path = entry.path;
      if (entry.inode == 0) file.inode = 0;
    }
    file.hard_link.clear();
    files.insert_or_assign(entry.path, std::move(file));
  }
  return files;
}

// HasGone of its error is true where there is less.
Status ReadExactly(int file, char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t got = ::read(file, bytes, size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read");
    if (got == 0) return ErrnoError(ESTALE, "read: it was cut");
    bytes += got;
    size -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

// The name that a store would give to the first `size` bytes.
StatusOr<store::StreamId> HashContent(int file, uint64_t size, const std::stop_token& cancel) {
  store::PageHasher hasher;
  store::TreeBuilder tree([&](const char* node) { return hasher.Hash(node); });
  std::string pages;
  for (uint64_t at = 0; at < size; at += kChunk) {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    const size_t wanted = std::min<uint64_t>(kChunk, size - at);
    pages.assign((wanted + store::kPageBytes - 1) / store::kPageBytes * store::kPageBytes, '\0');
    STASIS_RETURN_IF_ERROR(ReadExactly(file, pages.data(), wanted));
    for (size_t page = 0; page < pages.size(); page += store::kPageBytes) {
      const char* bytes = pages.data() + page;
      STASIS_RETURN_IF_ERROR(tree.Add(store::IsZeroPage(bytes) ? store::ZeroPage() : hasher.Hash(bytes)));
    }
  }
  return tree.Finish(size);
}

class Listing {
 public:
  Listing(const std::vector<Entry>& captured, const std::stop_token& cancel)
      : captured_(WithoutHardLinks(captured)), cancel_(cancel) {}

  StatusOr<bool> Take(int directory, const std::string& name, Entry entry) {
    if (cancel_.stop_requested()) return Cancelled("cancelled");
    if (entries_.size() == kMaxEntries) return Internal("the container has too many files to compare");
    if (!S_ISLNK(entry.mode)) {
      STASIS_ASSIGN_OR_RETURN(entry.attributes, ReadAttributes(directory, name));
    }
    if (entry.IsRegular()) {
      const Status status = FindContent(directory, name, &entry);
      if (HasGone(GetErrno(status))) return false;
      STASIS_RETURN_IF_ERROR(Annotate(status, entry.path));
    }
    entries_.push_back(std::move(entry));
    return true;
  }

  std::vector<Entry> entries() && { return std::move(entries_); }

 private:
  Status FindContent(int directory, const std::string& name, Entry* entry) const {
    const auto found = captured_.find(entry->path);
    if (found == captured_.end()) return absl::OkStatus();
    const Entry& captured = found->second;
    if (IsUnchanged(*entry, captured)) {
      entry->content = captured.content;
      return absl::OkStatus();
    }
    // It differs, whatever is in it.
    if (!captured.IsRegular() || entry->content.size != captured.content.size ||
        !Equal(entry->modified, captured.modified))
      return absl::OkStatus();
    uint64_t size = 0;
    STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenRegular(directory, name, &size));
    STASIS_ASSIGN_OR_RETURN(entry->content,
                            HashContent(file.get(), std::min(size, store::kMaxStream), cancel_));
    return absl::OkStatus();
  }

  const ByPath captured_;
  const std::stop_token& cancel_;
  std::vector<Entry> entries_;
};

// One state of the files, as the container sees them.
class View {
 public:
  View(const std::vector<Entry>& entries, const FindInImage& image)
      : own_(WithoutHardLinks(entries)), image_(image) {}

  const ByPath& own() const { return own_; }

  struct Seen {
    std::optional<Entry> file;
    bool is_own = false;
  };
  StatusOr<Seen> See(const std::string& path) const {
    if (const auto own = own_.find(path); own != own_.end())
      return own->second.IsWhiteout() ? Seen() : Seen{own->second, true};
    for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      const auto parent = own_.find(path.substr(0, slash));
      if (parent != own_.end() && HidesImage(parent->second)) return Seen();
    }
    STASIS_ASSIGN_OR_RETURN(std::optional<Entry> file, image_(path));
    return Seen{std::move(file), false};
  }

 private:
  const ByPath own_;
  const FindInImage& image_;
};

bool HaveSameOwnerAndMode(const Entry& a, const Entry& b) {
  return a.mode == b.mode && a.user == b.user && a.group == b.group;
}

bool IsSame(const View::Seen& before, const View::Seen& after) {
  const Entry &a = *before.file, &b = *after.file;
  if (!before.is_own && !after.is_own) return true;
  if (!HaveSameOwnerAndMode(a, b)) return false;
  // A directory is in the layer for the sake of what is in it; anything else, because it was changed.
  if (before.is_own != after.is_own) return S_ISDIR(a.mode) && !HidesImage(before.is_own ? a : b);
  if (a.attributes != b.attributes || a.target != b.target) return false;
  if (S_ISCHR(a.mode) || S_ISBLK(a.mode)) return a.device == b.device;
  return !S_ISREG(a.mode) || (Equal(a.modified, b.modified) && a.content == b.content);
}

using Changes = std::map<std::string, ChangeKind>;

StatusOr<Changes> FindChanges(const View& before, const View& after) {
  std::set<std::string> paths;
  for (const View* view : {&before, &after}) {
    for (const auto& [path, entry] : view->own()) paths.insert(path);
  }
  paths.erase(".");
  Changes changes;
  for (const std::string& path : paths) {
    STASIS_ASSIGN_OR_RETURN(const View::Seen old, before.See(path));
    STASIS_ASSIGN_OR_RETURN(const View::Seen now, after.See(path));
    if (!old.file && !now.file) continue;
    if (!old.file) {
      changes[path] = ChangeKind::kAdded;
    } else if (!now.file) {
      changes[path] = ChangeKind::kDeleted;
    } else if (!IsSame(old, now)) {
      changes[path] = ChangeKind::kModified;
    }
  }
  return changes;
}

// Adds the directories of what has changed, and leaves out what was in deleted ones.
Changes WithDirectories(const Changes& found) {
  Changes changes;
  for (const auto& [path, kind] : found) {
    bool deleted_with_parent = false;
    for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      const auto parent = found.find(path.substr(0, slash));
      if (parent == found.end()) {
        changes.emplace(path.substr(0, slash), ChangeKind::kModified);
      } else if (parent->second == ChangeKind::kDeleted) {
        deleted_with_parent = true;
        break;
      }
    }
    if (!deleted_with_parent) changes[path] = kind;
  }
  return changes;
}

}  // namespace

StatusOr<std::vector<Entry>> ListForComparison(int directory, const std::vector<Entry>& captured,
                                               const std::stop_token& cancel) {
  Listing listing(captured, cancel);
  STASIS_RETURN_IF_ERROR(
      WalkLayer(directory, "compared", [&](int parent, const std::string& name, Entry entry) {
        return listing.Take(parent, name, std::move(entry));
      }));
  return std::move(listing).entries();
}

StatusOr<std::vector<Change>> Compare(const std::vector<Entry>& before, const std::vector<Entry>& after,
                                      const FindInImage& image) {
  STASIS_ASSIGN_OR_RETURN(const Changes found, FindChanges(View(before, image), View(after, image)));
  std::vector<Change> changes;
  for (const auto& [path, kind] : WithDirectories(found)) changes.push_back({path, kind});
  return changes;
}

}  // namespace stasis::layer
