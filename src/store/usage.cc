#include "store/usage.h"

#include <map>
#include <memory>

#include "store/live_pages.h"
#include "store/page_reader.h"

namespace stasis::store {
namespace {

constexpr uint32_t kNobody = UINT32_MAX;
constexpr uint32_t kMany = UINT32_MAX - 1;

struct OfPack {
  std::shared_ptr<const Pack> pack;
  std::vector<uint32_t> owners;  // by entry
};

}  // namespace

StatusOr<std::vector<Usage>> MeasureUsage(const std::string& directory,
                                          const std::vector<std::vector<StreamId>>& owners,
                                          const std::stop_token& cancel,
                                          const std::function<void(uint64_t)>& on_bytes) {
  std::vector<Usage> usage(owners.size());
  if (owners.empty()) return usage;
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<PageFinder> finder, PageFinder::Open(directory));
  PackSet packs(directory);
  std::map<PackId, OfPack> whose;
  Status status;
  for (uint32_t owner = 0; owner < owners.size(); ++owner) {
    LivePages pages(finder.get());
    for (const StreamId& stream : owners[owner]) {
      STASIS_RETURN_IF_ERROR(pages.Add(stream, cancel));
      if (on_bytes) on_bytes(stream.size);
    }
    pages.ForEach([&](const PageLocation& location) {
      OfPack& of_pack = whose[location.pack];
      if (!of_pack.pack) {
        auto pack = packs.Get(location.pack);
        status.Update(pack.status());
        if (!pack.ok()) return;
        of_pack.owners.assign((*pack)->pages(), kNobody);
        of_pack.pack = *std::move(pack);
      }
      usage[owner].stored_bytes += of_pack.pack->StoredBytes(location.entry);
      uint32_t& known = of_pack.owners[location.entry];
      known = known == kNobody ? owner : kMany;
    });
    STASIS_RETURN_IF_ERROR(status);
  }
  for (const auto& [id, of_pack] : whose) {
    for (uint32_t entry = 0; entry < of_pack.owners.size(); ++entry) {
      const uint32_t owner = of_pack.owners[entry];
      if (owner < owners.size()) usage[owner].own_bytes += of_pack.pack->StoredBytes(entry);
    }
  }
  return usage;
}

}  // namespace stasis::store
