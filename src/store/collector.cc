#include "store/collector.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "linux/files.h"
#include "linux/regular_file.h"
#include "store/live_pages.h"
#include "store/pack.h"
#include "store/page_index.h"
#include "store/page_reader.h"
#include "store/store_files.h"
#include "store/writer.h"

namespace stasis::store {
namespace {

// Each is open for as long as it is claimed.
constexpr size_t kMostClaimed = 128;

// A pack is made anew once less than half of it is needed.
bool IsWorthIt(const Pack& pack, uint32_t needed) { return needed < pack.pages() / 2 || needed == 0; }

Status AddAll(const std::vector<StreamId>& streams, LivePages* live, const std::stop_token& cancel,
              const OnWalked& on_bytes) {
  for (const StreamId& stream : streams) {
    STASIS_RETURN_IF_ERROR(live->Add(stream, cancel));
    if (on_bytes) on_bytes(stream.size);
  }
  return absl::OkStatus();
}

StatusOr<UniqueFd> TakeCollectorLock(const std::string& directory) {
  const std::string path = directory + "/collector.lock";
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenRegularFile(path, O_RDWR | O_CREAT, 0600));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  return Unavailable(directory + " is being collected already");
}

using Packs = std::vector<std::shared_ptr<const Pack>>;

// Those that hold little of what is needed and that nobody uses, claimed.
StatusOr<Packs> ClaimPacks(const std::string& directory, const LivePages& live) {
  Packs claimed;
  STASIS_ASSIGN_OR_RETURN(const std::vector<PackId> ids, ListPacks(directory));
  for (const PackId id : ids) {
    if (claimed.size() == kMostClaimed) break;
    auto pack = Pack::Open(directory, id);
    // What is damaged stays, for whoever looks at it.
    if (pack.ok() && IsWorthIt(**pack, live.CountIn(id)) && (*pack)->Claim())
      claimed.push_back(*std::move(pack));
  }
  return claimed;
}

// Hands each page of it that is needed to `use`.
Status ForEachNeeded(const Pack& pack, const LivePages& live, const std::stop_token& cancel,
                     const std::function<Status(uint32_t entry, const char* page)>& use) {
  for (uint32_t block = 0; block < pack.blocks(); ++block) {
    if (cancel.stop_requested()) return Cancelled("the collection was cancelled");
    std::string pages;
    const uint32_t end = std::min(pack.pages(), (block + 1) * kBlockPages);
    for (uint32_t entry = block * kBlockPages; entry < end; ++entry) {
      if (!live.Contains({pack.id(), entry})) continue;
      if (pages.empty()) {
        STASIS_ASSIGN_OR_RETURN(pages, pack.ReadBlock(block));
      }
      STASIS_RETURN_IF_ERROR(use(entry, pages.data() + entry % kBlockPages * kPageBytes));
    }
  }
  return absl::OkStatus();
}

// Whether all that is needed of it can be read. A damaged one stays, as in ClaimPacks.
StatusOr<bool> CanBeMoved(const Pack& pack, const LivePages& live, const std::stop_token& cancel) {
  const Status read =
      ForEachNeeded(pack, live, cancel, [](uint32_t, const char*) { return absl::OkStatus(); });
  if (absl::IsDataLoss(read)) return false;
  STASIS_RETURN_IF_ERROR(read);
  return true;
}

// What is needed of them, into new packs.
StatusOr<uint64_t> MovePages(const std::shared_ptr<StoreFiles>& files, const Packs& packs,
                             const LivePages& live, const std::stop_token& cancel,
                             std::unique_ptr<Writer>* writer) {
  STASIS_ASSIGN_OR_RETURN(*writer, Writer::Start(files));
  for (const std::shared_ptr<const Pack>& pack : packs) {
    STASIS_RETURN_IF_ERROR(ForEachNeeded(*pack, live, cancel, [&](uint32_t entry, const char* page) {
      return (*writer)->AddPage(pack->hash(entry), page);
    }));
  }
  STASIS_RETURN_IF_ERROR((*writer)->Commit());
  return (*writer)->stored_bytes();
}

Status RemovePacks(StoreFiles* files, const Packs& packs, Collected* collected) {
  for (const std::shared_ptr<const Pack>& pack : packs) {
    STASIS_RETURN_IF_ERROR(files->Remove(pack->id()));
    collected->bytes += pack->size();
    ++collected->packs;
  }
  return files->SyncPacks();
}

// So that searches are short. Without it, its hints of removed packs are not believed.
Status RenewIndex(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(const PageIndexLock lock, PageIndexLock::Take(directory));
  const Status status = RebuildPageIndex(directory).status();
  return absl::IsResourceExhausted(status) ? absl::OkStatus() : status;
}

// Moves what is needed of these packs, and removes them.
Status Replace(const std::shared_ptr<StoreFiles>& files, const Packs& packs, const LivePages& live,
               const std::stop_token& cancel, Collected* collected) {
  Packs whole;
  for (const std::shared_ptr<const Pack>& pack : packs) {
    STASIS_ASSIGN_OR_RETURN(const bool can, CanBeMoved(*pack, live, cancel));
    if (can) whole.push_back(pack);
  }
  if (whole.empty()) return absl::OkStatus();
  std::unique_ptr<Writer> writer;
  STASIS_ASSIGN_OR_RETURN(const uint64_t moved, MovePages(files, whole, live, cancel, &writer));
  // That commit made durable what is counted on instead, be it ours or another's.
  STASIS_RETURN_IF_ERROR(RemovePacks(files.get(), whole, collected));
  collected->bytes -= std::min(collected->bytes, moved);
  return absl::OkStatus();
}

// Returns how many packs it has claimed.
StatusOr<size_t> CollectSome(const std::shared_ptr<StoreFiles>& files, const ListStreams& streams,
                             const std::stop_token& cancel, const OnWalked& on_bytes, Collected* collected) {
  const std::string& directory = files->directory();
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<PageFinder> finder, PageFinder::Open(directory));
  LivePages live(finder.get());
  STASIS_ASSIGN_OR_RETURN(const std::vector<StreamId> first, streams());
  STASIS_RETURN_IF_ERROR(AddAll(first, &live, cancel, on_bytes));
  STASIS_ASSIGN_OR_RETURN(const Packs packs, ClaimPacks(directory, live));
  if (packs.empty()) return 0;
  // What was published between that listing and our claims; nothing of these packs can be used from now on.
  STASIS_ASSIGN_OR_RETURN(const std::vector<StreamId> second, streams());
  STASIS_RETURN_IF_ERROR(AddAll(second, &live, cancel, on_bytes));
  Packs needless;
  Packs needed;
  for (const std::shared_ptr<const Pack>& pack : packs)
    (live.CountIn(pack->id()) == 0 ? needless : needed).push_back(pack);
  // First, and without writing anything: on a full disk this makes the room for the others. A page of theirs
  // that is needed is in a pack whose writer may not have synced its name yet.
  STASIS_RETURN_IF_ERROR(files->SyncPacks());
  STASIS_RETURN_IF_ERROR(RemovePacks(files.get(), needless, collected));
  const Status replaced = Replace(files, needed, live, cancel, collected);
  // Where there is no room yet, what was given back is good all the same.
  if (!replaced.ok() && (!absl::IsResourceExhausted(replaced) || needless.empty())) return replaced;
  STASIS_RETURN_IF_ERROR(RenewIndex(directory));
  return packs.size();
}

}  // namespace

StatusOr<Collected> CollectGarbage(const std::string& directory, const ListStreams& streams,
                                   const std::stop_token& cancel, const OnWalked& on_bytes) {
  const auto collect = [&]() -> StatusOr<Collected> {
    STASIS_ASSIGN_OR_RETURN(const std::shared_ptr<StoreFiles> files, OpenStoreFiles(directory));
    return CollectGarbage(files, streams, cancel, on_bytes);
  };
  STASIS_ASSIGN_OR_RETURN(const Collected collected, collect());
  // Only now: while we have it open ourselves, it stays.
  STASIS_RETURN_IF_ERROR(RemoveEmptyStore(directory));
  return collected;
}

StatusOr<Collected> CollectGarbage(const std::shared_ptr<StoreFiles>& files, const ListStreams& streams,
                                   const std::stop_token& cancel, const OnWalked& on_bytes) {
  const std::string& directory = files->directory();
  // Of a page that two packs have, two collectors could each take the other's.
  STASIS_ASSIGN_OR_RETURN(const UniqueFd alone, TakeCollectorLock(directory));
  STASIS_RETURN_IF_ERROR(RemovePartialPacks(directory));
  Collected collected;
  for (;;) {
    const size_t before = collected.packs;
    STASIS_ASSIGN_OR_RETURN(const size_t claimed, CollectSome(files, streams, cancel, on_bytes, &collected));
    if (claimed < kMostClaimed || collected.packs == before) return collected;
  }
}

}  // namespace stasis::store
