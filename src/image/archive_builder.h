// Makes archives for tests, hostile ones too. Header only; no part of the library.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "image/image_store.h"

namespace stasis::image {

struct TestEntry {
  std::string path;
  mode_t mode = S_IFREG | 0644;
  std::string content = {};
  std::string symlink = {};
  std::string hardlink = {};
  int64_t uid = 0;
  int64_t gid = 0;
  time_t modified = 1'000'000;
  unsigned major = 0;
  unsigned minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs = {};
  std::vector<std::pair<int64_t, int64_t>> data = {};  // offset and length; what is between them is a hole
  int64_t holes = 0;                                   // bytes behind the content, with `data` only
};

inline TestEntry Dir(const std::string& path, mode_t mode = 0755) {
  return {path, S_IFDIR | mode, "", "", ""};
}
inline TestEntry File(const std::string& path, const std::string& content = "", mode_t mode = 0644) {
  return {path, S_IFREG | mode, content, "", ""};
}
inline TestEntry Symlink(const std::string& path, const std::string& target) {
  return {path, S_IFLNK | 0777, "", target, ""};
}
inline TestEntry Hardlink(const std::string& path, const std::string& target) {
  return {path, S_IFREG | 0644, "", "", target};
}

// A tar of the entries, in the pax format, through one of libarchive's filters ("gzip", "zstd") or none.
inline std::string MakeTar(const std::vector<TestEntry>& entries, const char* filter = nullptr) {
  std::string out;
  archive* writer = archive_write_new();
  archive_write_set_format_pax_restricted(writer);
  if (filter) archive_write_add_filter_by_name(writer, filter);
  archive_write_set_bytes_per_block(writer, 0);
  archive_write_open(
      writer, &out, nullptr,
      [](archive*, void* text, const void* bytes, size_t size) {
        static_cast<std::string*>(text)->append(static_cast<const char*>(bytes), size);
        return static_cast<la_ssize_t>(size);
      },
      nullptr);
  for (const TestEntry& item : entries) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, item.path.c_str());
    archive_entry_set_mode(entry, item.mode);
    archive_entry_set_uid(entry, item.uid);
    archive_entry_set_gid(entry, item.gid);
    archive_entry_set_mtime(entry, item.modified, 0);
    archive_entry_set_rdevmajor(entry, item.major);
    archive_entry_set_rdevminor(entry, item.minor);
    archive_entry_set_size(entry, static_cast<int64_t>(item.content.size()) + item.holes);
    if (!item.symlink.empty()) archive_entry_set_symlink(entry, item.symlink.c_str());
    if (!item.hardlink.empty()) archive_entry_set_hardlink(entry, item.hardlink.c_str());
    for (const auto& [name, value] : item.xattrs) {
      archive_entry_xattr_add_entry(entry, name.c_str(), value.data(), value.size());
    }
    for (auto [offset, length] : item.data) archive_entry_sparse_add_entry(entry, offset, length);
    archive_write_header(writer, entry);
    archive_write_data(writer, item.content.data(), item.content.size());
    archive_entry_free(entry);
  }
  archive_write_free(writer);
  return out;
}

// Hands the bytes out in pieces of `piece`.
inline ReadBytes BytesOf(std::string bytes, size_t piece = 10'000) {
  auto rest = std::make_shared<std::string>(std::move(bytes));
  auto at = std::make_shared<size_t>(0);
  return [rest, at, piece](char* out, size_t size) -> StatusOr<size_t> {
    size_t count = std::min({size, piece, rest->size() - *at});
    rest->copy(out, count, *at);
    *at += count;
    return count;
  };
}

}  // namespace stasis::image
