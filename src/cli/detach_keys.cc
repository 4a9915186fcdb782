#include "cli/detach_keys.h"

namespace stasis::cli {
namespace {

constexpr char kCtrlP = 'p' & 0x1f;
constexpr char kCtrlQ = 'q' & 0x1f;

}  // namespace

DetachKeys::Filtered DetachKeys::Feed(std::string_view typed) {
  Filtered result;
  for (char key : typed) {
    if (held_ && key == kCtrlQ) {
      result.detach = true;
      return result;
    }
    if (held_) result.bytes += kCtrlP;
    held_ = key == kCtrlP;
    if (!held_) result.bytes += key;
  }
  return result;
}

}  // namespace stasis::cli
