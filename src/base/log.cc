#include "base/log.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "spdlog/sinks/stdout_sinks.h"

namespace stasis {
namespace {

// Bytes of the character of UTF-8 that `text` begins with; 0 where it is a control character (U+0080 to
// U+009F are ones too: CSI is U+009B) or no UTF-8 (RFC 3629: also overlong, surrogates, beyond U+10FFFF).
size_t PlainLength(std::string_view text) {
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0xa0, 0x800, 0x10000};  // by length
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const auto length = static_cast<size_t>(std::countl_one(first));
  if (length < 2 || length > 4 || length > text.size()) return 0;
  uint32_t code = first & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return 0;
    code = code << 6 | (next & 0x3f);
  }
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < kLeast[length] || code > 0x10ffff || surrogate ? 0 : length;
}

}  // namespace

Status InitLog(std::string_view program, std::string_view level) {
  auto parsed = spdlog::level::from_str(std::string(level));
  if (parsed == spdlog::level::off && level != "off") {
    return InvalidArgument("unknown log level " + std::string(level));
  }
  auto logger = spdlog::stderr_logger_mt(std::string(program));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %n: %v", spdlog::pattern_time_type::utc);
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(logger);
  return absl::OkStatus();
}

std::string Printable(std::string_view text, size_t limit) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    const size_t plain = PlainLength(text);
    if (out.size() + (plain > 0 ? plain : 4) > limit) break;
    if (plain > 0) {
      out += text.substr(0, plain);
    } else {
      const auto byte = static_cast<unsigned char>(text[0]);
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
    text.remove_prefix(std::max<size_t>(plain, 1));
  }
  return out;
}

}  // namespace stasis
