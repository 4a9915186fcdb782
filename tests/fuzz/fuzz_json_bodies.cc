// Bodies of POST /containers/create and the filters of lists: what is accepted must survive its own way back.
#include <cstdlib>

#include "backend/container_config.h"
#include "backend/containers.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)stasis::backend::FiltersFromJson(text);
  auto json = stasis::ParseJson(text);
  if (!json.ok()) return 0;
  if (auto config = stasis::backend::ContainerConfigFromJson(*json); config.ok()) {
    if (!stasis::backend::ContainerConfigFromJson(stasis::backend::ToJson(*config)).ok()) std::abort();
  }
  if (auto host = stasis::backend::HostConfigFromJson(*json); host.ok()) {
    if (!stasis::backend::HostConfigFromJson(stasis::backend::ToJson(*host)).ok()) std::abort();
  }
  return 0;
}
