// What processes hold open, as CRIU's images say it (https://criu.org/Images):
//
//   files.img            the open files, by CRIU's own ids
//   memfd.img            the names of memory files
//   fdinfo-FILES_ID.img  which of them are a process's descriptors
//
// Images are foreign bytes: a checkpoint may come from elsewhere, and names are the container's to choose.
// Sizes and counts are checked; names are bytes, to be shown only as text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"

namespace stasis::criu {

// Gives an image, whole. kNotFound: there is none of this name. Any other error, as for one that is longer
// than `limit`, is given back.
using ReadImage = std::function<StatusOr<std::string>(const std::string& name, size_t limit)>;

inline constexpr size_t kMaxOpenFiles = 1 << 20;  // entries of files.img

struct OpenFile {
  std::string kind;       // "file", "directory", "pipe", "eventfd" ...; "socket" has the fields below
  std::string name;       // a path, or as /proc/PID/fd shows it ("pipe:[123]"); may be empty
  std::string access;     // "r", "w", "rw"; empty where there is none
  uint64_t position = 0;  // of a file
  std::string family;     // of a socket: "unix", "inet", "inet6", "packet", "netlink"
  std::string type;       // "stream", "dgram", "seqpacket", "raw"
  std::string protocol;   // "tcp", "udp"
  std::string state;      // "listen", "established", "close" ...
  std::string local;      // "10.0.0.1:80", "[::]:80", "/run/socket", "@abstract"
  std::string remote;     // the same of its peer; empty where it has none
};

class OpenFiles {
 public:
  // kDataLoss: not CRIU's images. kResourceExhausted: more than kMaxOpenFiles.
  static StatusOr<OpenFiles> Read(const ReadImage& read);

  // None: no such id.
  const OpenFile* Find(uint32_t id) const;
  // The shared memory behind a memory file, which names the image of its pages.
  std::optional<uint64_t> MemoryOf(uint32_t id) const;

 private:
  std::unordered_map<uint32_t, OpenFile> files_;
  std::unordered_map<uint32_t, uint64_t> memory_;
};

struct Descriptor {
  uint32_t fd = 0;
  uint32_t file = 0;  // for OpenFiles::Find
};
// Those of the processes with this table of files. kDataLoss.
StatusOr<std::vector<Descriptor>> ReadDescriptors(const ReadImage& read, uint32_t table);

}  // namespace stasis::criu
