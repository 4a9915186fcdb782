#include "api/multiplex.h"

#include <cstdint>

namespace stasis::api {

std::string_view StreamType(bool terminal, int minor_version) {
  if (terminal || minor_version < 42) return "application/vnd.docker.raw-stream";
  return "application/vnd.docker.multiplexed-stream";
}

std::string ErrorFrame(bool terminal, std::string_view message) {
  std::string text(message);
  if (terminal) return text + "\r\n";
  text += "\n";
  auto size = static_cast<uint32_t>(text.size());
  std::string frame{'\x02', '\0', '\0', '\0'};
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(size >> shift & 0xff);
  return frame + text;
}

}  // namespace stasis::api
