#include "base/json.h"

#include <limits>
#include <utility>

#include "base/json_error.h"

namespace stasis {
namespace {

constexpr int kMaxDepth = 64;

// Whether brackets open deeper than kMaxDepth anywhere. Looked at before parsing: nlohmann's own callback,
// which could stop it, makes arrays of objects cost the square of their length.
bool TooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

StatusOr<Json> ParseJson(std::string_view text) {
  if (TooDeep(text)) return InvalidArgument("JSON nested too deep");
  Json value = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    const std::string why = DescribeJsonError(text);
    return InvalidArgument(why.empty() ? "malformed JSON" : why);
  }
  return value;
}

std::string DumpJson(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

JsonReader::JsonReader(const Json& object, std::string_view name) : object_(object), name_(name) {
  if (!object.is_object() && !object.is_null()) {
    status_ = InvalidArgument((name_.empty() ? std::string("body") : name_) + ": want an object, got " +
                              object.type_name());
  }
}

const Json* JsonReader::Find(std::string_view field) const {
  if (!object_.is_object()) return nullptr;
  auto found = object_.find(std::string(field));
  if (found == object_.end() || found->is_null()) return nullptr;
  return &*found;
}

void JsonReader::Fail(std::string_view field, std::string_view want, const Json& got) {
  if (!status_.ok()) return;
  std::string where = name_.empty() ? std::string(field) : name_ + "." + std::string(field);
  status_ = InvalidArgument(where + ": want " + std::string(want) + ", got " + got.type_name());
}

void JsonReader::Get(std::string_view field, std::string* out) {
  const Json* value = Find(field);
  if (!value) return;
  if (!value->is_string()) return Fail(field, "a string", *value);
  *out = value->get<std::string>();
}

void JsonReader::Get(std::string_view field, bool* out) {
  const Json* value = Find(field);
  if (!value) return;
  if (!value->is_boolean()) return Fail(field, "a boolean", *value);
  *out = value->get<bool>();
}

template <typename T>
void JsonReader::GetInteger(std::string_view field, T* out) {
  const Json* value = Find(field);
  if (!value) return;
  if (value->is_number_unsigned()) {
    uint64_t number = value->get<uint64_t>();
    if (!std::in_range<T>(number)) return Fail(field, "an integer in range", *value);
    *out = static_cast<T>(number);
  } else if (value->is_number_integer()) {
    int64_t number = value->get<int64_t>();
    if (!std::in_range<T>(number)) return Fail(field, "an integer in range", *value);
    *out = static_cast<T>(number);
  } else {
    Fail(field, "an integer", *value);
  }
}

void JsonReader::Get(std::string_view field, int64_t* out) { GetInteger(field, out); }
void JsonReader::Get(std::string_view field, int* out) { GetInteger(field, out); }
void JsonReader::Get(std::string_view field, uint64_t* out) { GetInteger(field, out); }
void JsonReader::Get(std::string_view field, uint32_t* out) { GetInteger(field, out); }

void JsonReader::Get(std::string_view field, std::vector<std::string>* out) {
  const Json* value = Find(field);
  if (!value) return;
  if (!value->is_array()) return Fail(field, "a list of strings", *value);
  std::vector<std::string> items;
  for (const Json& item : *value) {
    if (!item.is_string()) return Fail(field, "a list of strings", item);
    items.push_back(item.get<std::string>());
  }
  *out = std::move(items);
}

}  // namespace stasis
