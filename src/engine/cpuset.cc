#include "engine/cpuset.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/log.h"

namespace stasis::engine {
namespace {

constexpr int kMaximum = 8191;

bool ReadNumber(std::string_view text, int* number) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  return digits && absl::SimpleAtoi(std::string(text), number) && *number <= kMaximum;
}

Status Check(const std::string& requested, const std::string& available, const char* kind,
             const char* things) {
  const StatusOr<std::set<int>> wanted = ParseNumberList(requested);
  if (!wanted.ok())
    return InvalidArgument("Invalid value " + Printable(requested) + " for cpuset " + kind + ": " +
                           Message(wanted.status()));
  const StatusOr<std::set<int>> there = ParseNumberList(available);
  if (!there.ok() || there->empty()) return {};
  if (std::includes(there->begin(), there->end(), wanted->begin(), wanted->end())) return {};
  return InvalidArgument("Requested " + std::string(things) + " are not available - requested " + requested +
                         ", available: " + available);
}

}  // namespace

StatusOr<std::set<int>> ParseNumberList(const std::string& text) {
  std::set<int> numbers;
  if (text.empty()) return numbers;
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  for (const std::string& part : parts) {
    const size_t dash = part.find('-');
    int first = 0, last = 0;
    const bool fits = ReadNumber(part.substr(0, dash), &first) &&
                      ReadNumber(dash == std::string::npos ? part : part.substr(dash + 1), &last) &&
                      first <= last;
    if (!fits) return InvalidArgument("invalid format: " + Printable(text));
    for (int number = first; number <= last; ++number) numbers.insert(number);
  }
  return numbers;
}

Status CheckCpus(const std::string& requested, const std::string& available) {
  return Check(requested, available, "cpus", "CPUs");
}

Status CheckMemoryNodes(const std::string& requested, const std::string& available) {
  return Check(requested, available, "mems", "memory nodes");
}

}  // namespace stasis::engine
