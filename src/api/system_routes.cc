#include "api/routes.h"
#include "api/system_json.h"
#include "backend/system.h"
#include "base/time.h"

namespace stasis::api {
namespace {

Status Ping(Request&, Response& response) {
  response.SetHeader("Cache-Control", "no-cache, no-store, must-revalidate");
  response.SetHeader("Pragma", "no-cache");
  response.SetHeader("Swarm", "inactive");
  return response.Whole(200, "text/plain; charset=utf-8", "OK");
}

constexpr int kNamedOptionsSince = 25;

Status Info(backend::SystemBackend& backend, const Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::SystemInfo info, backend.Info());
  Json json = InfoToJson(info, backend.Version().version);
  if (request.minor_version < kNamedOptionsSince) json["SecurityOptions"] = {"seccomp"};
  return response.Json(200, json);
}

StatusOr<std::optional<absl::Time>> TimeOf(const Query& query, std::string_view name) {
  std::string text = query.Text(name);
  if (text.empty()) return std::nullopt;
  StatusOr<absl::Time> time = ParseUnixTime(text);
  if (!time.ok()) return Annotate(time.status(), "invalid value for parameter " + std::string(name));
  return *time;
}

Status Events(backend::SystemBackend& backend, Request& request, Response& response) {
  backend::EventQuery query;
  STASIS_ASSIGN_OR_RETURN(query.since, TimeOf(request.query, "since"));
  STASIS_ASSIGN_OR_RETURN(query.until, TimeOf(request.query, "until"));
  STASIS_ASSIGN_OR_RETURN(query.filters, backend::FiltersFromJson(request.query.Text("filters")));
  if (query.since && query.until && *query.since > *query.until) {
    return InvalidArgument("`since` time (" + request.query.Text("since") +
                           ") cannot be after `until` time (" + request.query.Text("until") + ")");
  }
  // At once: clients wait for the header before they make things happen.
  STASIS_RETURN_IF_ERROR(response.StartStream(200, "application/json"));
  return backend.Events(
      query,
      [&](const backend::EventMessage& event) { return response.Write(DumpJson(EventToJson(event)) + "\n"); },
      request.cancel);
}

}  // namespace

std::vector<Route> SystemRoutes(backend::SystemBackend* backend) {
  return {
      {"GET", "/_ping", Ping, "Whether the server answers", "system"},
      {"HEAD", "/_ping", Ping, "Whether the server answers", "system"},
      {"GET", "/version",
       [backend](Request&, Response& response) {
         return response.Json(200, VersionToJson(backend->Version()));
       },
       "Versions of the engine and its parts", "system"},
      {"GET", "/info",
       [backend](Request& request, Response& response) { return Info(*backend, request, response); },
       "What this engine is and has", "system"},
      {"GET", "/events",
       [backend](Request& request, Response& response) { return Events(*backend, request, response); },
       "What happened and happens, one JSON document a line", "system", Lifetime::kStream},
  };
}

}  // namespace stasis::api
