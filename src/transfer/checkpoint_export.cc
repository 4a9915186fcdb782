// The writing of an archive.
#include <algorithm>
#include <array>
#include <vector>

#include "base/json.h"
#include "base/time.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"
#include "manifest/checkpoint_owner.h"
#include "store/stream_reader.h"
#include "transfer/archive_names.h"
#include "transfer/checkpoint_archive.h"
#include "transfer/tar_writer.h"

namespace stasis::transfer {
namespace {

std::string Head(const Manifest& manifest) {
  const CheckpointOwner owner = OwnerOf(manifest);
  return DumpJson({{"version", kArchiveVersion},
                   {"checkpoint", manifest.name},
                   {"created", ToRfc3339(manifest.created)},
                   {"container", owner.name},
                   {"image", owner.image},
                   {"image_id", owner.image_id},
                   {"options", owner.options},
                   {"command", owner.command}}) +
         "\n";
}

Status AddStream(TarWriter* tar, const std::string& path, const store::StreamId& stream,
                 store::PageFinder* finder, const std::stop_token& cancel) {
  STASIS_RETURN_IF_ERROR(tar->Begin(path, stream.size));
  return Annotate(store::ReadInOrder(
                      finder, stream, [&](std::string_view bytes) { return tar->Write(bytes); }, cancel),
                  path);
}

}  // namespace

Status ExportCheckpoint(const Manifest& manifest, store::PageFinder* finder,
                        const std::function<Status(std::string_view bytes)>& sink,
                        const std::stop_token& cancel) {
  if (manifest.files.empty()) {
    return FailedPrecondition("checkpoint " + manifest.name +
                              " holds files and no processes: only what can be restored is exported");
  }
  STASIS_ASSIGN_OR_RETURN(const std::vector<layer::Entry> layer, ReadLayer(manifest, finder));
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<TarWriter> tar, TarWriter::Open(sink));
  const std::string text = ToText(manifest);
  STASIS_RETURN_IF_ERROR(tar->Add(kHeadFile, Head(manifest)));
  STASIS_RETURN_IF_ERROR(tar->Add(kManifestFile, text));
  STASIS_RETURN_IF_ERROR(tar->Add(kManifestDigestFile, ManifestDigestLine(text)));
  if (manifest.layer) {
    STASIS_RETURN_IF_ERROR(AddStream(tar.get(), kLayerFile, *manifest.layer, finder, cancel));
  }
  for (const ManifestFile& file : manifest.files)
    STASIS_RETURN_IF_ERROR(AddStream(tar.get(), FilePath(file), file.content, finder, cancel));
  uint64_t number = 0;
  for (const layer::Entry& entry : layer) {
    if (!entry.IsRegular()) continue;
    STASIS_RETURN_IF_ERROR(AddStream(tar.get(), LayerPath(number++), entry.content, finder, cancel));
  }
  return tar->Finish();
}

}  // namespace stasis::transfer
