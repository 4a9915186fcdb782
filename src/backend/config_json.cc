#include "backend/config_json.h"

namespace stasis::backend {
namespace {

bool IsOfType(const Json& value, KeptField::Type type) {
  switch (type) {
    case KeptField::Type::kText:
      return value.is_string();
    case KeptField::Type::kNumber:
      return value.is_number_integer();
    case KeptField::Type::kFlag:
      return value.is_boolean();
    case KeptField::Type::kList:
      return value.is_array();
    case KeptField::Type::kObject:
      return value.is_object();
  }
  return false;
}

std::string_view NameOf(KeptField::Type type) {
  switch (type) {
    case KeptField::Type::kText:
      return "a string";
    case KeptField::Type::kNumber:
      return "an integer";
    case KeptField::Type::kFlag:
      return "a boolean";
    case KeptField::Type::kList:
      return "a list";
    case KeptField::Type::kObject:
      return "an object";
  }
  return "";
}

}  // namespace

// Types nlohmann calls by other names than the API's.
Status WrongType(std::string_view field, std::string_view want, const Json& got) {
  return InvalidArgument(std::string(field) + ": want " + std::string(want) + ", got " + got.type_name());
}

void GetStringMap(const JsonReader& reader, std::string_view field, std::map<std::string, std::string>* out,
                  Unread& unread) {
  const Json* value = reader.Find(field);
  if (!value) return;
  if (!value->is_object()) return unread.Add(WrongType(field, "an object of strings", *value));
  std::map<std::string, std::string> map;
  for (const auto& [key, item] : value->items()) {
    if (item.is_string()) {
      map[key] = item.get<std::string>();
    } else {
      unread.Add(WrongType(std::string(field) + "." + key, "a string", item));
    }
  }
  *out = std::move(map);
}

void GetKeys(const JsonReader& reader, std::string_view field, std::vector<std::string>* out,
             Unread& unread) {
  const Json* value = reader.Find(field);
  if (!value) return;
  if (!value->is_object()) return unread.Add(WrongType(field, "an object", *value));
  std::vector<std::string> keys;
  for (const auto& [key, item] : value->items()) keys.push_back(key);
  *out = std::move(keys);
}

Json ListOrNull(const std::vector<std::string>& list) { return list.empty() ? Json() : Json(list); }

Json KeysToJson(const std::vector<std::string>& keys) {
  Json json = Json::object();
  for (const std::string& key : keys) json[key] = Json::object();
  return json;
}

void ReadKept(const JsonReader& reader, const std::vector<KeptField>& fields, Json* kept, Unread& unread) {
  for (const KeptField& field : fields) {
    const Json* value = reader.Find(field.name);
    if (!value) continue;
    if (IsOfType(*value, field.type)) {
      (*kept)[field.name] = *value;
    } else {
      unread.Add(WrongType(field.name, NameOf(field.type), *value));
    }
  }
}

void WriteKept(const Json& kept, const std::vector<KeptField>& fields, Json* json) {
  for (const KeptField& field : fields) {
    if (const auto sent = kept.find(field.name); sent != kept.end()) {
      (*json)[field.name] = *sent;
    } else if (field.absent) {
      (*json)[field.name] = *field.absent;
    }
  }
}

}  // namespace stasis::backend
