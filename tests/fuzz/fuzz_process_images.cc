// A checkpoint's images may come from elsewhere: whatever they say, what is shown of them has an end.
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "criu/process_images.h"

namespace {

using stasis::StatusOr;

// The input is the contents of these, each behind its size; the magic numbers are put before.
constexpr struct {
  const char* name;
  uint32_t magic;
} kImages[] = {
    {"pstree.img", 0x50273030},    {"core-1.img", 0x55053847},
    {"ids-1.img", 0x54432030},     {"fs-1.img", 0x51403912},
    {"files.img", 0x56303138},     {"memfd.img", 0x48453499},
    {"fdinfo-1.img", 0x56213732},  {"mm-1.img", 0x57492820},
    {"pagemap-1.img", 0x56084025}, {"pagemap-shmem-1.img", 0x56084025},
};

std::string Number(uint32_t value) {
  return {static_cast<char>(value), static_cast<char>(value >> 8), static_cast<char>(value >> 16),
          static_cast<char>(value >> 24)};
}

// The smallest tree there is, so that what is behind it is reached.
const std::map<std::string, std::string> kValid = {
    {"pstree.img", Number(10) + std::string("\x08\x01\x10\x00\x18\x01\x20\x01\x28\x01", 10)},
    {"core-1.img", Number(7) + std::string("\x1a\x05\x08\x01\x32\x01\x61", 7)},
    {"ids-1.img", Number(2) + std::string("\x10\x01", 2)},
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::map<std::string, std::string> images;
  for (const auto& image : kImages) {
    if (rest.size() < 2) break;
    const size_t its = static_cast<uint8_t>(rest[0]) + 256u * static_cast<uint8_t>(rest[1]);
    rest.remove_prefix(2);
    std::string content(rest.substr(0, its));
    rest.remove_prefix(content.size());
    if (const auto valid = kValid.find(image.name); content.empty() && valid != kValid.end())
      content = valid->second;
    images[image.name] = Number(0x54564319) + Number(image.magic) + content;
  }
  auto read =
      stasis::criu::ProcessImages::Read([&](const std::string& name, size_t limit) -> StatusOr<std::string> {
        const auto image = images.find(name);
        if (image == images.end()) return stasis::NotFound(name);
        if (image->second.size() > limit) return stasis::DataLoss(name);
        return image->second;
      });
  if (!read.ok()) return 0;
  for (const stasis::criu::SavedProcess& process : read->processes()) {
    read->PlacesOf(process).status().IgnoreError();
    read->Descriptors(process).status().IgnoreError();
    const auto memory = read->Memory(process);
    if (!memory.ok()) continue;
    uint64_t end = 0;
    for (const stasis::criu::SavedMapping& mapping : memory->mappings) {
      // What is saved of a mapping lies in its pages, and in those of the memory that it shares.
      const uint64_t pages = mapping.end - mapping.start + 2 * 4096;
      if (mapping.start < end || mapping.end <= mapping.start || mapping.saved_bytes / 2 > pages)
        std::abort();
      end = mapping.end;
    }
  }
  return 0;
}
