#include "criu/process_images.h"

#include <google/protobuf/io/coded_stream.h>
#include <sys/mman.h>

#include <algorithm>
#include <string_view>

#include "criu/image_file.h"
#include "criu/mm_image.h"
#include "criu/processes.h"
#include "criu_rpc/images.pb.h"

namespace stasis::criu {
namespace {

constexpr uint32_t kPstreeMagic = 0x50273030;
constexpr uint32_t kIdsMagic = 0x54432030;
constexpr uint32_t kFsMagic = 0x51403912;

constexpr size_t kMaxSmallImage = 8 << 20;  // pstree.img holds each thread's number
constexpr size_t kMaxMmImage = 128 << 20;
constexpr size_t kMaxPagemap = 256 << 20;
constexpr size_t kMaxRuns = 8 << 20;  // of saved pages: 64 GiB, were each second page missing

StatusOr<ImageReader> OpenImage(const ReadImage& read, const std::string& name, uint32_t magic,
                                size_t limit = kMaxSmallImage) {
  STASIS_ASSIGN_OR_RETURN(std::string bytes, read(name, limit));
  return ImageReader::Parse(name, std::move(bytes), kCommonMagic, magic);
}

// The first message of an image. kNotFound.
template <typename Message>
StatusOr<Message> ReadOne(const ReadImage& read, const std::string& name, uint32_t magic) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader, OpenImage(read, name, magic));
  Message message;
  STASIS_RETURN_IF_ERROR(reader.Next(&message));
  return message;
}

std::string StateName(uint32_t state) {
  switch (state) {
    case 1:
      return "running";
    case 3:
      return "stopped";
    case 2:
    case 6:
      return "zombie";
    default:
      return "unknown";
  }
}

// mm-PID.img, mapping by mapping: as one message it could take many times its size.
class MmImage {
 public:
  static StatusOr<MmImage> Read(const ReadImage& read, uint32_t pid) {
    STASIS_ASSIGN_OR_RETURN(ImageReader reader, OpenImage(read, ImageName("mm", pid), kMmMagic, kMaxMmImage));
    return MmImage(std::move(reader));
  }

  // Tells of each mapping until one is an error. Once.
  Status Visit(const std::function<Status(const images::VmaEntry&)>& on_mapping) {
    STASIS_ASSIGN_OR_RETURN(const std::string_view encoded, reader_.NextEncoded());
    google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(encoded.data()),
                                              static_cast<int>(encoded.size()));
    images::VmaEntry mapping;
    while (in.CurrentPosition() < static_cast<int>(encoded.size())) {
      const uint32_t tag = in.ReadTag();
      constexpr uint32_t kVarint = 0, kBytes = 2;
      if ((tag & 7) == kVarint && tag >> 3 != 0) {
        uint64_t value = 0;
        if (!in.ReadVarint64(&value)) return reader_.Malformed();
        if (tag >> 3 == kExecutable) executable_ = static_cast<uint32_t>(value);
        if (tag >> 3 == kStackStart) stack_ = value;
        continue;
      }
      uint32_t size = 0;
      if ((tag & 7) != kBytes || tag >> 3 == 0 || !in.ReadVarint32(&size)) return reader_.Malformed();
      const auto at = static_cast<size_t>(in.CurrentPosition());
      if (size > encoded.size() - at || !in.Skip(static_cast<int>(size))) return reader_.Malformed();
      if (tag >> 3 != kMapping) continue;
      STASIS_RETURN_IF_ERROR(reader_.Decode(encoded.substr(at, size), &mapping));
      STASIS_RETURN_IF_ERROR(on_mapping(mapping));
    }
    return absl::OkStatus();
  }

  uint32_t executable() const { return executable_; }  // after Visit
  // Where its first stack begins: CRIU tells it before the mappings, and marks only some stacks among them.
  bool IsStack(const images::VmaEntry& mapping) const {
    return (mapping.status() & kVmaStack) != 0 || (mapping.start() <= stack_ && stack_ < mapping.end());
  }
  Status Malformed() const { return reader_.Malformed(); }

 private:
  static constexpr uint32_t kStackStart = 5, kExecutable = 12, kMapping = 14;  // fields of MmEntry
  explicit MmImage(ImageReader reader) : reader_(std::move(reader)) {}

  ImageReader reader_;
  uint32_t executable_ = 0;
  uint64_t stack_ = 0;
};

StatusOr<PageRuns> ReadPages(const ReadImage& read, const std::string& name) {
  PageRuns saved;
  StatusOr<ImageReader> reader = OpenImage(read, name, kPagemapMagic, kMaxPagemap);
  if (absl::IsNotFound(reader.status())) return saved;
  if (!reader.ok()) return reader.status();
  images::PagemapHead head;
  STASIS_RETURN_IF_ERROR(reader->Next(&head));
  while (!reader->AtEnd()) {
    images::PagemapEntry entry;
    STASIS_RETURN_IF_ERROR(reader->Next(&entry));
    if (entry.has_flags() && (entry.flags() & kPagePresent) == 0) continue;
    const uint64_t pages = entry.has_nr_pages() ? entry.nr_pages() : entry.compat_nr_pages();
    STASIS_RETURN_IF_ERROR(Annotate(saved.Add(entry.vaddr(), pages), name));
  }
  return saved;
}

std::string KindOf(const images::VmaEntry& mapping) {
  struct Kind {
    uint32_t status;
    const char* name;
  };
  static constexpr Kind kKinds[] = {
      {kVmaVsyscall, "vsyscall"},
      {kVmaVdso, "vdso"},
      {kVmaVvar, "vvar"},
      {kVmaAioRing, "aio"},
      {kVmaUprobes, "uprobes"},
      {kVmaSystemV, "sysv"},
      {kVmaSocket, "socket"},
      {kVmaMemoryFile, "memfd"},
      {kVmaHeap, "heap"},
      {kVmaShadowStack, "shadow-stack"},
      {kVmaFilePrivate | kVmaFileShared, "file"},
      {kVmaAnonymousShared, "shared"},
  };
  for (const Kind& kind : kKinds) {
    if ((mapping.status() & kind.status) != 0) return kind.name;
  }
  return "anonymous";
}

std::string Protection(const images::VmaEntry& mapping) {
  std::string text;
  text += (mapping.prot() & PROT_READ) != 0 ? 'r' : '-';
  text += (mapping.prot() & PROT_WRITE) != 0 ? 'w' : '-';
  text += (mapping.prot() & PROT_EXEC) != 0 ? 'x' : '-';
  return text + ((mapping.flags() & MAP_SHARED) != 0 ? 's' : 'p');
}

// The memory that several processes may share, which has an image of its own.
bool IsSharedMemory(const images::VmaEntry& mapping) {
  return (mapping.status() & (kVmaAnonymousShared | kVmaSystemV)) != 0;
}

}  // namespace

Status PageRuns::Add(uint64_t begin, uint64_t pages) {
  const uint64_t last = runs_.empty() ? 0 : runs_.back().range.end;
  if (begin < last || pages > (UINT64_MAX - begin) / kPageSize) {
    return DataLoss("its pages are not in order");
  }
  if (pages == 0) return absl::OkStatus();
  const uint64_t end = begin + pages * kPageSize;
  if (!runs_.empty() && begin == last) {
    runs_.back().range.end = end;
    return absl::OkStatus();
  }
  if (runs_.size() == kMaxRuns) {
    return MakeError(StatusCode::kResourceExhausted, "its memory is in too many pieces to show");
  }
  const uint64_t below = runs_.empty() ? 0 : runs_.back().below + runs_.back().range.size();
  runs_.push_back({{begin, end}, below});
  return absl::OkStatus();
}

uint64_t PageRuns::BytesBelow(uint64_t address) const {
  auto next = std::upper_bound(runs_.begin(), runs_.end(), address,
                               [](uint64_t value, const Run& run) { return value < run.range.begin; });
  if (next == runs_.begin()) return 0;
  const Run& run = *--next;
  return run.below + (std::min(address, run.range.end) - run.range.begin);
}

StatusOr<ProcessImages> ProcessImages::Read(ReadImage read) {
  STASIS_ASSIGN_OR_RETURN(OpenFiles files, OpenFiles::Read(read));
  ProcessImages out(std::move(read), std::move(files));
  STASIS_ASSIGN_OR_RETURN(ImageReader tree, OpenImage(out.read_, "pstree.img", kPstreeMagic));
  while (!tree.AtEnd()) {
    images::PstreeEntry entry;
    STASIS_RETURN_IF_ERROR(tree.Next(&entry));
    if (out.processes_.size() == kMaxProcesses)
      return MakeError(StatusCode::kResourceExhausted, "the checkpoint has too many processes to show");
    const auto core = ReadOne<images::CoreEntry>(out.read_, ImageName("core", entry.pid()), kCoreMagic);
    if (!core.ok()) return core.status();
    out.processes_.push_back({entry.pid(), entry.ppid(), static_cast<uint32_t>(entry.threads_size()),
                              core->tc().comm(), StateName(core->tc().task_state())});
  }
  return out;
}

std::string ProcessImages::NameOf(uint32_t file) const {
  const OpenFile* found = files_.Find(file);
  return found == nullptr ? "" : found->name;
}

StatusOr<std::vector<SavedDescriptor>> ProcessImages::Descriptors(const SavedProcess& process) const {
  std::vector<SavedDescriptor> out;
  const auto ids = ReadOne<images::TaskKobjIdsEntry>(read_, ImageName("ids", process.pid), kIdsMagic);
  if (absl::IsNotFound(ids.status())) return out;
  if (!ids.ok()) return ids.status();
  const auto descriptors = ReadDescriptors(read_, ids->files_id());
  if (absl::IsNotFound(descriptors.status())) return out;
  if (!descriptors.ok()) return descriptors.status();
  for (const Descriptor& descriptor : *descriptors) {
    const OpenFile* file = files_.Find(descriptor.file);
    if (file == nullptr) {
      return DataLoss("descriptor " + std::to_string(descriptor.fd) + " of process " +
                      std::to_string(process.pid) + " is of no file in files.img");
    }
    out.push_back({descriptor.fd, *file});
  }
  return out;
}

StatusOr<ProcessImages::Places> ProcessImages::PlacesOf(const SavedProcess& process) const {
  Places places;
  const auto in = ReadOne<images::FsEntry>(read_, ImageName("fs", process.pid), kFsMagic);
  if (absl::IsNotFound(in.status())) return places;
  if (!in.ok()) return in.status();
  places.working_directory = NameOf(in->cwd_id());
  places.root_directory = NameOf(in->root_id());
  StatusOr<MmImage> mm = MmImage::Read(read_, process.pid);
  if (absl::IsNotFound(mm.status())) return places;
  if (!mm.ok()) return mm.status();
  STASIS_RETURN_IF_ERROR(mm->Visit([](const images::VmaEntry&) { return absl::OkStatus(); }));
  places.executable = NameOf(mm->executable());
  return places;
}

StatusOr<uint64_t> ProcessImages::SharedBytes(uint64_t memory, const AddressRange& range) {
  auto found = shared_.find(memory);
  if (found == shared_.end()) {
    size_t runs = 0;
    for (const auto& [id, pages] : shared_) runs += pages.runs() + 1;
    if (runs > kMaxRuns) shared_.clear();
    STASIS_ASSIGN_OR_RETURN(PageRuns pages, ReadPages(read_, ImageName("pagemap-shmem", memory)));
    found = shared_.emplace(memory, std::move(pages)).first;
  }
  return found->second.BytesIn(range);
}

StatusOr<SavedMemory> ProcessImages::Memory(const SavedProcess& process) {
  SavedMemory memory;
  StatusOr<MmImage> mm = MmImage::Read(read_, process.pid);
  if (absl::IsNotFound(mm.status())) return memory;
  if (!mm.ok()) return mm.status();
  STASIS_ASSIGN_OR_RETURN(const PageRuns own, ReadPages(read_, ImageName("pagemap", process.pid)));
  STASIS_RETURN_IF_ERROR(mm->Visit([&](const images::VmaEntry& entry) -> Status {
    if ((entry.status() & kVmaGuard) != 0) return absl::OkStatus();  // lies within another
    const uint64_t last = memory.mappings.empty() ? 0 : memory.mappings.back().end;
    if (entry.start() < last || entry.end() <= entry.start()) return mm->Malformed();
    if (memory.mappings.size() == kMaxMappings)
      return MakeError(StatusCode::kResourceExhausted,
                       "process " + std::to_string(process.pid) + " has too many mappings to show");
    SavedMapping mapping = {
        entry.start(), entry.end(), Protection(entry), mm->IsStack(entry) ? "stack" : KindOf(entry), "", 0};
    const uint64_t size = entry.end() - entry.start();
    // What of a file's own memory file is mapped privately lies in the process's pages, too.
    mapping.saved_bytes = own.BytesIn({entry.start(), entry.end()});
    memory.saved_bytes += mapping.saved_bytes;
    std::optional<uint64_t> shared;
    if (IsSharedMemory(entry)) {
      shared = entry.shmid();
    } else if ((entry.status() & (kVmaFilePrivate | kVmaFileShared)) != 0) {
      const auto file = static_cast<uint32_t>(entry.shmid());
      mapping.name = NameOf(file);
      if ((entry.status() & kVmaMemoryFile) != 0) shared = files_.MemoryOf(file);
      if (shared && mapping.name == "/dev/zero") {  // the kernel's name for memory that has none
        mapping.kind = "shared";
        mapping.name.clear();
      }
    }
    if (shared) {
      const uint64_t from = entry.pgoff();
      const AddressRange range = {from, from > UINT64_MAX - size ? UINT64_MAX : from + size};
      STASIS_ASSIGN_OR_RETURN(const uint64_t bytes, SharedBytes(*shared, range));
      mapping.saved_bytes += bytes;
      memory.shared_bytes += bytes;
    }
    memory.mapped_bytes += size;
    memory.mappings.push_back(std::move(mapping));
    return absl::OkStatus();
  }));
  return memory;
}

}  // namespace stasis::criu
