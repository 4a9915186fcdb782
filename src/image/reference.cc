#include <array>
#include <string>
#include <vector>

#include "base/names.h"
#include "image/image_store.h"

namespace stasis::image {
namespace {

constexpr size_t kMaxName = 255;
constexpr size_t kMaxTag = 128;

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLowerOrDigit(char c) { return IsLower(c) || IsDigit(c); }

// [a-z0-9]+ ((\.|_|__|-+) [a-z0-9]+)*
bool IsPathComponent(std::string_view text) {
  if (text.empty() || !IsLowerOrDigit(text.front()) || !IsLowerOrDigit(text.back())) return false;
  for (size_t i = 0; i < text.size();) {
    size_t begin = i;
    while (i < text.size() && !IsLowerOrDigit(text[i])) ++i;
    std::string_view separator = text.substr(begin, i - begin);
    bool dashes = separator.find_first_not_of('-') == separator.npos;
    if (!dashes && separator != "." && separator != "_" && separator != "__") return false;
    while (i < text.size() && IsLowerOrDigit(text[i])) ++i;
  }
  return true;
}

// A host name or address and an optional port: letters, digits, dots, dashes, colons, brackets.
bool IsDomain(std::string_view text) {
  for (char c : text) {
    if (!IsLowerOrDigit(c) && !IsUpper(c) && c != '.' && c != '-' && c != ':' && c != '[' && c != ']')
      return false;
  }
  return !text.empty() && text.front() != '-' && text.front() != '.' && text.back() != '-' &&
         text.back() != '.' && text.find("..") == text.npos;
}

// The first component of a name is a registry's when it looks like a host.
bool LooksLikeDomain(std::string_view first) {
  if (first == "localhost" || first.find_first_of(".:") != first.npos) return true;
  for (char c : first) {
    if (IsUpper(c)) return true;
  }
  return false;
}

bool IsTag(std::string_view text) {
  if (text.empty() || text.size() > kMaxTag || text.front() == '.' || text.front() == '-') return false;
  for (char c : text) {
    if (!IsLowerOrDigit(c) && !IsUpper(c) && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

Status Refuse() { return InvalidArgument("invalid reference format"); }

Status CheckName(std::string_view name) {
  if (name.empty() || name.size() > kMaxName) return Refuse();
  size_t slash = name.find('/');
  if (slash != name.npos && LooksLikeDomain(name.substr(0, slash))) {
    if (!IsDomain(name.substr(0, slash))) return Refuse();
    name.remove_prefix(slash + 1);
  }
  for (char c : name) {
    if (IsUpper(c)) {
      return InvalidArgument("invalid reference format: repository name (" + std::string(name) +
                             ") must be lowercase");
    }
  }
  while (true) {
    size_t end = name.find('/');
    if (!IsPathComponent(name.substr(0, end))) return Refuse();
    if (end == name.npos) return absl::OkStatus();
    name.remove_prefix(end + 1);
  }
}

}  // namespace

StatusOr<std::string> NormalizeReference(std::string_view raw) {
  std::string_view name = raw, digest, tag;
  if (size_t at = name.find('@'); at != name.npos) {
    digest = name.substr(at + 1);
    name = name.substr(0, at);
    if (!Digest::Parse(digest).ok()) return Refuse();
  }
  size_t colon = name.rfind(':');
  if (colon != name.npos && name.find('/', colon) == name.npos) {
    tag = name.substr(colon + 1);
    name = name.substr(0, colon);
    if (!IsTag(tag)) return Refuse();
  }
  // Docker's own registry goes without saying.
  for (std::string_view prefix : {"docker.io/", "index.docker.io/"}) {
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    break;
  }
  constexpr std::string_view kOfficial = "library/";
  if (name.starts_with(kOfficial) && name.find('/', kOfficial.size()) == name.npos) {
    name.remove_prefix(kOfficial.size());
  }
  if (Digest::Parse("sha256:" + std::string(name)).ok()) {
    return InvalidArgument("invalid repository name (" + std::string(name) +
                           "), cannot specify 64-byte hexadecimal strings");
  }
  STASIS_RETURN_IF_ERROR(CheckName(name));
  if (!digest.empty()) return std::string(name) + "@" + std::string(digest);
  return std::string(name) + ":" + (tag.empty() ? "latest" : std::string(tag));
}

StatusOr<std::string> NormalizeNewTag(std::string_view raw) {
  STASIS_ASSIGN_OR_RETURN(std::string tag, NormalizeReference(raw));
  if (tag.find('@') != std::string::npos) {
    return InvalidArgument("refusing to create a tag with a digest reference");
  }
  if (tag.starts_with("sha256:")) {
    return InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name");
  }
  return tag;
}

}  // namespace stasis::image
