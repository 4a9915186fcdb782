#include "protocol/fields.h"

#include "base/time.h"
#include "protocol/frame.h"

namespace stasis::protocol {

Status CheckVersion(int version, std::string_view what) {
  if (version >= 1 && version <= kVersion && version >= kVersion - 1) return {};
  return Unimplemented(std::string(what) + ": version " + std::to_string(version) +
                       " of the protocol is not known here");
}

Status GetTime(const JsonReader& reader, std::string_view field, absl::Time* out) {
  const Json* value = reader.Find(field);
  if (!value) return {};
  if (!value->is_string()) return InvalidArgument(std::string(field) + ": want a time");
  STASIS_ASSIGN_OR_RETURN(*out, FromRfc3339(value->get_ref<const std::string&>()));
  return {};
}

Status CheckAbsolutePath(std::string_view text, std::string_view field, bool empty_ok) {
  if (text.empty() && empty_ok) return {};
  std::string padded = std::string(text) + "/";
  bool good =
      !text.empty() && text[0] == '/' && padded.find("/../") == padded.npos && text.find('\0') == text.npos;
  if (good) return {};
  return InvalidArgument(std::string(field) + ": want an absolute path without \"..\"");
}

}  // namespace stasis::protocol
