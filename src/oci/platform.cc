#include "oci/platform.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "oci/seccomp.h"

namespace stasis::oci {
namespace {

constexpr char kOs[] = "linux";
constexpr std::array<std::string_view, 17> kSystems = {
    "aix",   "android", "darwin", "dragonfly", "freebsd", "hurd",    "illumos", "ios", "js",
    "linux", "nacl",    "netbsd", "openbsd",   "plan9",   "solaris", "windows", "zos"};
constexpr std::array<std::string_view, 15> kArchitectures = {
    "386",      "amd64", "arm",     "arm64",   "loong64", "mips",    "mipsle", "mips64",
    "mips64le", "ppc64", "ppc64le", "riscv64", "s390x",   "sparc64", "wasm"};

std::string Lower(std::string_view text) {
  std::string lower(text);
  absl::AsciiStrToLower(&lower);
  return lower;
}

std::string Quoted(std::string_view text) { return "\"" + Printable(text) + "\""; }

bool IsWord(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
  });
}

// The one way to write it.
Platform Normalized(const Platform& platform) {
  Platform out = {Lower(platform.os), Lower(platform.architecture), Lower(platform.variant)};
  if (out.os.empty()) out.os = kOs;
  if (out.architecture == "i386") {
    out.architecture = "386";
    out.variant.clear();
  } else if (out.architecture == "x86_64" || out.architecture == "x86-64" || out.architecture == "amd64") {
    out.architecture = "amd64";
    if (out.variant == "v1") out.variant.clear();
  } else if (out.architecture == "aarch64" || out.architecture == "arm64") {
    out.architecture = "arm64";
    if (out.variant == "8" || out.variant == "v8") out.variant.clear();
  } else if (out.architecture == "armhf" || out.architecture == "armel") {
    out.variant = out.architecture == "armhf" ? "v7" : "v6";
    out.architecture = "arm";
  } else if (out.architecture == "arm") {
    if (out.variant.empty()) out.variant = "v7";
    if (out.variant.size() == 1) out.variant.insert(0, "v");
  }
  return out;
}

// Of those that are numbered in the order of what they can do.
std::optional<int> Generation(const Platform& normalized) {
  if (normalized.architecture == "amd64" && normalized.variant.empty()) return 1;
  int number = 0;
  if (normalized.architecture != "amd64" && normalized.architecture != "arm") return std::nullopt;
  if (!normalized.variant.starts_with('v') || !absl::SimpleAtoi(normalized.variant.substr(1), &number)) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

StatusOr<Platform> ParsePlatform(std::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(std::string(text), absl::MaxSplits('/', 3));
  for (const std::string& part : parts) {
    if (!IsWord(part)) {
      return InvalidArgument(
          Quoted(part) + " is an invalid component of " + Quoted(text) +
          ": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument");
    }
  }
  switch (parts.size()) {
    case 1: {
      const std::string word = Lower(parts[0]);
      if (std::find(kSystems.begin(), kSystems.end(), word) != kSystems.end()) {
        return Platform{word, NativeArchitecture(), ""};
      }
      Platform platform = Normalized({kOs, word, ""});
      const auto known =
          std::find(kArchitectures.begin(), kArchitectures.end(), std::string_view(platform.architecture));
      if (known == kArchitectures.end()) {
        return InvalidArgument(Quoted(text) + ": unknown operating system or architecture: invalid argument");
      }
      if (platform.variant == "v7") platform.variant.clear();
      return platform;
    }
    case 2: {
      Platform platform = Normalized({parts[0], parts[1], ""});
      if (platform.variant == "v7") platform.variant.clear();
      return platform;
    }
    case 3: {
      Platform platform = Normalized({parts[0], parts[1], parts[2]});
      if (platform.architecture == "arm64" && platform.variant.empty()) platform.variant = "v8";
      return platform;
    }
  }
  return InvalidArgument(Quoted(text) + ": cannot parse platform specifier: invalid argument");
}

std::string FormatPlatform(const Platform& platform) {
  if (platform.os.empty()) return "unknown";
  std::string text = platform.os;
  for (const std::string& part : {platform.architecture, platform.variant}) {
    if (!part.empty()) text += "/" + part;
  }
  return text;
}

Platform NativePlatform() { return {kOs, NativeArchitecture(), ""}; }

bool Satisfies(const Platform& image, const Platform& wanted) {
  const Platform has = Normalized(image);
  Platform wants = Normalized(wanted);
  if (has.os != wants.os) return false;
  if (image.variant.empty() && has.architecture == wants.architecture) return true;
  if (has.architecture == "386" && wants.architecture == "amd64") return has.variant.empty();
  if (has.architecture == "arm" && wants.architecture == "arm64") wants = {wants.os, "arm", "v8"};
  if (has.architecture != wants.architecture) return false;
  if (has.variant == wants.variant) return true;
  const std::optional<int> needed = Generation(has);
  const std::optional<int> allowed = Generation(wants);
  if (needed && allowed) return *needed <= *allowed;
  return has.architecture == "arm64" && has.variant.empty();  // the first of them
}

}  // namespace stasis::oci
