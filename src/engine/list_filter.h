// The filters of GET /containers/json.
#pragma once

#include <functional>
#include <string>

#include "backend/containers.h"
#include "base/status.h"
#include "engine/record.h"

namespace stasis::engine {

// kInvalidArgument "invalid filter 'NAME'", also for a status, an exit code or a health that cannot be.
Status CheckListFilters(const backend::Filters& filters);

// What a filter needs to know beyond the container itself.
struct FilterContext {
  // When the container that a `before` or `since` value names was created; InfinitePast: there is none.
  std::function<absl::Time(const std::string& container)> created;
};

// Whether the filters choose this container.
bool Matches(const ContainerRecord& record, const backend::Filters& filters, const FilterContext& context);

// Whether the filters alone make ended containers visible without `all`: those by status and exit code.
bool FiltersWantAll(const backend::Filters& filters);

}  // namespace stasis::engine
