#include "engine/signals.h"

#include <csignal>
#include <cstring>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/log.h"

namespace stasis::engine {
namespace {

constexpr int kLastSignal = 64;

// "RTMIN", "RTMIN+N", "RTMAX-N"; 0 where it is none of them. The numbers are the kernel's plus the two that
// glibc keeps for itself, as Docker counts them.
int RealTimeSignal(const std::string& name) {
  int base = 0;
  if (name.rfind("RTMIN", 0) == 0) base = 34;
  if (name.rfind("RTMAX", 0) == 0) base = kLastSignal;
  if (base == 0) return 0;
  const std::string rest = name.substr(5);
  if (rest.empty()) return base;
  int offset = 0;
  if (rest[0] != (base == 34 ? '+' : '-') || !absl::SimpleAtoi(rest.substr(1), &offset)) return 0;
  const int number = base == 34 ? base + offset : base - offset;
  return offset >= 0 && number >= 34 && number <= kLastSignal ? number : 0;
}

}  // namespace

StatusOr<int> ParseSignal(std::string_view text) {
  const Status invalid = InvalidArgument("Invalid signal: " + Printable(text));
  std::string name = absl::AsciiStrToUpper(std::string(text));
  int number = 0;
  if (absl::SimpleAtoi(name, &number)) {
    if (number < 1 || number > kLastSignal) return invalid;
    return number;
  }
  if (name.rfind("SIG", 0) == 0) name.erase(0, 3);
  if (const int real_time = RealTimeSignal(name)) return real_time;
  for (int candidate = 1; candidate < SIGRTMIN && candidate < 32; ++candidate) {
    const char* known = ::sigabbrev_np(candidate);
    if (known && name == known) return candidate;
  }
  if (name == "CLD") return SIGCHLD;
  if (name == "IOT") return SIGABRT;
  if (name == "POLL") return SIGIO;
  return invalid;
}

}  // namespace stasis::engine
