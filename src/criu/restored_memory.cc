#include "criu/restored_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "criu/core_image.h"
#include "criu/mm_image.h"
#include "criu/pagemap_image.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"
#include "linux/pagemap.h"

namespace stasis::criu {
namespace {

struct Images {
  std::vector<std::pair<pid_t, images::MmEntry>> processes;
  std::map<uint64_t, int> mappings;     // how many processes have one that begins there
  std::vector<AddressRange> sequences;  // pages of restartable sequences, of all threads, by address
};

// N of "PREFIXN.img".
std::optional<pid_t> NumberIn(std::string_view name, std::string_view prefix) {
  constexpr std::string_view kSuffix = ".img";
  if (!name.starts_with(prefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  name.remove_suffix(std::min(kSuffix.size(), name.size()));
  pid_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

Status ReadSequence(int images, const std::string& core, std::vector<AddressRange>* sequences) {
  STASIS_ASSIGN_OR_RETURN(const images::CoreEntry entry, ReadCore(images, core));
  if (!entry.thread_core().has_rseq_entry()) return absl::OkStatus();
  const images::RseqEntry& sequence = entry.thread_core().rseq_entry();
  if (sequence.rseq_abi_pointer() > UINT64_MAX - 3 * kPageSize || sequence.rseq_abi_size() > kPageSize) {
    return DataLoss(core + " is not an image of CRIU's");
  }
  const uint64_t begin = sequence.rseq_abi_pointer() / kPageSize * kPageSize;
  const uint64_t end = sequence.rseq_abi_pointer() + sequence.rseq_abi_size();
  sequences->push_back({begin, (end + kPageSize - 1) / kPageSize * kPageSize});
  return absl::OkStatus();
}

StatusOr<Images> ReadImages(int images) {
  Images read;
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(images));
  for (const std::string& name : names) {
    if (const auto process = NumberIn(name, "mm-")) {
      STASIS_ASSIGN_OR_RETURN(images::MmEntry mm, ReadMm(images, *process));
      for (const images::VmaEntry& mapping : mm.vmas()) ++read.mappings[mapping.start()];
      read.processes.emplace_back(*process, std::move(mm));
    } else if (NumberIn(name, "core-")) {
      STASIS_RETURN_IF_ERROR(ReadSequence(images, name, &read.sequences));
    }
  }
  std::sort(read.sequences.begin(), read.sequences.end(),
            [](const AddressRange& a, const AddressRange& b) { return a.begin < b.begin; });
  return read;
}

bool CanBeTaken(const images::VmaEntry& mapping, const Images& read) {
  constexpr uint32_t kPlain = kVmaRegular | kVmaStack | kVmaHeap | kVmaFilePrivate | kVmaAnonymousPrivate;
  return IsPrivateMemory(mapping) && (mapping.status() & ~kPlain) == 0 &&
         (mapping.prot() & PROT_WRITE) != 0 && (mapping.flags() & MAP_HUGETLB) == 0 &&
         read.mappings.at(mapping.start()) == 1;
}

// What of the process can be taken, by address. kDataLoss: such mappings overlap, or are none. Others may:
// guard pages are mappings of their own in a larger one.
StatusOr<std::vector<SavedPages>> Takeable(pid_t process, const images::MmEntry& mm, const Images& read) {
  std::vector<SavedPages> ranges;
  uint64_t last = 0;
  for (const images::VmaEntry& mapping : mm.vmas()) {
    if (!CanBeTaken(mapping, read)) continue;
    if (mapping.start() < last || mapping.end() <= mapping.start() || mapping.start() % kPageSize != 0 ||
        mapping.end() % kPageSize != 0)
      return DataLoss(ImageName("mm", process) + " is not an image of CRIU's");
    last = mapping.end();
    for (const AddressRange& range : Without({mapping.start(), mapping.end()}, read.sequences)) {
      ranges.push_back({.range = range, .of_file = (mapping.status() & kVmaFilePrivate) != 0});
    }
  }
  return ranges;
}

ProcessMemory Divide(pid_t process, const PagemapImage& pagemap, const std::vector<SavedPages>& takeable) {
  ProcessMemory memory{.process = process, .pages_file = pagemap.PagesFile()};
  uint64_t offset = 0;
  auto next = takeable.begin();
  const auto add = [&](std::vector<SavedPages>* to, uint64_t* at, uint64_t end, bool of_file) {
    if (*at < end) to->push_back({{*at, end}, offset, of_file});
    offset += end - *at;
    *at = end;
  };
  for (const AddressRange& run : pagemap.runs) {
    uint64_t at = run.begin;
    while (at < run.end) {
      while (next != takeable.end() && next->range.end <= at) ++next;
      const bool any = next != takeable.end() && next->range.begin < run.end;
      add(&memory.of_criu, &at, any ? std::max(at, next->range.begin) : run.end, false);
      if (any) add(&memory.taken, &at, std::min(run.end, next->range.end), next->of_file);
    }
  }
  return memory;
}

}  // namespace

StatusOr<std::vector<ProcessMemory>> TakePrivateMemory(int images) {
  STASIS_ASSIGN_OR_RETURN(const Images read, ReadImages(images));
  std::vector<ProcessMemory> taken;
  for (const auto& [process, mm] : read.processes) {
    STASIS_ASSIGN_OR_RETURN(PagemapImage pagemap, PagemapImage::Read(images, process));
    STASIS_ASSIGN_OR_RETURN(const std::vector<SavedPages> takeable, Takeable(process, mm, read));
    ProcessMemory memory = Divide(process, pagemap, takeable);
    // CRIU does not read an empty one.
    if (memory.taken.empty() || memory.of_criu.empty()) continue;
    pagemap.runs.clear();
    for (const SavedPages& pages : memory.of_criu) pagemap.runs.push_back(pages.range);
    STASIS_RETURN_IF_ERROR(pagemap.Write(images, process));
    taken.push_back(std::move(memory));
  }
  return taken;
}

}  // namespace stasis::criu
