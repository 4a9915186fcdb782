// Putting a container's own layer, the upper directory of its overlayfs, into a store, as it is at one
// moment.
//
// Most of it is read while the container runs on; at the moment itself, with the container frozen, only what
// has changed meanwhile is read again, and what is or was mapped for writing, of which no time tells. What
// did not change since an earlier capture is not read at all.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "layer/entry.h"
#include "linux/unique_fd.h"
#include "store/writer.h"

namespace stasis::layer {

// One thread. The container may do to the directory what it likes: no link is followed, no FIFO or device is
// opened.
class Capture {
 public:
  // `directory` is the layer's, `writer` outlives the capture. `on_bytes` is told of what was read; its error
  // ends the capture. `mapped` says which files any process of the container has mapped shared at that
  // moment: paths below the directory, as /proc/PID/maps writes them.
  using OnBytes = std::function<Status(uint64_t)>;
  using MappedFiles = std::function<std::set<std::string>()>;
  Capture(UniqueFd directory, store::Writer* writer, OnBytes on_bytes, MappedFiles mapped);

  // The entries of an earlier capture, whose content is in the same store. Optional, first.
  Status StartFrom(std::vector<Entry> earlier);

  // While the container runs: once, or more often.
  Status Read(const std::stop_token& cancel);
  // While it is frozen: as Read, and then it is complete. What may change from now on without a trace in its
  // times is noted without an inode, so that it is never taken for unchanged.
  Status Finish(const std::stop_token& cancel);

  const std::vector<Entry>& entries() const { return entries_; }
  uint64_t bytes() const;  // of all files

 private:
  struct Known {
    Entry entry;
    // By the clock of file times, before it was asked what is mapped, and then this was read. One that was
    // changed later than that may have been changed after it was read too, without another time: within the
    // same tick, or through a mapping that nobody saw.
    timespec asked_at = {};
  };
  StatusOr<bool> Take(int directory, const std::string& name, Entry entry, const std::stop_token& cancel);
  // False: it is no regular file any more.
  StatusOr<bool> ReadContent(int directory, const std::string& name, Entry* entry,
                             const std::stop_token& cancel);
  bool IsKnown(const Entry& now, const Known& known) const;
  // By inode: a file may have other names than the one that it was mapped by.
  std::set<uint64_t> FindMapped() const;

  UniqueFd directory_;
  store::Writer* const writer_;
  const OnBytes on_bytes_;
  const MappedFiles mapped_;
  std::map<std::string, Known> known_;  // by path
  timespec asked_at_ = {};
  // Inodes: when it was asked last, and ever.
  std::set<uint64_t> mapped_now_;
  std::set<uint64_t> ever_mapped_;
  std::map<uint64_t, std::string> hard_links_;  // by inode: the first path
  std::vector<Entry> entries_;
};

// Whether the directory still holds what was captured, but for the times of directories.
StatusOr<bool> IsAsCaptured(int directory, const std::vector<Entry>& captured, const std::stop_token& cancel);

}  // namespace stasis::layer
