// nlohmann-json without its exceptions: parsing and typed reading of fields return Status.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "nlohmann/json.hpp"

namespace stasis {

using Json = nlohmann::json;

// Parses one JSON document. kInvalidArgument when it is malformed, nested deeper than 64 levels, or has
// something behind it.
StatusOr<Json> ParseJson(std::string_view text);

// Text in UTF-8; bytes that are not UTF-8 become U+FFFD, so it never throws.
std::string DumpJson(const Json& value);

// Reads fields of one JSON object with their types checked. A field that is absent or null leaves *out as
// it was. A field of another type makes the reader an error, "FIELD: want a string, got a number", which the
// caller looks at once, at the end:
//
//   JsonReader reader(body, "HostConfig");
//   reader.Get("Memory", &memory);
//   reader.Get("Binds", &binds);
//   STASIS_RETURN_IF_ERROR(reader.status());
//
// Keeps a reference to `object`.
class JsonReader {
 public:
  explicit JsonReader(const Json& object, std::string_view name = "");

  void Get(std::string_view field, std::string* out);
  void Get(std::string_view field, bool* out);
  void Get(std::string_view field, int64_t* out);
  void Get(std::string_view field, int* out);
  void Get(std::string_view field, uint64_t* out);
  void Get(std::string_view field, uint32_t* out);
  void Get(std::string_view field, std::vector<std::string>* out);
  // The field itself, or null where it is absent. Valid as long as the object.
  const Json* Find(std::string_view field) const;

  const Status& status() const { return status_; }

 private:
  template <typename T>
  void GetInteger(std::string_view field, T* out);
  void Fail(std::string_view field, std::string_view want, const Json& got);

  const Json& object_;
  std::string name_;
  Status status_;
};

}  // namespace stasis
