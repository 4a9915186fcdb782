// Containers in the shapes of the Engine API.
#pragma once

#include "backend/containers.h"
#include "base/json.h"

namespace stasis::api {

Json SummaryToJson(const backend::ContainerSummary& summary);  // definition ContainerSummary
Json DetailsToJson(const backend::ContainerDetails& details);  // the answer of ContainerInspect

}  // namespace stasis::api
