#include "manifest/checkpoint_content.h"

#include <fcntl.h>

#include <utility>

#include "linux/files.h"
#include "manifest/checkpoint_directory.h"
#include "store/stream_reader.h"
#include "store/stream_writer.h"

namespace stasis {

std::string OwnStore(const std::string& directory) { return directory + "/.store"; }

StatusOr<std::unique_ptr<store::PageFinder>> OpenStore(const std::string& store) {
  if (!Exists(store)) return DataLoss("its store " + store + " is not there");
  return store::PageFinder::Open(store);
}

Status AddFiles(int images, store::Writer* writer, std::vector<ManifestFile>* files,
                const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(images));
  const auto tell = [&](uint64_t bytes) {
    on_bytes(bytes);
    return absl::OkStatus();
  };
  for (const std::string& name : names) {
    STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFileAt(images, name, O_RDONLY | O_NOFOLLOW));
    const auto content = store::AddFile(writer, file.get(), store::kMaxStream, tell, cancel);
    if (!content.ok()) return Annotate(content.status(), name);
    files->push_back({name, *content});
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
