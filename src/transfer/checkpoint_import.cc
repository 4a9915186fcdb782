// The reading of an archive.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "image/tar_reader.h"
#include "layer/entry.h"
#include "manifest/checkpoint_directory.h"
#include "manifest/staged_checkpoint.h"
#include "store/stream_writer.h"
#include "transfer/archive_names.h"
#include "transfer/checkpoint_archive.h"

namespace stasis::transfer {
namespace {

constexpr size_t kMaxHead = 4 << 20;
constexpr size_t kMaxDigest = 256;
// Zeros of large files cost next to nothing in an archive and in the store: what they cost is time.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

// The files of an archive, which stand in an order that is known.
class Files {
 public:
  static StatusOr<Files> Open(const image::ReadBytes& read, const std::stop_token& cancel) {
    STASIS_ASSIGN_OR_RETURN(std::unique_ptr<image::TarReader> tar,
                            image::TarReader::Open(read, cancel, kNoLimit));
    return Files(std::move(tar));
  }

  // The next must be this one. Returns its size.
  StatusOr<uint64_t> Expect(const std::string& path) {
    STASIS_ASSIGN_OR_RETURN(const bool more, tar_->Next(&entry_));
    if (!more) return DataLoss("the archive ends before " + path);
    if (entry_.path != path || entry_.type != image::EntryType::kFile || entry_.size < 0)
      return DataLoss("the archive has " + Printable(entry_.path) + " in the place of " + path);
    return static_cast<uint64_t>(entry_.size);
  }

  // All of the one that was expected, in order, holes as zeros.
  Status ReadInto(const std::function<Status(std::string_view bytes)>& bytes,
                  const std::function<Status(uint64_t size)>& zeros) {
    uint64_t at = 0;
    const auto size = static_cast<uint64_t>(entry_.size);
    image::TarBlock block;
    for (;;) {
      STASIS_ASSIGN_OR_RETURN(const bool more, tar_->NextBlock(&block));
      if (!more) break;
      if (block.offset < at || block.offset > size || block.bytes.size() > size - block.offset)
        return DataLoss(entry_.path + ": pieces that lie in each other");
      if (block.offset > at) {
        STASIS_RETURN_IF_ERROR(zeros(block.offset - at));
      }
      STASIS_RETURN_IF_ERROR(bytes(block.bytes));
      at = block.offset + block.bytes.size();
    }
    return at < size ? zeros(size - at) : absl::OkStatus();
  }

  StatusOr<std::string> ReadText(const std::string& path, size_t limit) {
    STASIS_ASSIGN_OR_RETURN(const uint64_t size, Expect(path));
    if (size > limit) return DataLoss(path + " is too large");
    std::string text;
    STASIS_RETURN_IF_ERROR(ReadInto(
        [&](std::string_view bytes) {
          text += bytes;
          return absl::OkStatus();
        },
        [&](uint64_t zeros) {
          text.append(zeros, '\0');
          return absl::OkStatus();
        }));
    return text;
  }

  // Nothing more may come, and the compression's own checks must hold to its end.
  Status End() {
    STASIS_ASSIGN_OR_RETURN(const bool more, tar_->Next(&entry_));
    if (more) return DataLoss("the archive has " + Printable(entry_.path) + " behind its end");
    return tar_->Finish().status();
  }

 private:
  explicit Files(std::unique_ptr<image::TarReader> tar) : tar_(std::move(tar)) {}
  std::unique_ptr<image::TarReader> tar_;
  image::TarEntry entry_;
};

Status CheckHead(Files* files) {
  const auto head = files->ReadText(kHeadFile, kMaxHead);
  const auto json = head.ok() ? ParseJson(*head) : head.status();
  // A client that left, or a disk that fails, has nothing to do with what the archive is.
  if (!head.ok() && !absl::IsInvalidArgument(head.status()) && !absl::IsDataLoss(head.status()))
    return head.status();
  int version = 0;
  if (json.ok() && json->is_object()) JsonReader(*json).Get("version", &version);
  if (version < 1) return InvalidArgument("this is no archive of a checkpoint");
  if (version <= kArchiveVersion) return absl::OkStatus();
  return Unimplemented("the archive's version " + std::to_string(version) +
                       " is newer than this program knows (" + std::to_string(kArchiveVersion) + ")");
}

StatusOr<Manifest> ReadManifestOf(Files* files) {
  STASIS_RETURN_IF_ERROR(CheckHead(files));
  STASIS_ASSIGN_OR_RETURN(const std::string text, files->ReadText(kManifestFile, kMaxManifest));
  STASIS_ASSIGN_OR_RETURN(const std::string digest, files->ReadText(kManifestDigestFile, kMaxDigest));
  if (digest != ManifestDigestLine(text))
    return DataLoss(std::string(kManifestFile) + " is not what " + kManifestDigestFile + " says");
  return ParseManifest(text);
}

Status TakeStream(Files* files, const std::string& path, const store::StreamId& stream,
                  store::Writer* writer) {
  STASIS_ASSIGN_OR_RETURN(const uint64_t size, files->Expect(path));
  if (size != stream.size) return DataLoss(path + " has another size than the manifest says");
  STASIS_RETURN_IF_ERROR(files->ReadInto([&](std::string_view bytes) { return writer->Append(bytes); },
                                         [&](uint64_t zeros) { return writer->AppendZeros(zeros); }));
  STASIS_ASSIGN_OR_RETURN(const store::StreamId taken, writer->EndStream());
  return taken == stream ? absl::OkStatus() : DataLoss(path + " is not what the manifest says");
}

// The layer's document. The inodes in it are those of another machine, or what a stranger made up: no file of
// this one is taken for unchanged because of them.
StatusOr<std::vector<layer::Entry>> TakeLayer(Files* files, Manifest* manifest, store::Writer* writer) {
  STASIS_ASSIGN_OR_RETURN(const std::string text, files->ReadText(kLayerFile, layer::kMaxDocument));
  STASIS_ASSIGN_OR_RETURN(const store::StreamId found, store::StreamIdOf(text));
  if (found != *manifest->layer) return DataLoss(std::string(kLayerFile) + " is not what the manifest says");
  STASIS_ASSIGN_OR_RETURN(std::vector<layer::Entry> entries, layer::Parse(text));
  for (layer::Entry& entry : entries) entry.inode = 0;
  STASIS_RETURN_IF_ERROR(writer->Append(layer::ToText(entries)));
  STASIS_ASSIGN_OR_RETURN(manifest->layer, writer->EndStream());
  return entries;
}

}  // namespace

StatusOr<Manifest> ReadArchiveManifest(const image::ReadBytes& read, const std::stop_token& cancel) {
  auto files = Files::Open(read, cancel);
  if (!files.ok()) return files.status();
  return ReadManifestOf(&*files);
}

StatusOr<CheckpointImport> CheckpointImport::Read(const image::ReadBytes& read, const std::string& store,
                                                  const Check& check, const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(Files files, Files::Open(read, cancel));
  STASIS_ASSIGN_OR_RETURN(Manifest manifest, ReadManifestOf(&files));
  if (manifest.files.empty()) return DataLoss("the archive holds no processes");
  STASIS_RETURN_IF_ERROR(check(manifest));
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<store::Writer> writer, store::Writer::Start(store));
  std::vector<layer::Entry> layer;
  if (manifest.layer) {
    STASIS_ASSIGN_OR_RETURN(layer, TakeLayer(&files, &manifest, writer.get()));
  }
  for (const ManifestFile& file : manifest.files)
    STASIS_RETURN_IF_ERROR(TakeStream(&files, FilePath(file), file.content, writer.get()));
  uint64_t number = 0;
  for (const layer::Entry& entry : layer) {
    if (!entry.IsRegular()) continue;
    STASIS_RETURN_IF_ERROR(TakeStream(&files, LayerPath(number++), entry.content, writer.get()));
  }
  STASIS_RETURN_IF_ERROR(files.End());
  STASIS_RETURN_IF_ERROR(writer->Commit());
  manifest.stored_bytes = writer->stored_bytes();
  return CheckpointImport(std::move(manifest), std::move(writer));
}

Status CheckpointImport::Publish(const std::string& directory, const CheckpointName& name) {
  STASIS_ASSIGN_OR_RETURN(StagedCheckpoint staged, StagedCheckpoint::Create(directory, name));
  manifest_.name = name.str();
  STASIS_RETURN_IF_ERROR(WriteManifest(staged.path(), manifest_));
  return staged.Publish();
}

}  // namespace stasis::transfer
