// Parts of ContainerConfig's and HostConfig's JSON that JsonReader does not read by itself, and the way back.
// A field that is absent or null leaves *out as it was; one that cannot be read does, too, and is told.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace stasis::backend {

// "FIELD: want an object, got number".
Status WrongType(std::string_view field, std::string_view want, const Json& got);

// What could not be read. A request is refused for the first of them; a record is taken without them.
class Unread {
 public:
  explicit Unread(std::vector<Status>* out) : out_(*out) {}
  void Add(const Status& status) {
    if (!status.ok()) out_.push_back(status);
  }

 private:
  std::vector<Status>& out_;
};

void GetStringMap(const JsonReader& reader, std::string_view field, std::map<std::string, std::string>* out,
                  Unread& unread);
// The keys of an object: the API writes sets as objects with empty values.
void GetKeys(const JsonReader& reader, std::string_view field, std::vector<std::string>* out, Unread& unread);

// `name`: of the object, for messages.
template <typename T>
void GetOptional(const Json& object, std::string_view name, std::string_view field, std::optional<T>* out,
                 Unread& unread) {
  JsonReader reader(object, name);
  if (!reader.Find(field)) return;
  T value{};
  reader.Get(field, &value);
  if (!reader.status().ok()) return unread.Add(reader.status());
  *out = value;
}

// Calls `parse` with each element of a list of objects.
template <typename T>
void GetList(const JsonReader& reader, std::string_view field, T (*parse)(const Json&, Unread&),
             std::vector<T>* out, Unread& unread) {
  const Json* value = reader.Find(field);
  if (!value) return;
  if (!value->is_array()) return unread.Add(WrongType(field, "a list", *value));
  std::vector<T> items;
  for (const Json& item : *value) items.push_back(parse(item, unread));
  *out = std::move(items);
}

// A list, or null where it is empty: what Go makes of a nil slice.
Json ListOrNull(const std::vector<std::string>& list);
Json KeysToJson(const std::vector<std::string>& keys);
template <typename T>
Json OptionalToJson(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

// A field that decides nothing here and is kept as it was sent, so that inspect shows it.
struct KeptField {
  const char* name;
  enum class Type { kText, kNumber, kFlag, kList, kObject } type;
  std::optional<Json> absent = std::nullopt;  // what is shown where none was sent; nothing: no field
};
void ReadKept(const JsonReader& reader, const std::vector<KeptField>& fields, Json* kept, Unread& unread);
void WriteKept(const Json& kept, const std::vector<KeptField>& fields, Json* json);

}  // namespace stasis::backend
