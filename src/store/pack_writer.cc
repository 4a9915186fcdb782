#include "store/pack_writer.h"

#include <lz4.h>
#include <zstd.h>

#include <cstddef>
#include <cstring>
#include <random>
#include <utility>

namespace stasis::store {
namespace {

// Of zstd. Measured (docs/adr/0006): lower ones store much more, higher ones take longer and store no less.
constexpr int kLevel = 1;
constexpr size_t kBlocksAtOnce = 3;
constexpr int kAttempts = 100;

template <typename T>
std::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace

StatusOr<std::unique_ptr<PackWriter>> PackWriter::Create(StoreFiles* files) {
  std::random_device random;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const PackId id = random();
    if (id == 0) continue;
    auto file = files->Create(id);
    if (absl::IsAlreadyExists(file.status())) continue;
    if (!file.ok()) return file.status();
    std::unique_ptr<PackWriter> writer(new PackWriter(files, id, *std::move(file)));
    STASIS_RETURN_IF_ERROR(writer->Write(BytesOf(MakePackHeader(id))));
    return writer;
  }
  return Unavailable("the store has no free name for a pack");
}

PackWriter::~PackWriter() {
  if (!published_) files_->RemovePartial(id_).IgnoreError();  // else it is left to the next collection
}

Status PackWriter::Write(std::string_view bytes) {
  STASIS_RETURN_IF_ERROR(file_->Write(bytes));
  offset_ += bytes.size();
  return absl::OkStatus();
}

namespace {

// By LZ4; empty where that saves less than a sixteenth, which is not worth the time that reading it would
// cost.
std::string ByLz4(const std::string& pages) {
  std::string out(static_cast<size_t>(::LZ4_compressBound(static_cast<int>(pages.size()))), '\0');
  const int size = ::LZ4_compress_default(pages.data(), out.data(), static_cast<int>(pages.size()),
                                          static_cast<int>(out.size()));
  out.resize(size > 0 && static_cast<size_t>(size) <= pages.size() / 16 * 15 ? static_cast<size_t>(size) : 0);
  return out;
}

// Empty where it fails.
std::string ByZstd(const std::string& pages) {
  std::string out(::ZSTD_compressBound(pages.size()), '\0');
  const size_t size = ::ZSTD_compress(out.data(), out.size(), pages.data(), pages.size(), kLevel);
  out.resize(::ZSTD_isError(size) != 0 ? 0 : size);
  return out;
}

}  // namespace

// LZ4 is read at four times the speed of zstd, for which a restore waits. Only what LZ4 makes small zstd
// makes much smaller, and reads fast.
PackWriter::Compressed PackWriter::Compress(const std::string& pages) {
  Compressed out = {.bytes = ByLz4(pages), .block = {}};
  out.block.codec = PackBlock::kLz4;
  if (out.bytes.empty()) {
    out.bytes = pages;
    out.block.codec = PackBlock::kRaw;
  } else if (out.bytes.size() < pages.size() / 3) {
    std::string smaller = ByZstd(pages);
    if (!smaller.empty() && smaller.size() < out.bytes.size()) {
      out.bytes = std::move(smaller);
      out.block.codec = PackBlock::kZstd;
    }
  }
  out.bytes.shrink_to_fit();
  out.block.size = static_cast<uint32_t>(out.bytes.size());
  out.block.hash = HashBlock(out.bytes);
  return out;
}

Status PackWriter::Add(const PageHash& hash, const char* page) {
  if (pages_.empty()) pages_.reserve(kBlockPages * kPageBytes);
  pages_.append(page, kPageBytes);
  hashes_.push_back(hash);
  if (hashes_.size() % kBlockPages != 0) return absl::OkStatus();
  EndBlock();
  return compressing_.size() > kBlocksAtOnce ? WriteBlock() : absl::OkStatus();
}

void PackWriter::EndBlock() {
  compressing_.push_back(std::async(std::launch::async, Compress, std::move(pages_)));
  pages_.clear();
}

Status PackWriter::WriteBlock() {
  Compressed compressed = compressing_.front().get();
  compressing_.pop_front();
  compressed.block.offset = offset_;
  table_.push_back(compressed.block);
  return Write(compressed.bytes);
}

StatusOr<std::shared_ptr<const Pack>> PackWriter::Finish() {
  if (!pages_.empty()) EndBlock();
  while (!compressing_.empty()) STASIS_RETURN_IF_ERROR(WriteBlock());
  STASIS_RETURN_IF_ERROR(Write(std::string((8 - offset_ % 8) % 8, '\0')));
  const std::string_view hashes(reinterpret_cast<const char*>(hashes_.data()),
                                hashes_.size() * sizeof(PageHash));
  const std::string_view table(reinterpret_cast<const char*>(table_.data()),
                               table_.size() * sizeof(PackBlock));
  PackFooter footer = {};
  footer.index_offset = offset_;
  footer.pages = pages();
  footer.blocks = static_cast<uint32_t>(table_.size());
  std::memcpy(footer.magic, kPackMagic, sizeof kPackMagic);
  Sha256 sha256;
  sha256.Update(hashes);
  sha256.Update(table);
  sha256.Update(BytesOf(footer).substr(0, offsetof(PackFooter, index_hash)));
  sha256.Update(BytesOf(MakePackHeader(id_)));
  footer.index_hash = sha256.FinishBytes();
  STASIS_RETURN_IF_ERROR(Write(hashes));
  STASIS_RETURN_IF_ERROR(Write(table));
  STASIS_RETURN_IF_ERROR(Write(BytesOf(footer)));
  STASIS_RETURN_IF_ERROR(file_->Sync());
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<const Pack> pack, Pack::OpenPartial(files_->directory(), id_));
  // Before our own lock on it ends.
  if (!pack->Pin()) return Internal("a new pack cannot be kept");
  file_.reset();
  // Not "= {}", which keeps their memory.
  hashes_ = std::vector<PageHash>();
  table_ = std::vector<PackBlock>();
  return pack;
}

Status PackWriter::Publish() {
  STASIS_RETURN_IF_ERROR(files_->Publish(id_));
  published_ = true;
  return absl::OkStatus();
}

}  // namespace stasis::store
