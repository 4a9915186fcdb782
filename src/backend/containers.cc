#include "backend/containers.h"

namespace stasis::backend {

StatusOr<Filters> FiltersFromJson(std::string_view text) {
  Filters filters;
  if (text.empty()) return filters;
  StatusOr<Json> json = ParseJson(text);
  if (!json.ok()) return Annotate(json.status(), "invalid filter");
  if (!json->is_object()) return InvalidArgument("invalid filter: want an object");
  for (const auto& [name, values] : json->items()) {
    std::vector<std::string>& list = filters[name];
    if (values.is_array()) {
      for (const Json& value : values) {
        if (!value.is_string())
          return InvalidArgument("invalid filter: " + name + ": want a list of strings");
        list.push_back(value.get<std::string>());
      }
    } else if (values.is_object()) {
      for (const auto& [value, chosen] : values.items()) {
        if (!chosen.is_boolean()) return InvalidArgument("invalid filter: " + name + ": want booleans");
        if (chosen.get<bool>()) list.push_back(value);
      }
    } else {
      return InvalidArgument("invalid filter: " + name + ": want a list of strings");
    }
    // A name with no value asks for nothing.
    if (list.empty()) filters.erase(name);
  }
  return filters;
}

}  // namespace stasis::backend
