#include "transfer/tar_writer.h"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <utility>

namespace stasis::transfer {
namespace {

constexpr int kBlock = 256 << 10;
// What is sent is memory: a higher level takes several times as long for a few percent.
constexpr char kLevel[] = "1";

struct ArchiveFree {
  void operator()(archive* writer) const { archive_write_free(writer); }
};

}  // namespace

struct TarWriter::State {
  Sink sink;
  Status error;       // what `sink` returned
  uint64_t left = 0;  // of the file that was begun
  bool finished = false;
  std::unique_ptr<archive, ArchiveFree> tar;  // last: freeing it may write

  static la_ssize_t Take(archive* writer, void* self, const void* bytes, size_t size) {
    auto* state = static_cast<State*>(self);
    // Once it has failed, what libarchive would still write at its end belongs to nobody.
    if (state->error.ok()) state->error = state->sink({static_cast<const char*>(bytes), size});
    if (state->error.ok()) return static_cast<la_ssize_t>(size);
    archive_set_error(writer, EIO, "output");
    return -1;
  }

  Status Check(int result, const char* what) {
    if (!error.ok()) return error;
    if (result == ARCHIVE_OK || result == ARCHIVE_WARN) return absl::OkStatus();
    const char* text = archive_error_string(tar.get());
    return Internal(std::string(what) + ": " + (text ? text : "libarchive failed"));
  }
};

TarWriter::TarWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}

TarWriter::~TarWriter() {
  // An archive that was given up must not get an end.
  if (!state_->finished && state_->error.ok()) state_->error = Cancelled("the archive was given up");
}

StatusOr<std::unique_ptr<TarWriter>> TarWriter::Open(Sink sink) {
  auto state = std::make_unique<State>();
  state->sink = std::move(sink);
  state->tar.reset(archive_write_new());
  archive* tar = state->tar.get();
  STASIS_RETURN_IF_ERROR(state->Check(archive_write_add_filter_zstd(tar), "zstd"));
  STASIS_RETURN_IF_ERROR(
      state->Check(archive_write_set_filter_option(tar, "zstd", "compression-level", kLevel), "zstd"));
  STASIS_RETURN_IF_ERROR(state->Check(archive_write_set_format_pax_restricted(tar), "tar"));
  archive_write_set_bytes_per_block(tar, kBlock);
  archive_write_set_bytes_in_last_block(tar, 1);
  const int opened = archive_write_open(tar, state.get(), nullptr, State::Take, nullptr);
  STASIS_RETURN_IF_ERROR(state->Check(opened, "open the archive"));
  return std::unique_ptr<TarWriter>(new TarWriter(std::move(state)));
}

Status TarWriter::Begin(const std::string& path, uint64_t size) {
  if (state_->left != 0) return Internal("a file of the archive is shorter than was said");
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                       archive_entry_free);
  archive_entry_set_pathname(entry.get(), path.c_str());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0600);
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size));
  state_->left = size;
  return state_->Check(archive_write_header(state_->tar.get(), entry.get()), "write the archive");
}

Status TarWriter::Write(std::string_view bytes) {
  if (bytes.size() > state_->left) return Internal("a file of the archive is longer than was said");
  state_->left -= bytes.size();
  while (!bytes.empty()) {
    const la_ssize_t taken = archive_write_data(state_->tar.get(), bytes.data(), bytes.size());
    if (taken <= 0) return state_->Check(ARCHIVE_FATAL, "write the archive");
    bytes.remove_prefix(static_cast<size_t>(taken));
  }
  return absl::OkStatus();
}

Status TarWriter::Add(const std::string& path, std::string_view bytes) {
  STASIS_RETURN_IF_ERROR(Begin(path, bytes.size()));
  return Write(bytes);
}

Status TarWriter::Finish() {
  if (state_->left != 0) return Internal("a file of the archive is shorter than was said");
  state_->finished = true;
  return state_->Check(archive_write_close(state_->tar.get()), "write the archive");
}

}  // namespace stasis::transfer
