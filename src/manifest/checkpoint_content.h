// What a checkpoint holds besides its manifest: files in a store. docs/formats/checkpoint.md
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "manifest/manifest.h"
#include "store/writer.h"

namespace stasis {

// The store of checkpoints in `directory`, where nobody names another: DIRECTORY/.store, so that the
// directory is complete in itself.
std::string OwnStore(const std::string& directory);

// Puts every file of the directory `images` into the store. `on_bytes` is told of bytes that were taken over.
// kCancelled.
Status AddFiles(int images, store::Writer* writer, std::vector<ManifestFile>* files,
                const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel);

// Makes the files of a checkpoint in the directory `images`, every page checked. kDataLoss: the store lacks
// something, or is damaged. kCancelled. On an error some of them are there.
Status UnpackFiles(const Manifest& manifest, const std::string& store, int images,
                   const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel);

// One that is there, whole or not.
struct FoundCheckpoint {
  std::string directory;
  std::string name;
  StatusOr<Manifest> manifest;

  std::vector<store::StreamId> Streams() const;  // none where the manifest cannot be read
};

// In these directories, by directory and name. One that is not there holds none.
StatusOr<std::vector<FoundCheckpoint>> FindCheckpoints(const std::vector<std::string>& directories);

// Everything that the checkpoints in these directories need. kDataLoss: a manifest cannot be read, be it
// damaged or of a newer program; the message names it. A directory that is not there holds none.
StatusOr<std::vector<store::StreamId>> StreamsOf(const std::vector<std::string>& directories);

}  // namespace stasis
