#include "store/collector.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "linux/files.h"
#include "store/live_pages.h"
#include "store/pack.h"
#include "store/page_index.h"
#include "store/page_reader.h"
#include "store/store_files.h"
#include "store/writer.h"

namespace stasis::store {
namespace {

// A pack is made anew once less than half of it is needed.
bool IsWorthIt(const Pack& pack, uint32_t needed) { return needed < pack.pages() / 2 || needed == 0; }

Status AddAll(const std::vector<StreamId>& streams, LivePages* live, const std::stop_token& cancel) {
  for (const StreamId& stream : streams) STASIS_RETURN_IF_ERROR(live->Add(stream, cancel));
  return absl::OkStatus();
}

StatusOr<UniqueFd> TakeCollectorLock(const std::string& directory) {
  const std::string path = directory + "/collector.lock";
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  return Unavailable(directory + " is being collected already");
}

using Packs = std::vector<std::shared_ptr<const Pack>>;

// Those that hold little of what is needed and that nobody uses, claimed.
StatusOr<Packs> ClaimPacks(const std::string& directory, const LivePages& live) {
  Packs claimed;
  STASIS_ASSIGN_OR_RETURN(const std::vector<PackId> ids, ListPacks(directory));
  for (const PackId id : ids) {
    auto pack = Pack::Open(directory, id);
    // What is damaged stays, for whoever looks at it.
    if (pack.ok() && IsWorthIt(**pack, live.CountIn(id)) && (*pack)->Claim())
      claimed.push_back(*std::move(pack));
  }
  return claimed;
}

// What is needed of them, into new packs.
StatusOr<uint64_t> MovePages(const std::shared_ptr<StoreFiles>& files, const Packs& packs,
                             const LivePages& live, const std::stop_token& cancel,
                             std::unique_ptr<Writer>* writer) {
  STASIS_ASSIGN_OR_RETURN(*writer, Writer::Start(files));
  for (const std::shared_ptr<const Pack>& pack : packs) {
    for (uint32_t block = 0; block < pack->blocks() && live.CountIn(pack->id()) != 0; ++block) {
      if (cancel.stop_requested()) return Cancelled("the collection was cancelled");
      std::string pages;
      const uint32_t end = std::min(pack->pages(), (block + 1) * kBlockPages);
      for (uint32_t entry = block * kBlockPages; entry < end; ++entry) {
        if (!live.Contains({pack->id(), entry})) continue;
        if (pages.empty()) {
          STASIS_ASSIGN_OR_RETURN(pages, pack->ReadBlock(block));
        }
        STASIS_RETURN_IF_ERROR(
            (*writer)->AddPage(pack->hash(entry), pages.data() + entry % kBlockPages * kPageBytes));
      }
    }
  }
  STASIS_RETURN_IF_ERROR((*writer)->Commit());
  return (*writer)->stored_bytes();
}

}  // namespace

StatusOr<Collected> CollectGarbage(const std::string& directory, const ListStreams& streams,
                                   const std::stop_token& cancel) {
  StatusOr<std::unique_ptr<StoreFiles>> files = OpenStoreFiles(directory);
  if (!files.ok()) return files.status();
  const auto collected = CollectGarbage(std::shared_ptr<StoreFiles>(*std::move(files)), streams, cancel);
  if (collected.ok()) {
    STASIS_RETURN_IF_ERROR(RemoveEmptyStore(directory));
  }
  return collected;
}

StatusOr<Collected> CollectGarbage(const std::shared_ptr<StoreFiles>& files, const ListStreams& streams,
                                   const std::stop_token& cancel) {
  const std::string& directory = files->directory();
  // Of a page that two packs have, two collectors could each take the other's.
  STASIS_ASSIGN_OR_RETURN(const UniqueFd alone, TakeCollectorLock(directory));
  STASIS_RETURN_IF_ERROR(RemovePartialPacks(directory));
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<PageFinder> finder, PageFinder::Open(directory));
  LivePages live(finder.get());
  STASIS_ASSIGN_OR_RETURN(const std::vector<StreamId> first, streams());
  STASIS_RETURN_IF_ERROR(AddAll(first, &live, cancel));
  STASIS_ASSIGN_OR_RETURN(const Packs packs, ClaimPacks(directory, live));
  if (packs.empty()) return Collected{};
  // What was published between that listing and our claims; nothing of these packs can be used from now on.
  STASIS_ASSIGN_OR_RETURN(const std::vector<StreamId> second, streams());
  STASIS_RETURN_IF_ERROR(AddAll(second, &live, cancel));
  std::unique_ptr<Writer> writer;
  STASIS_ASSIGN_OR_RETURN(const uint64_t moved, MovePages(files, packs, live, cancel, &writer));
  std::set<PackId> removed;
  Collected collected;
  for (const std::shared_ptr<const Pack>& pack : packs) {
    removed.insert(pack->id());
    collected.bytes += pack->size();
    ++collected.packs;
  }
  collected.bytes -= std::min(collected.bytes, moved);
  {
    STASIS_ASSIGN_OR_RETURN(const PageIndexLock lock, PageIndexLock::Take(directory));
    STASIS_RETURN_IF_ERROR(
        RebuildPageIndex(directory, [&](PackId id) { return removed.contains(id); }).status());
  }
  // The commit above made durable what is counted on instead, be it ours or another's.
  for (const PackId id : removed) STASIS_RETURN_IF_ERROR(files->Remove(id));
  STASIS_RETURN_IF_ERROR(files->SyncPacks());
  return collected;
}

}  // namespace stasis::store
