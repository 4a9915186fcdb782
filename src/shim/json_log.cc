#include "shim/json_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/time.h"
#include "linux/files.h"
#include "linux/regular_file.h"

namespace stasis {
namespace {

constexpr size_t kMaxLine = 16 << 10;
constexpr char kHex[] = "0123456789abcdef";

const char* NameOf(Stream stream) { return stream == Stream::kStdout ? "stdout" : "stderr"; }

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

// Length of the UTF-8 character that `text` begins with; 0 when it begins with none (RFC 3629).
size_t CharacterLength(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(0);
  size_t length = first < 0x80   ? 1
                  : first < 0xc2 ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf5 ? 4
                                 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[i])) return 0;
  }
  if (first == 0xe0 && byte(1) < 0xa0) return 0;  // longer than need be
  if (first == 0xed && byte(1) > 0x9f) return 0;  // surrogates
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

void AppendEscapedByte(char c, std::string* out) {
  switch (c) {
    case '\\':
    case '"':
      *out += '\\';
      *out += c;
      break;
    case '\n':
      *out += "\\n";
      break;
    case '\r':
      *out += "\\r";
      break;
    default: {
      auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x20 && c != '<' && c != '>' && c != '&') {
        *out += c;
      } else {
        *out += "\\u00";
        *out += kHex[byte >> 4];
        *out += kHex[byte & 0xf];
      }
    }
  }
}

// Where to cut a line that is too long: not inside a character, where it can be helped.
size_t CutAt(std::string_view text) {
  size_t cut = kMaxLine;
  while (cut > kMaxLine - 4 && IsContinuation(text[cut])) --cut;
  return IsContinuation(text[cut]) ? kMaxLine : cut;
}

}  // namespace

void AppendJsonEscaped(std::string_view text, std::string* out) {
  while (!text.empty()) {
    size_t length = CharacterLength(text);
    if (length == 0) {
      *out += "\\ufffd";
      length = 1;
    } else if (length == 1) {
      AppendEscapedByte(text[0], out);
    } else if (text.starts_with("\xe2\x80\xa8") || text.starts_with("\xe2\x80\xa9")) {
      *out += text[2] == '\xa8' ? "\\u2028" : "\\u2029";  // line ends in JavaScript
    } else {
      out->append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
}

StatusOr<JsonLog> JsonLog::Open(const std::string& path, uint64_t max_size, uint32_t max_files) {
  JsonLog log(path, max_size, std::max(max_files, 1u));
  STASIS_RETURN_IF_ERROR(log.Reopen(0));
  return log;
}

Status JsonLog::Reopen(int flags) {
  STASIS_ASSIGN_OR_RETURN(file_, OpenRegularFile(path_, O_WRONLY | O_CREAT | O_APPEND | flags, 0640));
  struct stat info;
  if (::fstat(file_.get(), &info) != 0) return ErrnoError(errno, "fstat the log");
  size_ = static_cast<uint64_t>(info.st_size);
  return {};
}

Status JsonLog::Rotate() {
  if (max_files_ == 1) return Reopen(O_TRUNC);
  for (uint32_t number = max_files_ - 1; number > 0; --number) {
    std::string from = number == 1 ? path_ : path_ + "." + std::to_string(number - 1);
    std::string to = path_ + "." + std::to_string(number);
    if (::rename(from.c_str(), to.c_str()) != 0 && errno != ENOENT)
      return ErrnoError(errno, "rename " + from);
  }
  return Reopen(0);
}

void JsonLog::Write(Stream stream, std::string_view bytes, absl::Time now) {
  const std::string time = ToRfc3339(now);
  std::string& unfinished = unfinished_[static_cast<size_t>(stream)];
  while (!bytes.empty()) {
    size_t newline = bytes.find('\n');
    size_t end = newline == bytes.npos ? bytes.size() : newline + 1;
    // A line is complete at 16 KiB of text, its newline not counted, as with Docker.
    size_t room = kMaxLine + 1 - unfinished.size();
    size_t take = std::min(end, room);
    unfinished.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (unfinished.back() == '\n') {
      AddLine(stream, unfinished, time);
      unfinished.clear();
    } else if (unfinished.size() > kMaxLine) {
      size_t cut = CutAt(unfinished);
      AddLine(stream, std::string_view(unfinished).substr(0, cut), time);
      unfinished.erase(0, cut);
    }
  }
  WriteBatch();
}

void JsonLog::Flush(Stream stream, absl::Time now) {
  std::string& unfinished = unfinished_[static_cast<size_t>(stream)];
  if (!unfinished.empty()) AddLine(stream, unfinished, ToRfc3339(now));
  unfinished = {};
  WriteBatch();
}

void JsonLog::AddLine(Stream stream, std::string_view text, std::string_view time) {
  if (max_size_ != 0 && size_ + batch_.size() >= max_size_) {
    WriteBatch();
    if (!Rotate().ok()) {
      ++dropped_lines_;
      return;
    }
  }
  batch_ += R"({"log":")";
  AppendJsonEscaped(text, &batch_);
  batch_ += R"(","stream":")";
  batch_ += NameOf(stream);
  batch_ += R"(","time":")";
  batch_ += time;
  batch_ += "\"}\n";
  ++batch_lines_;
}

void JsonLog::WriteBatch() {
  if (batch_.empty()) return;
  if (WriteAll(file_.get(), batch_).ok()) {
    size_ += batch_.size();
  } else {
    dropped_lines_ += batch_lines_;
    // Half a line would spoil the next one too.
    struct stat info;
    bool longer = ::fstat(file_.get(), &info) == 0 && static_cast<uint64_t>(info.st_size) > size_;
    if (longer && ::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) {
      size_ = static_cast<uint64_t>(info.st_size);
    }
  }
  batch_.clear();
  batch_lines_ = 0;
}

}  // namespace stasis
