#include "checkpoint/restored_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "criu/host_name.h"
#include "criu/posix_locks.h"
#include "criu/processes.h"
#include "criu/removed_segments.h"
#include "criu/restored_timers.h"
#include "criu/settings.h"
#include "linux/files.h"
#include "linux/proc.h"
#include "manifest/checkpoint_content.h"
#include "store/stream_reader.h"

namespace stasis::checkpoint {

using Memories = std::map<pid_t, UniqueFd>;  // by pid as the container sees it

// Writes into memory that is not there yet: until then bytes are kept, as far as they may be.
class MemoryWriter {
 public:
  // Waits where no more may be kept. Then, like Flush, what Open was given.
  Status Write(pid_t process, uint64_t address, std::string_view bytes) {
    {
      std::lock_guard lock(mutex_);
      if (!memories_ && kept_bytes_ + bytes.size() <= kMostKept) {
        kept_.push_back({process, address, std::string(bytes)});
        kept_bytes_ += bytes.size();
        return absl::OkStatus();
      }
    }
    STASIS_RETURN_IF_ERROR(Flush());
    return WriteNow(process, address, bytes);
  }

  // Once: where it is, or why it never will be.
  void Open(StatusOr<Memories> memories) {
    std::lock_guard lock(mutex_);
    memories_ = std::move(memories);
    opened_.notify_all();
  }

  // What is kept and nobody else is writing, once it can be written.
  Status Flush() {
    for (;;) {
      Kept kept;
      {
        std::unique_lock lock(mutex_);
        opened_.wait(lock, [this] { return memories_.has_value(); });
        STASIS_RETURN_IF_ERROR(memories_->status());
        if (kept_.empty()) return absl::OkStatus();
        kept = std::move(kept_.front());
        kept_.pop_front();
      }
      STASIS_RETURN_IF_ERROR(WriteNow(kept.process, kept.address, kept.bytes));
    }
  }

 private:
  static constexpr size_t kMostKept = 128 << 20;
  struct Kept {
    pid_t process = 0;
    uint64_t address = 0;
    std::string bytes;
  };

  // memories_ does not change any more.
  Status WriteNow(pid_t process, uint64_t address, std::string_view bytes) const {
    const auto memory = (*memories_)->find(process);
    const Status status = memory == (*memories_)->end() ? Internal("CRIU has not restored it")
                                                        : WriteAllAt(memory->second.get(), bytes, address);
    return Annotate(status, "memory of process " + std::to_string(process));
  }

  std::mutex mutex_;
  std::condition_variable opened_;
  std::optional<StatusOr<Memories>> memories_;
  std::deque<Kept> kept_;
  size_t kept_bytes_ = 0;
};

namespace {

constexpr size_t kMaxThreads = 1 << 20;
constexpr size_t kMaxSettings = 64 << 20;

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

// `write(to, bytes)` is called from several threads.
template <typename Write>
store::StreamSink SinkOf(const Placement& placement, const Write& write) {
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

// What CRIU's end of the connection says, and is told (criu/preload/restore.c).
Status HasHungUp(const Status& status) {
  return absl::IsUnavailable(status) ? Cancelled("CRIU has hung up") : status;
}

StatusOr<std::vector<pid_t>> ReadThreads(int connection, const std::stop_token& cancel) {
  std::vector<pid_t> threads;
  for (pid_t thread = 0; threads.size() < kMaxThreads; threads.push_back(thread)) {
    STASIS_RETURN_IF_ERROR(HasHungUp(ReadExactly(connection, &thread, sizeof thread, kNoDeadline, cancel)));
    if (thread == 0) return threads;
  }
  return Internal("CRIU names more threads than can be");
}

Status LetGoOn(int connection, const std::stop_token& cancel) {
  return HasHungUp(SendExactly(connection, "1", kNoDeadline, cancel));
}

// /proc/PID/mem of each process. Once open, it stands for that memory, whoever gets the pid.
StatusOr<Memories> OpenMemories(const std::vector<pid_t>& threads) {
  Memories opened;
  for (const pid_t thread : threads) {
    STASIS_ASSIGN_OR_RETURN(UniqueFd memory, OpenFile(ProcPath(thread, "mem"), O_WRONLY));
    STASIS_ASSIGN_OR_RETURN(const pid_t inside, criu::InnermostPid(thread));
    opened.try_emplace(inside, std::move(memory));
  }
  return opened;
}

// As far as this machine lets them be set again: none is worth the restore.
void RestoreSettings(const std::string& settings, const std::vector<pid_t>& threads) {
  if (settings.empty()) return;
  std::map<pid_t, pid_t> by_inside;
  for (const pid_t thread : threads) {
    if (const auto inside = criu::InnermostPid(thread); inside.ok()) by_inside[*inside] = thread;
  }
  criu::RestoreSettings(settings, by_inside);
}

}  // namespace

StatusOr<RestoredFiles> RestoredFiles::Open(std::vector<ManifestFile> files, const std::string& store,
                                            UniqueFd images, const std::stop_token& cancel) {
  RestoredFiles restored;
  restored.files_ = std::move(files);
  restored.images_ = std::move(images);
  STASIS_ASSIGN_OR_RETURN(restored.finder_, OpenStore(store));
  restored.reader_ = std::make_unique<store::StreamReader>(restored.finder_.get());
  for (const ManifestFile& file : restored.files_) {
    if (file.name != kDescriptorsFile) continue;
    STASIS_RETURN_IF_ERROR(UnpackFile(
        restored.reader_.get(), file, restored.images_.get(), [](uint64_t) {}, cancel));
  }
  return restored;
}

Status RestoredFiles::Unpack(const OnBytes& on_bytes, const std::stop_token& cancel) {
  const auto is_pages = [](const ManifestFile& file) { return file.name.starts_with("pages-"); };
  for (const ManifestFile& file : files_) {
    if (is_pages(file) || file.name == kDescriptorsFile) continue;
    STASIS_RETURN_IF_ERROR(UnpackFile(reader_.get(), file, images_.get(), on_bytes, cancel));
  }
  if (auto file = OpenFileAt(images_.get(), criu::kSettingsFile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      file.ok()) {
    STASIS_ASSIGN_OR_RETURN(settings_, ReadAll(file->get(), kMaxSettings));
  }
  STASIS_RETURN_IF_ERROR(criu::ListPosixLocks(images_.get()));
  for (const ManifestFile& file : files_) {
    if (!file.name.starts_with(criu::kSegmentsImage)) continue;
    STASIS_ASSIGN_OR_RETURN(removed_segments_, criu::ReadRemovedSegments(images_.get(), file.name));
  }
  STASIS_RETURN_IF_ERROR(criu::ListTimers(images_.get()));
  STASIS_ASSIGN_OR_RETURN(std::vector<criu::ProcessMemory> taken, criu::TakePrivateMemory(images_.get()));
  for (const ManifestFile& file : files_) {
    if (!is_pages(file)) continue;
    STASIS_RETURN_IF_ERROR(Annotate(WritePages(file, &taken, on_bytes, cancel), "file " + file.name));
  }
  if (!taken.empty()) return DataLoss("file " + taken.front().pages_file + ": it is not there");
  return absl::OkStatus();
}

Status RestoredFiles::SetHostName(const std::string& host_name) {
  for (const ManifestFile& file : files_) {
    if (!file.name.starts_with(criu::kHostNameImage)) continue;
    STASIS_RETURN_IF_ERROR(criu::SetHostName(images_.get(), file.name, host_name));
  }
  return absl::OkStatus();
}

// Those that go through CRIU; the rest is left for Fill.
Status RestoredFiles::WritePages(const ManifestFile& file, std::vector<criu::ProcessMemory>* taken,
                                 const OnBytes& on_bytes, const std::stop_token& cancel) {
  const auto its = std::find_if(taken->begin(), taken->end(), [&](const criu::ProcessMemory& memory) {
    return memory.pages_file == file.name;
  });
  if (its == taken->end()) return UnpackFile(reader_.get(), file, images_.get(), on_bytes, cancel);
  Placement placement;
  uint64_t size = 0;
  for (const criu::SavedPages& pages : its->of_criu) {
    placement.Add(pages, size);
    size += pages.range.size();
  }
  STASIS_ASSIGN_OR_RETURN(const UniqueFd made, OpenFileAt(images_.get(), file.name,
                                                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  const auto write = [&made](uint64_t to, std::string_view bytes) {
    return WriteAllAt(made.get(), bytes, to);
  };
  STASIS_RETURN_IF_ERROR(reader_->Read(file.content, SinkOf(placement, write), on_bytes, cancel));
  if (::ftruncate(made.get(), static_cast<off_t>(size)) != 0) return ErrnoError(errno, "ftruncate");
  memory_.push_back({std::move(*its), file.content});
  taken->erase(its);
  return absl::OkStatus();
}

Status RestoredFiles::Fill(const UnixListener& listener, const OnBytes& on_bytes,
                           const std::stop_token& cancel) {
  MemoryWriter writer;
  std::stop_source done;
  const std::stop_callback cancelled(cancel, [&] { done.request_stop(); });
  const auto await_criu = [&]() -> StatusOr<Memories> {
    STASIS_ASSIGN_OR_RETURN(criu_, listener.Accept(done.get_token()));
    STASIS_RETURN_IF_ERROR(LetGoOn(criu_.get(), done.get_token()));
    STASIS_ASSIGN_OR_RETURN(const std::vector<pid_t> threads, ReadThreads(criu_.get(), done.get_token()));
    RestoreSettings(settings_, threads);
    if (!threads.empty()) {
      STASIS_RETURN_IF_ERROR(criu::RemoveSegments(removed_segments_, threads.front()));
    }
    return OpenMemories(threads);
  };
  // It takes CRIU a while until it asks: meanwhile the first of the memory is read.
  std::jthread criu([&] { writer.Open(await_criu()); });
  Status status = ReadMemory(&writer, on_bytes, cancel);
  done.request_stop();
  criu.join();
  return status.ok() ? LetGoOn(criu_.get(), cancel) : status;
}

Status RestoredFiles::ReadMemory(MemoryWriter* writer, const OnBytes& on_bytes,
                                 const std::stop_token& cancel) const {
  for (const auto& [pages, stream] : memory_) {
    Placement placement;
    for (const criu::SavedPages& saved : pages.taken) placement.Add(saved, saved.range.begin);
    const auto write = [writer, process = pages.process](uint64_t address, std::string_view bytes) {
      return writer->Write(process, address, bytes);
    };
    STASIS_RETURN_IF_ERROR(Annotate(reader_->Read(stream, SinkOf(placement, write), on_bytes, cancel),
                                    "file " + pages.pages_file));
  }
  return writer->Flush();
}

}  // namespace stasis::checkpoint
