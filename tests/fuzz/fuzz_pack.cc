// A pack is hostile input. Half of the inputs get the hashes that they should have, so that what is behind
// the checks of them is reached: sizes, offsets, counts and what zstd is given.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "linux/files.h"
#include "store/block_hash.h"
#include "store/pack.h"
#include "store/pack_writer.h"

namespace {

using stasis::Sha256;
using stasis::store::PackBlock;
using stasis::store::PackFooter;
using stasis::store::PackHeader;

constexpr stasis::store::PackId kId = 1;

void MakeHashesRight(std::string* pack) {
  if (pack->size() < sizeof(PackHeader) + sizeof(PackFooter)) return;
  const PackHeader header = stasis::store::MakePackHeader(kId);
  std::memcpy(pack->data(), &header, sizeof header);
  char* const end = pack->data() + pack->size() - sizeof(PackFooter);
  PackFooter footer;
  std::memcpy(&footer, end, sizeof footer);
  std::memcpy(footer.magic, header.magic, sizeof footer.magic);
  footer.pages %= 300;
  footer.blocks = (footer.pages + stasis::store::kBlockPages - 1) / stasis::store::kBlockPages;
  const size_t hashes = footer.pages * sizeof(stasis::store::PageHash);
  const size_t index = hashes + footer.blocks * sizeof(PackBlock);
  const size_t room = pack->size() - sizeof footer - sizeof header;
  if (index > room) return;
  footer.index_offset = sizeof header + (room - index) / 8 * 8;
  pack->erase(sizeof header, (room - index) % 8);
  uint64_t offset = sizeof header;
  for (uint32_t i = 0; i < footer.blocks; ++i) {
    char* const at = pack->data() + footer.index_offset + hashes + i * sizeof(PackBlock);
    PackBlock block;
    std::memcpy(&block, at, sizeof block);
    // What is left of the room goes to the last; some keep the offset that they came with.
    if (block.codec % 16 != 15) block.offset = offset;
    block.codec %= 3;
    block.size %= 4096;
    // Less than 8 bytes are padding.
    if (i + 1 == footer.blocks && footer.index_offset - block.offset - block.size >= 8)
      block.size = static_cast<uint32_t>(footer.index_offset - block.offset);
    if (block.offset <= pack->size() && block.size <= pack->size() - block.offset)
      block.hash = stasis::store::HashBlock({pack->data() + block.offset, block.size});
    offset += block.size;
    std::memcpy(at, &block, sizeof block);
  }
  Sha256 sha256;
  sha256.Update({pack->data() + footer.index_offset, index});
  sha256.Update({reinterpret_cast<const char*>(&footer), offsetof(PackFooter, index_hash)});
  sha256.Update({pack->data(), sizeof header});
  footer.index_hash = sha256.FinishBytes();
  std::memcpy(pack->data() + pack->size() - sizeof footer, &footer, sizeof footer);
}

// Of a full block and a short one, both small enough that MakeHashesRight keeps them.
std::string RealPack(const std::string& directory) {
  auto files = stasis::store::OpenStoreFiles(directory);
  if (!files.ok()) std::abort();
  auto writer = stasis::store::PackWriter::Create(files->get());
  if (!writer.ok()) std::abort();
  for (uint32_t i = 0; i < stasis::store::kBlockPages + 1; ++i) {
    std::string page(stasis::store::kPageBytes, static_cast<char>(i));
    if (!(*writer)->Add(stasis::store::PageHasher().Hash(page.data()), page.data()).ok()) std::abort();
  }
  if (!(*writer)->Finish().ok()) std::abort();
  auto bytes = stasis::ReadFile(stasis::store::PacksPath(directory) + "/" +
                                stasis::store::PartialPackName((*writer)->id()));
  if (!bytes.ok()) std::abort();
  return *bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string* const directory = [] {
    auto made =
        stasis::TemporaryDirectory::Create(stasis::Exists("/dev/shm") ? "/dev/shm" : "/tmp", "fuzz-pack-");
    if (!made.ok() || !stasis::MakeDirectories(stasis::store::PacksPath(made->path())).ok()) std::abort();
    static stasis::TemporaryDirectory kept = *std::move(made);
    return &kept.path();
  }();
  if (size == 0) return 0;
  static const std::string* const real = new std::string(RealPack(*directory));
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 4 == 0) {  // changes to a real one
    bytes = *real;
    for (size_t i = 1; i + 3 <= size; i += 3) {
      const size_t at = (data[i] * size_t{256} + data[i + 1]) % bytes.size();
      bytes[at] = static_cast<char>(bytes[at] ^ data[i + 2]);
    }
  }
  if (data[0] % 2 == 0) MakeHashesRight(&bytes);
  const std::string path = stasis::store::PacksPath(*directory) + "/" + stasis::store::PackName(kId);
  if (!stasis::WriteFileAtomically(path, bytes).ok()) std::abort();
  const auto pack = stasis::store::Pack::Open(*directory, kId);
  if (!pack.ok()) return 0;
  uint32_t pages = 0;
  for (uint32_t block = 0; block < (*pack)->blocks(); ++block) {
    const auto read = (*pack)->ReadBlock(block);
    const uint32_t want = std::min(stasis::store::kBlockPages, (*pack)->pages() - pages);
    if (read.ok() && read->size() != want * stasis::store::kPageBytes) std::abort();
    pages += want;
  }
  if (size == 1 && data[0] == 0 && !(*pack)->ReadBlock(1).ok()) std::abort();
  if (pages != (*pack)->pages() || (*pack)->ReadBlock((*pack)->blocks()).ok()) std::abort();
  return 0;
}
