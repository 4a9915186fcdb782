#include "image/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>

#include "base/sha256.h"

namespace stasis::image {
namespace {

constexpr size_t kBlock = 64 << 10;
constexpr int kMaxFilters = 2;  // one compression, and libarchive's own reader of the input
constexpr size_t kMaxXattrs = 64;
constexpr size_t kMaxXattrValue = 64 << 10;  // XATTR_SIZE_MAX

struct ArchiveFree {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
using Archive = std::unique_ptr<archive, ArchiveFree>;

// libarchive converts names to the thread's locale. In C it leaves them as they are (and warns); in a UTF-8
// locale it would compose accents and so change names.
class CLocale {
 public:
  CLocale() : mine_(::newlocale(LC_ALL_MASK, "C", nullptr)), before_(::uselocale(mine_)) {}
  ~CLocale() {
    ::uselocale(before_);
    ::freelocale(mine_);
  }

 private:
  locale_t mine_;
  locale_t before_;
};

EntryType TypeOf(archive_entry* entry) {
  if (archive_entry_hardlink(entry)) return EntryType::kHardlink;
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      return EntryType::kFile;
    case AE_IFDIR:
      return EntryType::kDirectory;
    case AE_IFLNK:
      return EntryType::kSymlink;
    case AE_IFCHR:
      return EntryType::kCharacterDevice;
    case AE_IFBLK:
      return EntryType::kBlockDevice;
    case AE_IFIFO:
      return EntryType::kFifo;
    default:
      return EntryType::kOther;
  }
}

Status ReadXattrs(archive_entry* source, TarEntry* entry) {
  entry->xattrs.clear();
  archive_entry_xattr_reset(source);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(source, &name, &value, &size) == ARCHIVE_OK) {
    if (entry->xattrs.size() == kMaxXattrs)
      return InvalidArgument(entry->path + ": too many extended attributes");
    if (size > kMaxXattrValue) return InvalidArgument(entry->path + ": an extended attribute is too large");
    entry->xattrs.emplace_back(name, std::string(static_cast<const char*>(value), size));
  }
  return absl::OkStatus();
}

}  // namespace

// Two readers, one behind the other: `raw` takes the compression off, `tar` reads what comes out of it, so
// that the bytes between them can be hashed.
struct TarReader::State {
  ReadBytes read;
  std::stop_token cancel;
  uint64_t limit = 0;
  uint64_t left = 0;  // of `limit`
  Status error;       // what `read` returned, or why we stopped: better than what libarchive makes of it
  std::array<char, kBlock> input;
  std::array<char, kBlock> plain;
  Sha256 hash;
  Archive raw;
  Archive tar;  // last member: freed first, for it reads from `raw`

  static la_ssize_t ReadInput(archive* reader, void* self, const void** buffer) {
    auto* state = static_cast<State*>(self);
    *buffer = state->input.data();
    StatusOr<size_t> got = state->cancel.stop_requested() ? StatusOr<size_t>(Cancelled("cancelled"))
                                                          : state->read(state->input.data(), kBlock);
    return got.ok() ? static_cast<la_ssize_t>(*got) : state->Stop(reader, got.status());
  }

  static la_ssize_t ReadPlain(archive* reader, void* self, const void** buffer) {
    auto* state = static_cast<State*>(self);
    *buffer = state->plain.data();
    // Here too: a small input gives no occasion to notice while it becomes a large output.
    if (state->cancel.stop_requested()) return state->Stop(reader, Cancelled("cancelled"));
    if (state->empty) return 0;
    la_ssize_t got = archive_read_data(state->raw.get(), state->plain.data(), kBlock);
    if (got < 0) {
      archive_set_error(reader, EIO, "%s", archive_error_string(state->raw.get()));
      return -1;
    }
    const auto size = static_cast<size_t>(got);
    if (size > state->left) return state->Stop(reader, state->TooLarge());
    state->left -= size;
    state->hash.Update({state->plain.data(), size});
    return got;
  }

  bool empty = false;

  la_ssize_t Stop(archive* reader, Status why) {
    error = std::move(why);
    archive_set_error(reader, EIO, "input");
    return -1;
  }

  Status TooLarge() const {
    return InvalidArgument("read archive: uncompressed it has more than " + std::to_string(limit) +
                           " bytes, the most that is taken or that the disk has free");
  }

  Status Error(archive* reader, const char* what) {
    if (!error.ok()) return error;
    const char* text = archive_error_string(reader);
    return InvalidArgument(std::string(what) + ": " + (text ? text : "damaged archive"));
  }

  Status OpenRaw() {
    raw.reset(archive_read_new());
    archive_read_support_filter_gzip(raw.get());
    archive_read_support_filter_zstd(raw.get());
    archive_read_support_filter_bzip2(raw.get());
    archive_read_support_filter_xz(raw.get());
    archive_read_support_format_raw(raw.get());
    archive_read_support_format_empty(raw.get());
    archive_entry* entry = nullptr;
    if (archive_read_open(raw.get(), this, nullptr, ReadInput, nullptr) != ARCHIVE_OK) {
      return Error(raw.get(), "read archive");
    }
    if (archive_filter_count(raw.get()) > kMaxFilters) {
      return InvalidArgument("read archive: it is compressed more than once");
    }
    int result = archive_read_next_header(raw.get(), &entry);
    if (result == ARCHIVE_EOF) empty = true;  // no archive at all, which Docker takes for one without entries
    if (empty) return absl::OkStatus();
    return result == ARCHIVE_OK ? absl::OkStatus() : Error(raw.get(), "read archive");
  }

  Status OpenTar() {
    tar.reset(archive_read_new());
    archive_read_support_format_tar(tar.get());
    archive_read_support_format_empty(tar.get());
    if (archive_read_open(tar.get(), this, nullptr, ReadPlain, nullptr) == ARCHIVE_OK)
      return absl::OkStatus();
    return Error(tar.get(), "read tar");
  }
};

TarReader::TarReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
TarReader::~TarReader() = default;

StatusOr<uint64_t> UncompressedLimit(const std::string& directory) {
  struct statvfs space = {};
  if (::statvfs(directory.c_str(), &space) != 0) return ErrnoError(errno, "statvfs " + directory);
  return std::min(kMaxUncompressed, uint64_t{space.f_bavail} * space.f_frsize);
}

StatusOr<std::unique_ptr<TarReader>> TarReader::Open(ReadBytes read, std::stop_token cancel, uint64_t limit) {
  auto state = std::make_unique<State>();
  state->read = std::move(read);
  state->cancel = std::move(cancel);
  state->limit = state->left = limit;
  STASIS_RETURN_IF_ERROR(state->OpenRaw());
  STASIS_RETURN_IF_ERROR(state->OpenTar());
  return std::unique_ptr<TarReader>(new TarReader(std::move(state)));
}

StatusOr<bool> TarReader::Next(TarEntry* entry) {
  CLocale locale;
  archive_entry* header = nullptr;
  int result = archive_read_next_header(state_->tar.get(), &header);
  if (!state_->error.ok()) return state_->error;
  if (result == ARCHIVE_EOF) return false;
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return state_->Error(state_->tar.get(), "read tar");
  const char* path = archive_entry_pathname(header);
  if (!path) return state_->Error(state_->tar.get(), "read tar: an entry without a name");
  entry->path = path;
  entry->type = TypeOf(header);
  const char* target = entry->type == EntryType::kHardlink  ? archive_entry_hardlink(header)
                       : entry->type == EntryType::kSymlink ? archive_entry_symlink(header)
                                                            : "";
  if (!target) return InvalidArgument("read tar: " + entry->path + ": a link without a target");
  entry->link_target = target;
  entry->mode = archive_entry_perm(header) & 07777;
  entry->uid = archive_entry_uid(header);
  entry->gid = archive_entry_gid(header);
  entry->size = archive_entry_size(header);
  entry->modified = {archive_entry_mtime(header), archive_entry_mtime_nsec(header)};
  entry->accessed = entry->modified;
  if (archive_entry_atime_is_set(header)) {
    entry->accessed = {archive_entry_atime(header), archive_entry_atime_nsec(header)};
  }
  entry->device_major = static_cast<uint64_t>(archive_entry_rdevmajor(header));
  entry->device_minor = static_cast<uint64_t>(archive_entry_rdevminor(header));
  STASIS_RETURN_IF_ERROR(ReadXattrs(header, entry));
  return true;
}

StatusOr<bool> TarReader::NextBlock(TarBlock* block) {
  const void* bytes = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  int result = archive_read_data_block(state_->tar.get(), &bytes, &size, &offset);
  if (!state_->error.ok()) return state_->error;
  if (result == ARCHIVE_EOF) return false;
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return state_->Error(state_->tar.get(), "read tar");
  if (offset < 0) return InvalidArgument("read tar: a negative offset");
  *block = {{static_cast<const char*>(bytes), size}, static_cast<uint64_t>(offset)};
  return true;
}

StatusOr<Digest> TarReader::Finish() {
  const void* ignored = nullptr;
  la_ssize_t got = 0;
  while ((got = State::ReadPlain(state_->tar.get(), state_.get(), &ignored)) > 0) {
  }
  if (got < 0) return state_->Error(state_->tar.get(), "read archive");
  return state_->hash.Finish();
}

}  // namespace stasis::image
