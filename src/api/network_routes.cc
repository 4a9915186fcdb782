// The three networks that every engine has by name. Clients ask for them before they do anything else.
#include <algorithm>
#include <array>

#include "api/http_error.h"
#include "api/routes.h"
#include "backend/containers.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/time.h"

namespace stasis::api {
namespace {

using backend::ContainerBackend;

struct Network {
  std::string_view name;
  std::string_view driver;
};

// A container in "bridge" has only a loopback interface until bridges come, and that is what the driver
// "null" means: a client that looks for an address or a gateway here has to find none.
constexpr std::array<Network, 3> kNetworks = {{{"bridge", "null"}, {"host", "host"}, {"none", "null"}}};

// Docker's are random numbers that stay; ours only have to stay.
std::string IdOf(const Network& network) {
  const std::string digest = Sha256Of("stasis network " + std::string(network.name)).str();
  return digest.substr(digest.find(':') + 1);
}

Json ToJson(const Network& network) {
  return {{"Name", network.name},
          {"Id", IdOf(network)},
          {"Created", ToRfc3339(absl::InfinitePast())},
          {"Scope", "local"},
          {"Driver", network.driver},
          {"EnableIPv6", false},
          {"IPAM", {{"Driver", "default"}, {"Options", Json()}, {"Config", Json::array()}}},
          {"Internal", false},
          {"Attachable", false},
          {"Ingress", false},
          {"ConfigFrom", {{"Network", ""}}},
          {"ConfigOnly", false},
          {"Containers", Json::object()},
          {"Options", Json::object()},
          {"Labels", Json::object()}};
}

StatusOr<bool> MatchesOne(const Network& network, const std::string& filter, const std::string& value) {
  if (filter == "name") return network.name.find(value) != std::string_view::npos;
  if (filter == "id") return IdOf(network).find(value) != std::string::npos;
  if (filter == "driver") return network.driver == value;
  if (filter == "scope") return value == "local";
  if (filter == "label") return false;  // they have none
  if (filter == "type") {
    if (value != "builtin" && value != "custom") {
      return InvalidArgument("invalid filter: 'type'='" + value + "'");
    }
    return value == "builtin";
  }
  if (filter == "dangling") return value == "false" || value == "0";  // those of the engine never are
  return InvalidArgument("invalid filter '" + filter + "'");
}

StatusOr<bool> Matches(const Network& network, const backend::Filters& filters) {
  for (const auto& [filter, values] : filters) {
    bool match = values.empty();
    for (const std::string& value : values) {
      STASIS_ASSIGN_OR_RETURN(const bool matches, MatchesOne(network, filter, value));
      match = match || matches;
    }
    if (!match) return false;
  }
  return true;
}

Status List(ContainerBackend&, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::Filters filters, backend::FiltersFromJson(request.query.Text("filters")));
  Json list = Json::array();
  for (const Network& network : kNetworks) {
    STASIS_ASSIGN_OR_RETURN(const bool matches, Matches(network, filters));
    if (matches) list.push_back(ToJson(network));
  }
  return response.Json(200, list);
}

// By its name, its id, or the beginning of its id.
StatusOr<Network> Find(const std::string& text) {
  for (const Network& network : kNetworks) {
    if (network.name == text) return network;
  }
  for (const Network& network : kNetworks) {
    if (IdOf(network).starts_with(text)) return network;
  }
  return NotFound("network " + Printable(text) + " not found");
}

Status Inspect(ContainerBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(const Network network, Find(request.Value("id")));
  Json json = ToJson(network);
  backend::ListOptions running;
  running.filters["network"] = {std::string(network.name)};
  STASIS_ASSIGN_OR_RETURN(std::vector<backend::ContainerSummary> containers, backend.List(running));
  for (const backend::ContainerSummary& container : containers) {
    json["Containers"][container.id] = {{"Name", container.names.empty() ? "" : container.names[0].substr(1)},
                                        {"EndpointID", ""},
                                        {"MacAddress", ""},
                                        {"IPv4Address", ""},
                                        {"IPv6Address", ""}};
  }
  return response.Json(200, json);
}

Status Remove(ContainerBackend&, Request& request, Response&) {
  STASIS_ASSIGN_OR_RETURN(const Network network, Find(request.Value("id")));
  return HttpError(403, std::string(network.name) + " is a pre-defined network and cannot be removed");
}

}  // namespace

std::vector<Route> NetworkRoutes(ContainerBackend* backend) {
  auto with = [backend](Status (*handle)(ContainerBackend&, Request&, Response&)) -> Handler {
    return [backend, handle](Request& request, Response& response) {
      return handle(*backend, request, response);
    };
  };
  return {
      {"GET", "/networks", with(List), "List the networks that there are by name", "networks"},
      {"GET", "/networks/", with(List), "List the networks that there are by name", "networks"},
      {"GET", "/networks/{id}", with(Inspect), "Inspect a network", "networks"},
      {"DELETE", "/networks/{id}", with(Remove), "Refused: those that there are stay", "networks"},
  };
}

}  // namespace stasis::api
