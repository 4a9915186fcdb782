#include "store/usage.h"

#include <map>
#include <memory>

#include "store/live_pages.h"
#include "store/page_reader.h"

namespace stasis::store {
namespace {

constexpr uint32_t kNobody = UINT32_MAX;
constexpr uint32_t kMany = UINT32_MAX - 1;

// Who needs each page.
class Owners {
 public:
  explicit Owners(const std::string& directory) : packs_(directory) {}

  // Returns the disk space that the page takes.
  StatusOr<uint64_t> Add(uint32_t owner, const PageLocation& location) {
    OfPack& of_pack = by_pack_[location.pack];
    if (!of_pack.pack) {
      STASIS_ASSIGN_OR_RETURN(of_pack.pack, packs_.Get(location.pack));
      of_pack.owners.assign(of_pack.pack->pages(), kNobody);
    }
    uint32_t& known = of_pack.owners[location.entry];
    known = known == kNobody ? owner : kMany;
    return of_pack.pack->StoredBytes(location.entry);
  }

  void CountOwnBytes(std::vector<Usage>* usage) const {
    for (const auto& [id, of_pack] : by_pack_) {
      for (uint32_t entry = 0; entry < of_pack.owners.size(); ++entry) {
        const uint32_t owner = of_pack.owners[entry];
        if (owner < usage->size()) (*usage)[owner].own_bytes += of_pack.pack->StoredBytes(entry);
      }
    }
  }

 private:
  struct OfPack {
    std::shared_ptr<const Pack> pack;
    std::vector<uint32_t> owners;  // by entry
  };
  PackSet packs_;
  std::map<PackId, OfPack> by_pack_;
};

}  // namespace

StatusOr<std::vector<Usage>> MeasureUsage(const std::string& directory,
                                          const std::vector<std::vector<StreamId>>& owners,
                                          const std::stop_token& cancel,
                                          const std::function<void(uint64_t)>& on_bytes) {
  std::vector<Usage> usage(owners.size());
  if (owners.empty()) return usage;
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<PageFinder> finder, PageFinder::Open(directory));
  Owners whose(directory);
  for (uint32_t owner = 0; owner < owners.size(); ++owner) {
    LivePages pages(finder.get());
    for (const StreamId& stream : owners[owner]) {
      const Status added = pages.Add(stream, cancel);
      if (!added.ok() && !absl::IsDataLoss(added)) return added;
      usage[owner].status.Update(added);
      if (on_bytes) on_bytes(stream.size);
    }
    Status status;
    pages.ForEach([&](const PageLocation& location) {
      const auto bytes = whose.Add(owner, location);
      status.Update(bytes.status());
      if (bytes.ok()) usage[owner].stored_bytes += *bytes;
    });
    STASIS_RETURN_IF_ERROR(status);
  }
  whose.CountOwnBytes(&usage);
  return usage;
}

}  // namespace stasis::store
