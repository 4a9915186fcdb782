#include "base/names.h"

namespace stasis {
namespace {

constexpr size_t kMaxName = 255;  // NAME_MAX: these become names of files
constexpr size_t kMaxBundleId = 128;
constexpr std::string_view kDigestPrefix = "sha256:";

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsHex64(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

Status Refuse(std::string_view kind, std::string_view raw) {
  std::string why =
      "Invalid " + std::string(kind) + " (" + std::string(raw) + "), only " + kNamePattern + " are allowed";
  if (raw.size() == 1 && IsAlphanumeric(raw[0])) why += ", and at least two characters are needed";
  if (raw.size() > kMaxName) why += ", and at most " + std::to_string(kMaxName) + " of them";
  return InvalidArgument(why);
}

}  // namespace

bool IsRestrictedName(std::string_view name) {
  if (name.size() < 2 || name.size() > kMaxName || !IsAlphanumeric(name[0])) return false;
  for (char c : name) {
    if (!IsAlphanumeric(c) && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

Status ContainerIdTag::Check(std::string_view raw) {
  if (IsHex64(raw)) return absl::OkStatus();
  return InvalidArgument("container id: want 64 lower-case hex digits");
}

Status BundleIdTag::Check(std::string_view raw) {
  if (IsRestrictedName(raw) && raw.size() <= kMaxBundleId) return absl::OkStatus();
  return Refuse("container id", raw.substr(0, kMaxName));
}

Status ContainerNameTag::Check(std::string_view raw) {
  if (IsRestrictedName(raw)) return absl::OkStatus();
  return Refuse("container name", raw);
}

Status CheckpointNameTag::Check(std::string_view raw) {
  if (IsRestrictedName(raw)) return absl::OkStatus();
  return Refuse("checkpoint ID", raw);
}

Status DigestTag::Check(std::string_view raw) {
  if (raw.starts_with(kDigestPrefix) && IsHex64(raw.substr(kDigestPrefix.size()))) return absl::OkStatus();
  return InvalidArgument("digest: want sha256: and 64 lower-case hex digits");
}

std::string Hex(const Digest& digest) { return digest.str().substr(kDigestPrefix.size()); }

}  // namespace stasis
