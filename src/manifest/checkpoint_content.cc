#include "manifest/checkpoint_content.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "linux/files.h"
#include "manifest/checkpoint_directory.h"
#include "store/stream_reader.h"

namespace stasis {
namespace {

constexpr size_t kChunk = 1 << 20;

Status AddFile(int file, store::Writer* writer, std::string* buffer,
               const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  for (;;) {
    if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
    const ssize_t got = ::read(file, buffer->data(), buffer->size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read an image file");
    if (got == 0) return absl::OkStatus();
    const auto bytes = static_cast<size_t>(got);
    STASIS_RETURN_IF_ERROR(writer->Append(std::string_view(*buffer).substr(0, bytes)));
    on_bytes(bytes);
  }
}

}  // namespace

std::string OwnStore(const std::string& directory) { return directory + "/.store"; }

StatusOr<std::unique_ptr<store::PageFinder>> OpenStore(const std::string& store) {
  if (!Exists(store)) return DataLoss("its store " + store + " is not there");
  return store::PageFinder::Open(store);
}

Status AddFiles(int images, store::Writer* writer, std::vector<ManifestFile>* files,
                const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(images));
  std::string buffer(kChunk, '\0');
  for (const std::string& name : names) {
    STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFileAt(images, name, O_RDONLY | O_NOFOLLOW));
    STASIS_RETURN_IF_ERROR(Annotate(AddFile(file.get(), writer, &buffer, on_bytes, cancel), name));
    STASIS_ASSIGN_OR_RETURN(const store::StreamId content, writer->EndStream());
    files->push_back({name, content});
  }
  return absl::OkStatus();
}

Status UnpackFile(store::StreamReader* reader, const ManifestFile& file, int images,
                  const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd made,
                          OpenFileAt(images, file.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return Annotate(reader->Read(file.content, made.get(), on_bytes, cancel), "file " + file.name);
}

StatusOr<std::vector<layer::Entry>> ReadLayer(const Manifest& manifest, store::PageFinder* finder) {
  if (!manifest.layer) return std::vector<layer::Entry>();
  STASIS_ASSIGN_OR_RETURN(const std::string text,
                          store::ReadShortStream(finder, *manifest.layer, layer::kMaxDocument));
  return layer::Parse(text);
}

StatusOr<std::vector<store::StreamId>> StreamsOf(const Manifest& manifest, store::PageFinder* finder) {
  std::vector<store::StreamId> streams;
  for (const ManifestFile& file : manifest.files) streams.push_back(file.content);
  if (!manifest.layer) return streams;
  streams.push_back(*manifest.layer);
  STASIS_ASSIGN_OR_RETURN(const std::vector<layer::Entry> entries, ReadLayer(manifest, finder));
  for (const layer::Entry& entry : entries) {
    if (entry.IsRegular()) streams.push_back(entry.content);
  }
  return streams;
}

StatusOr<std::vector<layer::Entry>> LatestLayer(const std::string& directory, const std::string& store,
                                                const std::string& container_id) {
  STASIS_ASSIGN_OR_RETURN(const std::optional<Manifest> latest,
                          FindNewest(directory, [&](const Manifest& manifest) {
                            return manifest.layer && manifest.container_id == container_id;
                          }));
  if (!latest) return std::vector<layer::Entry>();
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<store::PageFinder> finder, store::PageFinder::Open(store));
  auto entries = ReadLayer(*latest, finder.get());
  if (absl::IsDataLoss(entries.status())) return std::vector<layer::Entry>();
  return entries;
}

StatusOr<std::vector<store::StreamId>> StreamsOf(const std::vector<std::string>& directories,
                                                 const std::string& store) {
  std::vector<store::StreamId> streams;
  STASIS_ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> all, FindCheckpoints(directories));
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<store::PageFinder> finder, store::PageFinder::Open(store));
  for (const FoundCheckpoint& found : all) {
    const auto needed =
        found.manifest.ok() ? StreamsOf(*found.manifest, finder.get()) : found.manifest.status();
    if (!needed.ok()) {
      return DataLoss(found.directory + "/" + found.name + " cannot be read: " + Message(needed.status()));
    }
    streams.insert(streams.end(), needed->begin(), needed->end());
  }
  return streams;
}

}  // namespace stasis
