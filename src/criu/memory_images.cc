#include "criu/memory_images.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"
#include "linux/unique_fd.h"

namespace stasis::criu {
namespace {

constexpr uint32_t kMmMagic = 0x57492820;
constexpr uint32_t kPagemapMagic = 0x56084025;
constexpr size_t kChunk = 1 << 20;

// criu/include/image.h.
constexpr uint32_t kRegular = 1 << 0, kVdso = 1 << 3, kFilePrivate = 1 << 6, kAnonymousPrivate = 1 << 9,
                   kVvar = 1 << 12, kAioRing = 1 << 13, kGuard = 1 << 16;
// criu/include/pagemap.h.
constexpr uint32_t kPagePresent = 1 << 2;
// mmap(2); Debian 12's headers do not have it.
constexpr uint32_t kDroppable = 0x08;

// Pages that are saved, and where they come from.
struct Run {
  AddressRange range;
  bool from_twin = false;
};

struct Pagemap {
  uint32_t pages_id = 0;
  std::vector<Run> runs;
};

StatusOr<Pagemap> ReadPagemap(int images, const std::string& name) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader, ImageReader::Open(images, name, kCommonMagic, kPagemapMagic));
  images::PagemapHead head;
  STASIS_RETURN_IF_ERROR(reader.Next(&head));
  Pagemap pagemap;
  pagemap.pages_id = head.pages_id();
  while (!reader.AtEnd()) {
    images::PagemapEntry entry;
    STASIS_RETURN_IF_ERROR(reader.Next(&entry));
    const uint64_t pages = entry.has_nr_pages() ? entry.nr_pages() : entry.compat_nr_pages();
    if ((entry.flags() & kPagePresent) == 0 || entry.in_parent()) return reader.Malformed();
    pagemap.runs.push_back({{entry.vaddr(), entry.vaddr() + pages * kPageSize}, false});
  }
  return pagemap;
}

Status WritePagemap(int images, const std::string& name, const Pagemap& pagemap) {
  ImageWriter image(kCommonMagic, kPagemapMagic);
  images::PagemapHead head;
  head.set_pages_id(pagemap.pages_id);
  image.Add(head);
  for (const Run& run : pagemap.runs) {
    images::PagemapEntry entry;
    entry.set_vaddr(run.range.begin);
    entry.set_compat_nr_pages(0);
    entry.set_nr_pages(run.range.size() / kPageSize);
    entry.set_flags(kPagePresent);
    image.Add(entry);
  }
  STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFileAt(images, name, O_WRONLY | O_TRUNC));
  return WriteAll(file.get(), image.bytes());
}

// Whether CRIU saves its pages one by one, those that there are (criu/mem.c, generate_vma_iovs).
bool IsPrivateMemory(const images::VmaEntry& mapping) {
  constexpr uint32_t kOthers = kVdso | kVvar | kAioRing | kGuard;
  return (mapping.status() & kRegular) != 0 && (mapping.status() & (kFilePrivate | kAnonymousPrivate)) != 0 &&
         (mapping.status() & kOthers) == 0 && (mapping.flags() & kDroppable) == 0;
}

bool HasTwin(const images::VmaEntry& mapping) {
  constexpr uint64_t kNotInFork = (1ull << MADV_DONTFORK) | (1ull << MADV_WIPEONFORK);
  return (mapping.madv() & kNotInFork) == 0 && (mapping.flags() & MAP_HUGETLB) == 0;
}

// What is left of `range` outside `holes`.
std::vector<AddressRange> Without(AddressRange range, const std::vector<AddressRange>& holes) {
  std::vector<AddressRange> left;
  for (const AddressRange& hole : holes) {
    if (hole.end <= range.begin || hole.begin >= range.end) continue;
    if (hole.begin > range.begin) left.push_back({range.begin, hole.begin});
    range.begin = std::min(hole.end, range.end);
  }
  if (range.size() != 0) left.push_back(range);
  return left;
}

StatusOr<std::vector<Run>> TwinRuns(int images, pid_t process, const TwinMemory& twin,
                                    const std::vector<AddressRange>& shown) {
  const std::string name = "mm-" + std::to_string(process) + ".img";
  STASIS_ASSIGN_OR_RETURN(ImageReader reader, ImageReader::Open(images, name, kCommonMagic, kMmMagic));
  images::MmEntry mm;
  STASIS_RETURN_IF_ERROR(reader.Next(&mm));
  std::vector<Run> runs;
  for (const images::VmaEntry& mapping : mm.vmas()) {
    if (!IsPrivateMemory(mapping)) continue;
    for (const AddressRange& hidden : Without({mapping.start(), mapping.end()}, shown)) {
      if (!HasTwin(mapping)) {
        return MakeError(StatusCode::kAborted, "process " + std::to_string(process) +
                                                   " changed a mapping to one that no copy of it has");
      }
      STASIS_ASSIGN_OR_RETURN(const std::vector<AddressRange> pages, OwnPages(twin.pagemap, hidden));
      for (const AddressRange& range : pages) runs.push_back({range, true});
    }
  }
  return runs;
}

// CRIU's pages and the twin's, by address.
class PagesReader {
 public:
  PagesReader(int from_criu, int from_twin, const TakePages& take)
      : from_criu_(from_criu), from_twin_(from_twin), take_(take), buffer_(kChunk, '\0') {}

  Status Read(const Run& run, const std::stop_token& cancel) {
    for (uint64_t at = run.range.begin; at < run.range.end;) {
      if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
      const size_t size = std::min<uint64_t>(buffer_.size(), run.range.end - at);
      const auto offset = static_cast<off_t>(run.from_twin ? at : criu_offset_);
      const ssize_t got = ::pread(run.from_twin ? from_twin_ : from_criu_, buffer_.data(), size, offset);
      if (got <= 0) {
        return ErrnoError(got == 0 ? ESRCH : errno,
                          run.from_twin ? "read the copy of a process" : "read CRIU's pages");
      }
      const auto bytes = static_cast<size_t>(got);
      STASIS_RETURN_IF_ERROR(take_(std::string_view(buffer_).substr(0, bytes)));
      at += bytes;
      if (!run.from_twin) criu_offset_ += bytes;
    }
    return absl::OkStatus();
  }

 private:
  int from_criu_;
  int from_twin_;
  const TakePages& take_;
  std::string buffer_;
  uint64_t criu_offset_ = 0;
};

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

StatusOr<std::string> AddPrivateMemory(int images, pid_t process, const TwinMemory& twin,
                                       const std::vector<AddressRange>& shown, const TakePages& take_pages,
                                       const std::stop_token& cancel) {
  const std::string name = "pagemap-" + std::to_string(process) + ".img";
  STASIS_ASSIGN_OR_RETURN(Pagemap pagemap, ReadPagemap(images, name));
  STASIS_ASSIGN_OR_RETURN(const std::vector<Run> runs, TwinRuns(images, process, twin, shown));
  pagemap.runs.insert(pagemap.runs.end(), runs.begin(), runs.end());
  std::sort(pagemap.runs.begin(), pagemap.runs.end(),
            [](const Run& a, const Run& b) { return a.range.begin < b.range.begin; });
  for (size_t i = 1; i < pagemap.runs.size(); ++i) {
    if (pagemap.runs[i].range.begin < pagemap.runs[i - 1].range.end)
      return DataLoss(name + ": CRIU has saved pages that were hidden from it");
  }
  std::string pages = "pages-" + std::to_string(pagemap.pages_id) + ".img";
  STASIS_ASSIGN_OR_RETURN(const UniqueFd from, OpenFileAt(images, pages, O_RDONLY | O_NOFOLLOW));
  PagesReader reader(from.get(), twin.memory, take_pages);
  for (const Run& run : pagemap.runs) STASIS_RETURN_IF_ERROR(reader.Read(run, cancel));
  STASIS_RETURN_IF_ERROR(WritePagemap(images, name, pagemap));
  return pages;
}

}  // namespace stasis::criu
