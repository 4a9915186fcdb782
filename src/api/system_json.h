// The engine, and what happens in it, in the shapes of the Engine API.
#pragma once

#include "backend/system.h"
#include "base/json.h"

namespace stasis::api {

Json VersionToJson(const backend::VersionInfo& version);                       // definition SystemVersion
Json InfoToJson(const backend::SystemInfo& info, const std::string& version);  // definition SystemInfo
// Definition EventMessage, and the fields of older APIs that clients still read (status, id, from).
Json EventToJson(const backend::EventMessage& event);

}  // namespace stasis::api
