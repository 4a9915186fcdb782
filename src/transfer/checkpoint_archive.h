// A checkpoint as one file: a tar in zstd with all that a restore needs (docs/formats/checkpoint-archive.md).
// Written and read as a stream; memory grows with the number of the container's files, not with their bytes
// or with the memory of its programs.
//
// An archive is hostile: its names, sizes and counts are checked, each of its bytes is hashed against what
// the manifest says, and nothing is visible before all of it is whole and on disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/names.h"
#include "base/status.h"
#include "image/image_store.h"
#include "manifest/manifest.h"
#include "store/page_reader.h"
#include "store/writer.h"

namespace stasis::transfer {

inline constexpr int kArchiveVersion = 1;

// Writes an archive of a checkpoint whose content `finder` finds. An error of `sink` ends it. kDataLoss: the
// checkpoint is damaged. kFailedPrecondition: it holds no processes. kCancelled. After an error what was
// written is no archive, and is refused when it is read.
Status ExportCheckpoint(const Manifest& manifest, store::PageFinder* finder,
                        const std::function<Status(std::string_view bytes)>& sink,
                        const std::stop_token& cancel);

// What an archive says of itself: reads no more than its beginning. kInvalidArgument: it is no such archive.
// kDataLoss: it is damaged. kUnimplemented: it is of a newer program.
StatusOr<Manifest> ReadArchiveManifest(const image::ReadBytes& read, const std::stop_token& cancel);

// One that is being taken in.
class CheckpointImport {
 public:
  // Asked with the manifest before anything else is read: an error ends the import.
  using Check = std::function<Status(const Manifest& manifest)>;

  // Puts the content of an archive into the store, where it is for good, and which nobody collects while this
  // object lives. Errors as ReadArchiveManifest's. kCancelled.
  static StatusOr<CheckpointImport> Read(const image::ReadBytes& read, const std::string& store,
                                         const Check& check, const std::stop_token& cancel);

  // Makes it the checkpoint DIRECTORY/NAME, by one rename, durably. kAlreadyExists.
  Status Publish(const std::string& directory, const CheckpointName& name);

 private:
  CheckpointImport(Manifest manifest, std::unique_ptr<store::Writer> writer)
      : manifest_(std::move(manifest)), writer_(std::move(writer)) {}
  Manifest manifest_;
  std::unique_ptr<store::Writer> writer_;
};

}  // namespace stasis::transfer
