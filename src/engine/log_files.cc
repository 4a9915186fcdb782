#include "engine/log_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "linux/files.h"
#include "linux/regular_file.h"

namespace stasis::engine {
namespace {

constexpr size_t kChunk = 64 << 10;
constexpr size_t kMaxLine = 4 << 20;  // longer ones are none of ours
constexpr int kMaxFiles = 1024;

std::string NumberedPath(const std::string& path, int number) {
  return number == 0 ? path : absl::StrCat(path, ".", number);
}

StatusOr<LogFile> OpenOne(const std::string& path) {
  LogFile file;
  STASIS_ASSIGN_OR_RETURN(file.fd, OpenRegularFile(path, O_RDONLY));
  struct stat info {};
  if (::fstat(file.fd.get(), &info) != 0) return ErrnoError(errno, "stat " + path);
  file.inode = info.st_ino;
  return file;
}

// Bytes at `offset`, at most kChunk; empty at the end.
StatusOr<std::string> ReadAt(const LogFile& file, uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  while (true) {
    const ssize_t got = ::pread(file.fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read the log");
    bytes.resize(static_cast<size_t>(got));
    return bytes;
  }
}

// Moves to the last `lines` lines of one file. Returns how many are still wanted of the older ones.
StatusOr<int64_t> SeekInOne(LogFile* file, int64_t lines) {
  struct stat info {};
  if (::fstat(file->fd.get(), &info) != 0) return ErrnoError(errno, "stat the log");
  uint64_t end = static_cast<uint64_t>(info.st_size);
  int64_t newlines = 0;  // the one behind the last line included
  while (end > 0) {
    const uint64_t begin = end - std::min<uint64_t>(end, kChunk);
    STASIS_ASSIGN_OR_RETURN(const std::string bytes, ReadAt(*file, begin, end - begin));
    for (size_t i = bytes.size(); i > 0; --i) {
      if (bytes[i - 1] != '\n') continue;
      if (newlines == lines) {
        file->offset = begin + i;
        return 0;
      }
      ++newlines;
    }
    end = begin;
  }
  file->offset = 0;
  return lines - newlines;
}

}  // namespace

StatusOr<std::vector<LogFile>> OpenLogFiles(const std::string& path) {
  // Newest first: a rotation in between shows a file again under the next number, and never hides one.
  std::vector<LogFile> files;
  for (int number = 0; number < kMaxFiles; ++number) {
    StatusOr<LogFile> file = OpenOne(NumberedPath(path, number));
    if (!file.ok()) {
      if (file.status().code() != StatusCode::kNotFound) return file.status();
      if (number == 0) continue;  // between the two renames of a rotation
      break;
    }
    const bool seen = std::any_of(files.begin(), files.end(),
                                  [&](const LogFile& other) { return other.inode == file->inode; });
    if (!seen) files.push_back(*std::move(file));
  }
  std::reverse(files.begin(), files.end());
  return files;
}

Status SeekToTail(std::vector<LogFile>* files, int64_t lines) {
  size_t first = files->size();
  while (first > 0 && lines > 0) {
    STASIS_ASSIGN_OR_RETURN(lines, SeekInOne(&(*files)[first - 1], lines));
    --first;
  }
  if (first == files->size() && !files->empty()) {  // no lines at all: only what comes
    STASIS_RETURN_IF_ERROR(SeekInOne(&files->back(), 0).status());
    first = files->size() - 1;
  }
  files->erase(files->begin(), files->begin() + static_cast<ptrdiff_t>(first));
  return {};
}

StatusOr<bool> ReadLines(LogFile* file, const std::function<StatusOr<bool>(std::string_view line)>& on_line) {
  struct stat info {};
  if (::fstat(file->fd.get(), &info) != 0) return ErrnoError(errno, "stat the log");
  if (static_cast<uint64_t>(info.st_size) < file->offset) {
    file->offset = 0;
    file->partial.clear();
  }
  while (true) {
    STASIS_ASSIGN_OR_RETURN(const std::string bytes, ReadAt(*file, file->offset, kChunk));
    if (bytes.empty()) return true;
    file->offset += bytes.size();
    size_t begin = 0;
    for (size_t end = bytes.find('\n'); end != std::string::npos; end = bytes.find('\n', begin)) {
      file->partial.append(bytes, begin, end - begin);
      begin = end + 1;
      STASIS_ASSIGN_OR_RETURN(const bool more, on_line(file->partial));
      file->partial.clear();
      if (!more) return false;
    }
    if (file->partial.size() + bytes.size() - begin <= kMaxLine) file->partial.append(bytes, begin);
  }
}

StatusOr<std::optional<LogFile>> OpenSuccessor(const std::string& path, ino_t inode) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && info.st_ino == inode) return std::optional<LogFile>();
  STASIS_ASSIGN_OR_RETURN(std::vector<LogFile> files, OpenLogFiles(path));
  if (files.empty()) return std::optional<LogFile>();
  for (size_t i = 0; i < files.size(); ++i) {
    if (files[i].inode != inode) continue;
    if (i + 1 == files.size()) return std::optional<LogFile>();
    return std::optional<LogFile>(std::move(files[i + 1]));
  }
  return std::optional<LogFile>(std::move(files.front()));
}

}  // namespace stasis::engine
