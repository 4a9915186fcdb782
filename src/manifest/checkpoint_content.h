// What a checkpoint holds besides its manifest: files in a store. docs/formats/checkpoint.md
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "layer/entry.h"
#include "manifest/manifest.h"
#include "store/page_reader.h"
#include "store/stream_reader.h"
#include "store/writer.h"

namespace stasis {

// Of a checkpoint's files, the one that runc reads, before it starts CRIU.
inline constexpr char kDescriptorsFile[] = "descriptors.json";

// The store of checkpoints in `directory`, where nobody names another: DIRECTORY/.store, so that the
// directory is complete in itself.
std::string OwnStore(const std::string& directory);

// For reading what a checkpoint holds. kDataLoss: it is not there; none is made.
StatusOr<std::unique_ptr<store::PageFinder>> OpenStore(const std::string& store);

// Puts every file of the directory `images` into the store. `on_bytes` is told of bytes that were taken over.
// kCancelled.
Status AddFiles(int images, store::Writer* writer, std::vector<ManifestFile>* files,
                const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel);

// Makes a file of a checkpoint in the directory `images`, every page checked. kDataLoss: the store lacks
// something, or is damaged. kCancelled. On an error some of it is there.
Status UnpackFile(store::StreamReader* reader, const ManifestFile& file, int images,
                  const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel);

// The container's own layer in a checkpoint; none where it has none. kDataLoss.
StatusOr<std::vector<layer::Entry>> ReadLayer(const Manifest& manifest, store::PageFinder* finder);

// The container's own layer in the newest checkpoint of it in `directory`, whose content is in `store`;
// nothing where there is none, or where it cannot be read. As FindNewest, whose work does not grow with the
// number of checkpoints.
StatusOr<std::vector<layer::Entry>> LatestLayer(const std::string& directory, const std::string& store,
                                                const std::string& container_id);

// All that a checkpoint needs, its container's files included. kDataLoss: the list of the files cannot be
// read.
StatusOr<std::vector<store::StreamId>> StreamsOf(const Manifest& manifest, store::PageFinder* finder);

// Everything that the checkpoints in these directories need of `store`. kDataLoss: one cannot be read, be it
// damaged or of a newer program; the message names it. A directory that is not there holds none.
StatusOr<std::vector<store::StreamId>> StreamsOf(const std::vector<std::string>& directories,
                                                 const std::string& store);

}  // namespace stasis
