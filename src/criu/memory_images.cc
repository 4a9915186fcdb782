#include "criu/memory_images.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "criu/mm_image.h"
#include "criu/pagemap_image.h"
#include "linux/files.h"
#include "linux/unique_fd.h"

namespace stasis::criu {
namespace {

constexpr size_t kChunk = 1 << 20;

// Pages that are saved, and where they come from.
struct Run {
  AddressRange range;
  bool hidden = false;  // from CRIU; else it has saved them
};

bool HasTwin(const images::VmaEntry& mapping) {
  constexpr uint64_t kNotInFork = (1ull << MADV_DONTFORK) | (1ull << MADV_WIPEONFORK);
  return (mapping.madv() & kNotInFork) == 0 && (mapping.flags() & MAP_HUGETLB) == 0;
}

StatusOr<std::vector<Run>> HiddenRuns(int images, pid_t process, const MemorySource& source,
                                      const std::vector<AddressRange>& shown) {
  STASIS_ASSIGN_OR_RETURN(const images::MmEntry mm, ReadMm(images, process));
  std::vector<Run> runs;
  for (const images::VmaEntry& mapping : mm.vmas()) {
    if (!IsPrivateMemory(mapping)) continue;
    for (const AddressRange& hidden : Without({mapping.start(), mapping.end()}, shown)) {
      if (source.twin && !HasTwin(mapping)) {
        return MakeError(StatusCode::kAborted, "process " + std::to_string(process) +
                                                   " changed a mapping to one that no copy of it has");
      }
      STASIS_ASSIGN_OR_RETURN(const std::vector<AddressRange> pages, OwnPages(source.pagemap, hidden));
      for (const AddressRange& range : pages) runs.push_back({range, true});
    }
  }
  return runs;
}

// CRIU's pages and those that were hidden from it, by address.
class PagesReader {
 public:
  PagesReader(int from_criu, int from_memory, const TakePages& take)
      : from_criu_(from_criu), from_memory_(from_memory), take_(take), buffer_(kChunk, '\0') {}

  Status Read(const Run& run, const std::stop_token& cancel) {
    for (uint64_t at = run.range.begin; at < run.range.end;) {
      if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
      const size_t size = std::min<uint64_t>(buffer_.size(), run.range.end - at);
      const auto offset = static_cast<off_t>(run.hidden ? at : criu_offset_);
      const ssize_t got = ::pread(run.hidden ? from_memory_ : from_criu_, buffer_.data(), size, offset);
      if (got <= 0) {
        return ErrnoError(got == 0 ? ESRCH : errno,
                          run.hidden ? "read the memory of a process" : "read CRIU's pages");
      }
      const auto bytes = static_cast<size_t>(got);
      STASIS_RETURN_IF_ERROR(take_(std::string_view(buffer_).substr(0, bytes)));
      at += bytes;
      if (!run.hidden) criu_offset_ += bytes;
    }
    return absl::OkStatus();
  }

 private:
  int from_criu_;
  int from_memory_;
  const TakePages& take_;
  std::string buffer_;
  uint64_t criu_offset_ = 0;
};

// What has died since it was opened may look to the kernel as if it had no pages. It is told from what lives
// by this: nothing is read, where else there is a byte or an error.
Status CheckAlive(const MemorySource& source) {
  char byte;
  if (::pread(source.memory, &byte, 1, 0) != 0) return absl::OkStatus();
  return ErrnoError(ESRCH, "read the memory of a process");
}

}  // namespace

std::vector<AddressRange> MappingsWithoutTwin(std::string_view smaps) {
  std::vector<AddressRange> ranges;
  MemoryMapping mapping;
  while (!smaps.empty()) {
    const size_t end = smaps.find('\n');
    const std::string line(smaps.substr(0, end));
    smaps.remove_prefix(end == smaps.npos ? smaps.size() : end + 1);
    if (const auto next = ParseMemoryMapping(line)) {
      mapping = *next;
    } else if (!mapping.shared && line.starts_with("VmFlags:")) {
      const std::string flags = line + " ";
      if (flags.find(" dc ") != flags.npos || flags.find(" wf ") != flags.npos ||
          flags.find(" ht ") != flags.npos)
        ranges.push_back(mapping.range);
    }
  }
  return ranges;
}

StatusOr<std::string> AddPrivateMemory(int images, pid_t process, const MemorySource& source,
                                       const std::vector<AddressRange>& shown, const TakePages& take_pages,
                                       const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(PagemapImage pagemap, PagemapImage::Read(images, process));
  STASIS_ASSIGN_OR_RETURN(std::vector<Run> runs, HiddenRuns(images, process, source, shown));
  for (const AddressRange& range : pagemap.runs) runs.push_back({range, false});
  std::sort(runs.begin(), runs.end(),
            [](const Run& a, const Run& b) { return a.range.begin < b.range.begin; });
  pagemap.runs.clear();
  for (const Run& run : runs) {
    if (!pagemap.runs.empty() && run.range.begin < pagemap.runs.back().end) {
      return DataLoss("process " + std::to_string(process) +
                      ": CRIU has saved pages that were hidden from it");
    }
    pagemap.runs.push_back(run.range);
  }
  STASIS_ASSIGN_OR_RETURN(const UniqueFd from,
                          OpenFileAt(images, pagemap.PagesFile(), O_RDONLY | O_NOFOLLOW));
  PagesReader reader(from.get(), source.memory, take_pages);
  for (const Run& run : runs) STASIS_RETURN_IF_ERROR(reader.Read(run, cancel));
  STASIS_RETURN_IF_ERROR(CheckAlive(source));
  STASIS_RETURN_IF_ERROR(pagemap.Write(images, process));
  return pagemap.PagesFile();
}

}  // namespace stasis::criu
