// Whether a store still holds what was put into it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "store/page_reader.h"
#include "store/page_tree.h"
#include "store/store_files.h"

namespace stasis::store {

// One thread.
class Verifier {
 public:
  static StatusOr<std::unique_ptr<Verifier>> Open(const std::string& directory);
  static StatusOr<std::unique_ptr<Verifier>> Open(std::shared_ptr<StoreFiles> files);

  // Reads every byte of every pack, once. `on_bytes` is told of bytes of the packs. Damage is remembered, not
  // an error; it is noted beside the pack, so that no writer counts on what is in it. kCancelled.
  Status ReadPacks(const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel);
  // "packs/0012ab34.pack: block 7 is damaged"
  const std::vector<std::string>& damage() const { return damage_; }
  uint64_t bytes() const { return bytes_; }  // read

  PageFinder* finder() const { return finder_.get(); }

  // After ReadPacks. kDataLoss: it cannot be read in full, and the message names the file and what of it.
  Status CheckStream(const StreamId& stream, const std::stop_token& cancel);

 private:
  Verifier(std::shared_ptr<StoreFiles> files, std::unique_ptr<PageFinder> finder)
      : files_(std::move(files)), finder_(std::move(finder)), reader_(finder_.get()) {}
  bool CheckBlock(const Pack& pack, uint32_t block);
  void Mark(const Pack& pack, bool damaged);

  const std::shared_ptr<StoreFiles> files_;
  std::unique_ptr<PageFinder> finder_;
  PageReader reader_;
  PageFinder::Place place_;
  std::set<std::pair<PackId, uint32_t>> damaged_blocks_;
  std::vector<std::string> damage_;
  uint64_t bytes_ = 0;
};

}  // namespace stasis::store
