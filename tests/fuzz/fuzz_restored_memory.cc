// A checkpoint's images may come from elsewhere: whatever they say, a restore takes each page once, from the
// place in the file of pages where its map of pages has it, and leaves the rest to CRIU.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "criu/restored_memory.h"
#include "linux/files.h"

namespace {

using stasis::criu::ProcessMemory;
using stasis::criu::SavedPages;

// The input is the contents of these, each behind its size; the magic numbers are put before.
constexpr struct {
  const char* name;
  uint32_t magic;
} kImages[] = {{"mm-1.img", 0x57492820},
               {"pagemap-1.img", 0x56084025},
               {"core-1.img", 0x55053847},
               {"mm-2.img", 0x57492820},
               {"pagemap-2.img", 0x56084025}};

std::string Number(uint32_t value) {
  return {static_cast<char>(value), static_cast<char>(value >> 8), static_cast<char>(value >> 16),
          static_cast<char>(value >> 24)};
}

// Memory, for all inputs of this process, which libFuzzer gives one after the other.
int Images() {
  static const int images = [] {
    static std::string path = "/dev/shm/fuzz-restored-memory-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    std::atexit([] { stasis::RemoveTree(path).IgnoreError(); });
    return ::open(path.c_str(), O_DIRECTORY | O_CLOEXEC);
  }();
  return images;
}

void Write(const char* name, const std::string& content) {
  const int file = ::openat(Images(), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || !stasis::WriteAllAt(file, content, 0).ok()) std::abort();
  ::close(file);
}

void Check(const ProcessMemory& memory) {
  std::vector<SavedPages> all = memory.taken;
  all.insert(all.end(), memory.of_criu.begin(), memory.of_criu.end());
  std::sort(all.begin(), all.end(),
            [](const SavedPages& a, const SavedPages& b) { return a.offset < b.offset; });
  uint64_t offset = 0;
  uint64_t address = 0;
  for (const SavedPages& pages : all) {
    const bool in_order = pages.range.begin >= address && pages.range.end > pages.range.begin;
    if (pages.offset != offset || !in_order) std::abort();
    offset += pages.range.size();
    address = pages.range.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (const auto& image : kImages) {
    std::string_view content;
    if (rest.size() >= 2) {
      const size_t its = static_cast<uint8_t>(rest[0]) + 256u * static_cast<uint8_t>(rest[1]);
      content = rest.substr(2, its);
      rest.remove_prefix(2 + content.size());
    }
    Write(image.name, Number(0x54564319) + Number(image.magic) + std::string(content));
  }
  const auto taken = stasis::criu::TakePrivateMemory(Images());
  if (!taken.ok()) return 0;
  for (const ProcessMemory& memory : *taken) Check(memory);
  return 0;
}
