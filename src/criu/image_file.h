// CRIU's image files: two magic numbers, the group's and the kind's, then messages, each behind its size
// (https://criu.org/Images, criu/protobuf.c). Numbers are little-endian, 32 bits.
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace stasis::criu {

inline constexpr uint32_t kCommonMagic = 0x54564319;   // the group of the processes' own images
inline constexpr uint32_t kServiceMagic = 0x55105940;  // of what CRIU notes beside them

// Of the images that more than one of us reads (criu/include/magic.h).
inline constexpr uint32_t kCoreMagic = 0x55053847;
inline constexpr uint32_t kFileLocksMagic = 0x54323616;
inline constexpr uint32_t kFilesMagic = 0x56303138;
inline constexpr uint32_t kIpcShmMagic = 0x46283044;
inline constexpr uint32_t kMmMagic = 0x57492820;
inline constexpr uint32_t kPagemapMagic = 0x56084025;
inline constexpr uint32_t kRemapMagic = 0x59133954;
inline constexpr uint32_t kUtsnsMagic = 0x54473203;

// A flag of PagemapEntry (criu/include/pagemap.h).
inline constexpr uint32_t kPagePresent = 1 << 2;

inline constexpr char kFilesImage[] = "files.img";

// "KIND-ID.img".
std::string ImageName(std::string_view kind, uint64_t id);

class ImageWriter {
 public:
  ImageWriter(uint32_t group, uint32_t magic);
  void Add(const google::protobuf::MessageLite& message);
  const std::string& bytes() const { return bytes_; }
  // In place of the file `name`, which is there.
  Status Replace(int directory, const std::string& name) const;

 private:
  void AddNumber(uint32_t number);
  std::string bytes_;
};

class ImageReader {
 public:
  // The file `name` in `directory`. kDataLoss: another kind of file.
  static StatusOr<ImageReader> Open(int directory, const std::string& name, uint32_t group, uint32_t magic);
  // The same for its bytes; `name` is for messages.
  static StatusOr<ImageReader> Parse(const std::string& name, std::string bytes, uint32_t group,
                                     uint32_t magic);

  bool AtEnd() const { return at_ == bytes_.size(); }
  // kDataLoss: there is no such message.
  Status Next(google::protobuf::MessageLite* message);
  // The next message as it is encoded; valid as long as the reader stays where it is.
  StatusOr<std::string_view> NextEncoded();
  // A message, or one that is a part of it.
  Status Decode(std::string_view encoded, google::protobuf::MessageLite* message) const;
  Status Malformed() const;

 private:
  ImageReader(std::string name, std::string bytes) : name_(std::move(name)), bytes_(std::move(bytes)) {}
  bool TakeNumber(uint32_t* number);

  std::string name_;
  std::string bytes_;
  size_t at_ = 0;
};

}  // namespace stasis::criu
