#include "linux/cpu_features.h"

#include <algorithm>
#include <iterator>
#include <sstream>

#include "linux/files.h"

namespace stasis {
namespace {

// Not those that the kernel alone sees, or that come and go with its version.
constexpr std::string_view kPrefixes[] = {"avx", "sse", "ssse", "amx_", "xsave"};
constexpr std::string_view kNames[] = {
    "abm",    "adx",       "aes",       "bmi1",      "bmi2", "cldemote",   "clflushopt", "clwb",
    "cx16",   "erms",      "f16c",      "fma",       "fma4", "fsrm",       "gfni",       "lahf_lm",
    "movbe",  "movdir64b", "movdiri",   "pclmulqdq", "pni",  "popcnt",     "rdpid",      "rdrand",
    "rdseed", "rtm",       "serialize", "sha_ni",    "vaes", "vpclmulqdq", "xop"};

bool IsForPrograms(std::string_view flag) {
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](std::string_view prefix) { return flag.starts_with(prefix); }) ||
         std::find(std::begin(kNames), std::end(kNames), flag) != std::end(kNames);
}

}  // namespace

std::vector<std::string> ParseCpuFeatures(std::string_view cpuinfo) {
  std::vector<std::string> features;
  const size_t at = cpuinfo.find("\nflags");
  if (at == cpuinfo.npos) return features;
  const std::string_view line = cpuinfo.substr(at + 1, cpuinfo.find('\n', at + 1) - at - 1);
  const size_t colon = line.find(':');
  if (colon == line.npos) return features;
  std::istringstream words(std::string(line.substr(colon + 1)));
  for (std::string word; words >> word;) {
    if (IsForPrograms(word)) features.push_back(word);
  }
  std::sort(features.begin(), features.end());
  return features;
}

std::vector<std::string> CpuFeatures() {
  const auto text = ReadFile("/proc/cpuinfo");
  return text.ok() ? ParseCpuFeatures(*text) : std::vector<std::string>();
}

}  // namespace stasis
