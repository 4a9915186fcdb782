#include "base/detach_keys.h"

#include <vector>

#include "absl/strings/str_split.h"
#include "base/log.h"

namespace stasis {
namespace {

constexpr char kDefault[] = {'p' & 0x1f, 'q' & 0x1f};
constexpr std::string_view kControl = "ctrl-";
// The place of a character in this list is the byte that it gives together with the control key.
constexpr std::string_view kControlled = "@abcdefghijklmnopqrstuvwxyz[\\]^_";

// The byte of one key; '\0' with `*valid` false where it is none.
char ByteOf(std::string_view key, bool* valid) {
  if (key.size() == 1) return key[0];
  const bool control = key.starts_with(kControl) && key.size() == kControl.size() + 1;
  const size_t place = control ? kControlled.find(key.back()) : std::string_view::npos;
  *valid = *valid && place != std::string_view::npos;
  return *valid ? static_cast<char>(place) : '\0';
}

}  // namespace

DetachKeys::DetachKeys() : keys_(kDefault, sizeof kDefault) {}

StatusOr<DetachKeys> DetachKeys::Parse(const std::string& text) {
  if (text.empty()) return DetachKeys();
  std::string keys;
  bool valid = true;
  const std::vector<std::string> names = absl::StrSplit(text, ',');
  for (const std::string& name : names) keys += ByteOf(name, &valid);
  if (!valid) return InvalidArgument("Invalid detach keys (" + Printable(text) + ") provided");
  return DetachKeys(std::move(keys));
}

std::string DetachKeys::Take(std::string_view typed) {
  std::string passed;
  for (const char c : typed) {
    if (pressed()) break;
    if (c == keys_[matched_]) {
      ++matched_;
      continue;
    }
    passed += keys_.substr(0, matched_);
    matched_ = c == keys_[0] ? 1 : 0;
    if (matched_ == 0) passed += c;
  }
  return passed;
}

}  // namespace stasis
