#include "api/multiplex.h"

#include <cstdint>

namespace stasis::api {

std::string_view StreamType(bool terminal, int minor_version) {
  if (terminal || minor_version < 42) return "application/vnd.docker.raw-stream";
  return "application/vnd.docker.multiplexed-stream";
}

std::string MakeFrame(char stream, std::string_view bytes) {
  const auto size = static_cast<uint32_t>(bytes.size());
  std::string frame{stream, '\0', '\0', '\0'};
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(size >> shift & 0xff);
  return frame.append(bytes);
}

std::string ErrorFrame(bool terminal, std::string_view message) {
  const std::string text(message);
  return terminal ? text + "\r\n" : MakeFrame(kStderr, text + "\n");
}

}  // namespace stasis::api
