#include "checkpoint/restored_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "criu/processes.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "store/stream_reader.h"

namespace stasis::checkpoint {
namespace {

constexpr size_t kMaxThreads = 1 << 20;

// Where saved pages go: to an address, or to an offset in a file.
class Placement {
 public:
  void Add(const criu::SavedPages& pages, uint64_t to) { pieces_.push_back({pages, to}); }

  bool Has(uint64_t offset) const { return Find(offset) != nullptr; }

  // Calls `write(to, bytes)` for each piece of pages that lie at `offset`.
  template <typename Write>
  Status Place(uint64_t offset, std::string_view pages, bool zeros, const Write& write) const {
    while (!pages.empty()) {
      const Piece* piece = Find(offset);
      if (piece == nullptr) return Internal("pages that nobody asked for");
      const uint64_t into = offset - piece->pages.offset;
      const std::string_view part = pages.substr(0, piece->pages.range.size() - into);
      if (!zeros || piece->pages.of_file) {
        STASIS_RETURN_IF_ERROR(write(piece->to + into, part));
      }
      pages.remove_prefix(part.size());
      offset += part.size();
    }
    return absl::OkStatus();
  }

 private:
  struct Piece {
    criu::SavedPages pages;
    uint64_t to = 0;
  };
  const Piece* Find(uint64_t offset) const {
    auto after = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                                  [](uint64_t at, const Piece& piece) { return at < piece.pages.offset; });
    if (after == pieces_.begin()) return nullptr;
    const criu::SavedPages& pages = (--after)->pages;
    return offset - pages.offset < pages.range.size() ? &*after : nullptr;
  }

  std::vector<Piece> pieces_;  // by offset
};

store::StreamSink SinkOf(const Placement& placement, int file) {
  const auto write = [file](uint64_t to, std::string_view bytes) { return WriteAllAt(file, bytes, to); };
  return {.wants = [&placement](uint64_t offset) { return placement.Has(offset); },
          .take =
              [&placement, write](uint64_t offset, std::string_view pages) {
                return placement.Place(offset, pages, /*zeros=*/false, write);
              },
          .take_zeros =
              [&placement, write](uint64_t offset, std::string_view zeros) {
                return placement.Place(offset, zeros, /*zeros=*/true, write);
              }};
}

// From CRIU's side of the connection: thread ids, until it writes no more.
StatusOr<std::vector<pid_t>> ReadThreads(int connection, const std::stop_token& cancel) {
  std::vector<pid_t> threads;
  for (pid_t thread = 0; threads.size() < kMaxThreads; threads.push_back(thread)) {
    const Status status = ReadExactly(connection, &thread, sizeof thread, kNoDeadline, cancel);
    if (absl::IsCancelled(status)) return status;
    if (!status.ok()) break;
    if (thread == 0) return threads;
  }
  return Unavailable("CRIU has not said which processes it restores");
}

// /proc/PID/mem of each process, by its pid as the container sees it. Once open, it stands for that memory,
// whoever gets the pid.
StatusOr<std::map<pid_t, UniqueFd>> OpenMemory(const std::vector<pid_t>& threads) {
  std::map<pid_t, UniqueFd> opened;
  for (const pid_t thread : threads) {
    const std::string directory = "/proc/" + std::to_string(thread);
    STASIS_ASSIGN_OR_RETURN(UniqueFd memory, OpenFile(directory + "/mem", O_WRONLY));
    STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile(directory + "/status"));
    STASIS_ASSIGN_OR_RETURN(const criu::Process outside, criu::ParseProcessStatus(text, 0));
    STASIS_ASSIGN_OR_RETURN(const criu::Process process,
                            criu::ParseProcessStatus(text, outside.pid_namespaces - 1));
    opened.try_emplace(process.inside, std::move(memory));
  }
  return opened;
}

}  // namespace

StatusOr<RestoredFiles> RestoredFiles::Unpack(const Manifest& manifest, const std::string& store, int images,
                                              const OnBytes& on_bytes, const std::stop_token& cancel) {
  RestoredFiles restored;
  STASIS_ASSIGN_OR_RETURN(restored.finder_, OpenStore(store));
  const auto is_pages = [](const ManifestFile& file) { return file.name.starts_with("pages-"); };
  for (const ManifestFile& file : manifest.files) {
    if (is_pages(file)) continue;
    STASIS_RETURN_IF_ERROR(UnpackFile(restored.finder_.get(), file, images, on_bytes, cancel));
  }
  STASIS_ASSIGN_OR_RETURN(std::vector<criu::ProcessMemory> taken, criu::TakePrivateMemory(images));
  for (const ManifestFile& file : manifest.files) {
    if (!is_pages(file)) continue;
    STASIS_RETURN_IF_ERROR(
        Annotate(restored.WritePages(file, images, &taken, on_bytes, cancel), "file " + file.name));
  }
  if (!taken.empty()) return DataLoss("file " + taken.front().pages_file + ": it is not there");
  return restored;
}

// Those that go through CRIU; the rest is left for Fill.
Status RestoredFiles::WritePages(const ManifestFile& file, int images,
                                 std::vector<criu::ProcessMemory>* taken, const OnBytes& on_bytes,
                                 const std::stop_token& cancel) {
  const auto its = std::find_if(taken->begin(), taken->end(), [&](const criu::ProcessMemory& memory) {
    return memory.pages_file == file.name;
  });
  if (its == taken->end()) return UnpackFile(finder_.get(), file, images, on_bytes, cancel);
  Placement placement;
  uint64_t size = 0;
  for (const criu::SavedPages& pages : its->of_criu) {
    placement.Add(pages, size);
    size += pages.range.size();
  }
  STASIS_ASSIGN_OR_RETURN(const UniqueFd made,
                          OpenFileAt(images, file.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  STASIS_RETURN_IF_ERROR(
      store::ReadStream(finder_.get(), file.content, SinkOf(placement, made.get()), on_bytes, cancel));
  if (::ftruncate(made.get(), static_cast<off_t>(size)) != 0) return ErrnoError(errno, "ftruncate");
  memory_.push_back({std::move(*its), file.content});
  taken->erase(its);
  return absl::OkStatus();
}

Status RestoredFiles::Fill(const UnixListener& listener, const OnBytes& on_bytes,
                           const std::stop_token& cancel) const {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd connection, listener.Accept(cancel));
  STASIS_ASSIGN_OR_RETURN(const std::vector<pid_t> threads, ReadThreads(connection.get(), cancel));
  STASIS_ASSIGN_OR_RETURN(const auto memories, OpenMemory(threads));
  for (const auto& [pages, stream] : memory_) {
    const std::string label = "memory of process " + std::to_string(pages.process);
    const auto memory = memories.find(pages.process);
    if (memory == memories.end()) return Internal(label + ": CRIU has not restored it");
    Placement placement;
    for (const criu::SavedPages& saved : pages.taken) placement.Add(saved, saved.range.begin);
    STASIS_RETURN_IF_ERROR(Annotate(
        store::ReadStream(finder_.get(), stream, SinkOf(placement, memory->second.get()), on_bytes, cancel),
        label));
  }
  return SendExactly(connection.get(), "1", kNoDeadline, cancel);
}

}  // namespace stasis::checkpoint
