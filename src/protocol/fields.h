// What the private protocols' structs share: times as text, versions, a struct inside another.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::protocol {

// kUnimplemented unless `version` is kVersion or the one before it (frame.h).
Status CheckVersion(int version, std::string_view what);

// RFC 3339; an absent field leaves *out as it was.
Status GetTime(const JsonReader& reader, std::string_view field, absl::Time* out);

// The field `field` read by FromJson, a function Json -> StatusOr<T>; absent leaves *out as it was.
template <typename T, typename FromJson>
Status GetStruct(const JsonReader& reader, std::string_view field, FromJson from_json, T* out) {
  const Json* value = reader.Find(field);
  if (!value) return {};
  auto parsed = from_json(*value);
  if (!parsed.ok()) return Annotate(parsed.status(), field);
  *out = *std::move(parsed);
  return {};
}

// The same for an array of such; absent leaves *out empty.
template <typename T, typename FromJson>
Status GetStructs(const JsonReader& reader, std::string_view field, FromJson from_json, std::vector<T>* out) {
  const Json* values = reader.Find(field);
  if (!values) return {};
  if (!values->is_array()) return InvalidArgument(std::string(field) + ": want an array");
  for (const Json& value : *values) {
    auto parsed = from_json(value);
    if (!parsed.ok()) return Annotate(parsed.status(), field);
    out->push_back(*std::move(parsed));
  }
  return {};
}

// kInvalidArgument unless `text` is an absolute path without "..", or, with `empty_ok`, empty.
Status CheckAbsolutePath(std::string_view text, std::string_view field, bool empty_ok = false);

}  // namespace stasis::protocol
