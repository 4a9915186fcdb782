#include "criu/image_file.h"

#include <fcntl.h>
#include <google/protobuf/message_lite.h>

#include <cstring>

#include "linux/files.h"
#include "linux/unique_fd.h"

namespace stasis::criu {
namespace {

constexpr size_t kMaxImage = 1 << 30;

}  // namespace

std::string ImageName(std::string_view kind, uint64_t id) {
  return std::string(kind) + "-" + std::to_string(id) + ".img";
}

ImageWriter::ImageWriter(uint32_t group, uint32_t magic) {
  AddNumber(group);
  AddNumber(magic);
}

void ImageWriter::AddNumber(uint32_t number) {
  for (int shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(number >> shift & 0xff);
}

void ImageWriter::Add(const google::protobuf::MessageLite& message) {
  const std::string encoded = message.SerializeAsString();
  AddNumber(static_cast<uint32_t>(encoded.size()));
  bytes_ += encoded;
}

Status ImageWriter::Replace(int directory, const std::string& name) const {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFileAt(directory, name, O_WRONLY | O_TRUNC | O_NOFOLLOW));
  return WriteAll(file.get(), bytes_);
}

StatusOr<ImageReader> ImageReader::Open(int directory, const std::string& name, uint32_t group,
                                        uint32_t magic) {
  STASIS_ASSIGN_OR_RETURN(std::string bytes, ReadFileAt(directory, name, kMaxImage));
  return Parse(name, std::move(bytes), group, magic);
}

StatusOr<ImageReader> ImageReader::Parse(const std::string& name, std::string bytes, uint32_t group,
                                         uint32_t magic) {
  ImageReader reader(name, std::move(bytes));
  uint32_t its_group = 0, its_magic = 0;
  if (!reader.TakeNumber(&its_group) || !reader.TakeNumber(&its_magic) || its_group != group ||
      its_magic != magic)
    return reader.Malformed();
  return reader;
}

bool ImageReader::TakeNumber(uint32_t* number) {
  if (bytes_.size() - at_ < sizeof *number) return false;
  std::memcpy(number, bytes_.data() + at_, sizeof *number);
  at_ += sizeof *number;
  return true;
}

StatusOr<std::string_view> ImageReader::NextEncoded() {
  uint32_t size = 0;
  if (!TakeNumber(&size) || size > bytes_.size() - at_) return Malformed();
  at_ += size;
  return std::string_view(bytes_).substr(at_ - size, size);
}

Status ImageReader::Next(google::protobuf::MessageLite* message) {
  STASIS_ASSIGN_OR_RETURN(const std::string_view encoded, NextEncoded());
  return Decode(encoded, message);
}

Status ImageReader::Decode(std::string_view encoded, google::protobuf::MessageLite* message) const {
  // Not ParseFromArray, which writes to stderr what is missing.
  if (!message->ParsePartialFromArray(encoded.data(), static_cast<int>(encoded.size())) ||
      !message->IsInitialized())
    return Malformed();
  return absl::OkStatus();
}

Status ImageReader::Malformed() const { return DataLoss(name_ + " is not an image of CRIU's"); }

}  // namespace stasis::criu
