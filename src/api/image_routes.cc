#include "api/routes.h"
#include "backend/images.h"
#include "base/time.h"

namespace stasis::api {
namespace {

using backend::ImageBackend;

// A body of one JSON document a line. It begins with the first line, so what fails before is an answer with a
// code of its own; what fails later is told in the stream.
class JsonLines {
 public:
  explicit JsonLines(Response& response) : response_(response) {}

  Status Send(const Json& line) {
    if (!response_.started()) {
      STASIS_RETURN_IF_ERROR(response_.StartStream(200, "application/json"));
    }
    return response_.Write(DumpJson(line) + "\r\n");
  }

  Status End(const Status& outcome) {
    if (!response_.started()) return outcome.ok() ? response_.StartStream(200, "application/json") : outcome;
    if (outcome.ok()) return outcome;
    std::string message = Message(outcome);
    return Send({{"errorDetail", {{"message", message}}}, {"error", message}});
  }

 private:
  Response& response_;
};

Status Load(ImageBackend& backend, Request& request, Response& response) {
  JsonLines lines(response);
  auto on_message = [&](const std::string& line) { lines.Send({{"stream", line + "\n"}}).IgnoreError(); };
  return lines.End(backend.LoadImages(request.body, on_message, request.cancel));
}

std::string ReferenceOf(const Query& query) {
  std::string repository = query.Text("repo");
  std::string tag = query.Text("tag");
  if (repository.empty() || tag.empty()) return repository;
  return repository + (tag.find(':') == tag.npos ? ":" : "@") + tag;
}

Status Import(ImageBackend& backend, Request& request, Response& response) {
  std::string pulled = request.query.Text("fromImage");
  if (!pulled.empty()) {
    return Unimplemented("pulling images is not implemented by Stasis yet (POST /images/create?fromImage=" +
                         pulled + "): use docker load or docker import");
  }
  std::string source = request.query.Text("fromSrc");
  if (source.empty()) return InvalidArgument("POST /images/create wants the parameter fromSrc or fromImage");
  if (source != "-") {
    return Unimplemented("importing from a URL is not implemented by Stasis yet (fromSrc=" + source +
                         "): send the archive as the body, fromSrc=-");
  }
  const backend::ImageImport import = {ReferenceOf(request.query), request.query.Text("message"),
                                       request.query.All("changes"), request.query.Text("platform")};
  STASIS_ASSIGN_OR_RETURN(const std::string id, backend.ImportImage(request.body, import, request.cancel));
  return JsonLines(response).Send({{"status", id}});
}

// From these minor versions on the API has the field no more, or has it otherwise.
constexpr int kNoFilter = 41;
constexpr int kNoNoneTags = 43;
constexpr int kNoVirtualSize = 44;
constexpr int kNoContainerConfig = 45;

Status List(ImageBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::Filters filters, backend::FiltersFromJson(request.query.Text("filters")));
  const std::string old_filter = request.query.Text("filter");
  if (request.minor_version < kNoFilter && !old_filter.empty()) filters["reference"].push_back(old_filter);
  STASIS_ASSIGN_OR_RETURN(std::vector<backend::ImageSummary> images,
                          backend.ListImages(request.query.Flag("all"), filters));
  Json list = Json::array();
  for (const backend::ImageSummary& image : images) {
    list.push_back({{"Id", image.id},
                    {"ParentId", ""},
                    {"RepoTags", image.tags},
                    {"RepoDigests", Json::array()},
                    {"Created", image.created},
                    {"Size", image.size},
                    {"SharedSize", -1},
                    {"Labels", image.labels},
                    {"Containers", image.containers}});
    if (request.minor_version < kNoVirtualSize) list.back()["VirtualSize"] = image.size;
    if (request.minor_version < kNoNoneTags && image.tags.empty()) {
      list.back()["RepoTags"] = {"<none>:<none>"};
      list.back()["RepoDigests"] = {"<none>@<none>"};
    }
  }
  return response.Json(200, list);
}

Status Inspect(ImageBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::ImageDetails image, backend.InspectImage(request.Value("name")));
  Json json = {{"Id", image.id},
               {"RepoTags", image.tags},
               {"RepoDigests", Json::array()},
               {"Parent", ""},
               {"Comment", image.comment},
               {"Created", ToRfc3339(image.created)},
               {"DockerVersion", ""},
               {"Author", image.author},
               {"Config", image.config},
               {"Architecture", image.architecture},
               {"Os", image.os},
               {"Size", image.size},
               {"GraphDriver", {{"Name", "overlay2"}, {"Data", Json::object()}}},
               {"RootFS", {{"Type", "layers"}, {"Layers", image.layers}}},
               {"Metadata", {{"LastTagTime", ToRfc3339(absl::InfinitePast())}}}};
  if (!image.variant.empty()) json["Variant"] = image.variant;
  if (request.minor_version < kNoVirtualSize) json["VirtualSize"] = image.size;
  if (request.minor_version < kNoContainerConfig) {
    // Compose 1 cannot make a container anew without it.
    json["ContainerConfig"] = image.container_config;
    json["Container"] = "";
  }
  return response.Json(200, json);
}

Status Remove(ImageBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::ImageRemoval removal,
                          backend.RemoveImage(request.Value("name"), request.query.Flag("force")));
  Json list = Json::array();
  for (const std::string& reference : removal.untagged) list.push_back({{"Untagged", reference}});
  for (const std::string& id : removal.deleted) list.push_back({{"Deleted", id}});
  return response.Json(200, list);
}

Status Tag(ImageBackend& backend, Request& request, Response& response) {
  STASIS_RETURN_IF_ERROR(backend.TagImage(request.Value("name"), ReferenceOf(request.query)));
  return response.Empty(201);
}

}  // namespace

std::vector<Route> ImageRoutes(ImageBackend* backend) {
  auto with = [backend](Status (*handle)(ImageBackend&, Request&, Response&)) -> Handler {
    return [backend, handle](Request& request, Response& response) {
      return handle(*backend, request, response);
    };
  };
  return {
      {"GET", "/images/json", with(List), "List images", "images"},
      {"POST", "/images/load", with(Load), "Load images from a docker-archive or an OCI layout", "images",
       Lifetime::kStream},
      {"POST", "/images/create", with(Import), "Import a root file system as an image", "images",
       Lifetime::kStream},
      {"GET", "/images/{name...}/json", with(Inspect), "Inspect an image", "images"},
      {"POST", "/images/{name...}/tag", with(Tag), "Give an image another name", "images"},
      {"DELETE", "/images/{name...}", with(Remove), "Remove an image or a name of it", "images"},
  };
}

}  // namespace stasis::api
