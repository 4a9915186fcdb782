// The log of a container in the form of Docker's json-file driver, one line of JSON for each line of output:
//
//   {"log":"text\n","stream":"stdout","time":"2026-11-24T07:31:47.123456789Z"}
//
// A line longer than 16 KiB is split; only its last part ends with \n. What is not UTF-8 becomes U+FFFD. When
// the file has reached its size, it becomes PATH.1, that PATH.2, and so on; with one file in all it is begun
// anew.
//
// Not thread-safe. Writing never fails to the caller, because a full disk must not stop a container: what
// cannot be written is counted and dropped, a whole line at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

enum class Stream { kStdout = 1, kStderr = 2 };  // the numbers of Docker's attach frames

class JsonLog {
 public:
  // Goes on at the end of the file when there is one. `max_size` 0: no rotation. `max_files` counts PATH
  // itself.
  static StatusOr<JsonLog> Open(const std::string& path, uint64_t max_size, uint32_t max_files);

  void Write(Stream stream, std::string_view bytes, absl::Time now);
  // Writes what is left of an unfinished line of this stream.
  void Flush(Stream stream, absl::Time now);

  uint64_t dropped_lines() const { return dropped_lines_; }

 private:
  JsonLog(std::string path, uint64_t max_size, uint32_t max_files)
      : path_(std::move(path)), max_size_(max_size), max_files_(max_files) {}
  Status Reopen(int flags);
  Status Rotate();
  void AddLine(Stream stream, std::string_view text, std::string_view time);
  void WriteBatch();

  std::string path_;
  uint64_t max_size_;
  uint32_t max_files_;
  UniqueFd file_;
  uint64_t size_ = 0;
  uint64_t dropped_lines_ = 0;
  std::string batch_;  // lines that go out in one write
  uint64_t batch_lines_ = 0;
  std::array<std::string, 3> unfinished_;  // by number of stream
};

// `text` as the inside of a JSON string, escaped exactly as Docker does.
void AppendJsonEscaped(std::string_view text, std::string* out);

}  // namespace stasis
