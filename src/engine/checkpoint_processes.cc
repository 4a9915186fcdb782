// What a checkpoint's images tell of its processes. They are read from the store when somebody asks, so that
// a manifest need not grow with them, and checkpoints of before can be asked, too.
#include <cstdio>
#include <unordered_map>

#include "criu/process_images.h"
#include "engine/engine.h"
#include "manifest/checkpoint_content.h"
#include "store/stream_reader.h"

namespace stasis::engine {
namespace {

// Of one answer, so that nobody has to hold more; what is beyond is counted.
constexpr size_t kMaxListed = 1 << 18;

std::string Hex(uint64_t address) {
  char text[17];
  std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(address));
  return text;
}

Json ToJson(const criu::SavedMapping& mapping) {
  return {{"start", Hex(mapping.start)}, {"end", Hex(mapping.end)}, {"protection", mapping.protection},
          {"kind", mapping.kind},        {"name", mapping.name},    {"saved_bytes", mapping.saved_bytes}};
}

Json FileJson(const criu::SavedDescriptor& descriptor) {
  const criu::OpenFile& file = descriptor.file;
  return {{"fd", descriptor.fd},
          {"kind", file.kind},
          {"name", file.name},
          {"access", file.access},
          {"position", file.position}};
}

Json SocketJson(const criu::SavedDescriptor& descriptor) {
  const criu::OpenFile& socket = descriptor.file;
  return {{"fd", descriptor.fd},         {"family", socket.family}, {"type", socket.type},
          {"protocol", socket.protocol}, {"state", socket.state},   {"local", socket.local},
          {"remote", socket.remote}};
}

class Listing {
 public:
  explicit Listing(const backend::ProcessInspection& request) : request_(request) {}

  StatusOr<Json> Describe(criu::ProcessImages& images, const criu::SavedProcess& process) {
    Json json = {{"pid", process.pid},
                 {"parent", process.parent},
                 {"name", process.name},
                 {"state", process.state},
                 {"threads", process.threads}};
    STASIS_ASSIGN_OR_RETURN(const auto places, images.PlacesOf(process));
    json["executable"] = places.executable;
    json["working_directory"] = places.working_directory;
    json["root_directory"] = places.root_directory;
    if (request_.files || request_.sockets) {
      STASIS_RETURN_IF_ERROR(AddDescriptors(images, process, &json));
    }
    if (request_.memory) {
      STASIS_RETURN_IF_ERROR(AddMemory(images, process, &json));
    }
    return json;
  }

 private:
  // Counts what finds no place any more.
  static void Add(Json entry, size_t* listed, Json* list, uint64_t* left_out) {
    if (*listed == kMaxListed) {
      ++*left_out;
      return;
    }
    ++*listed;
    list->push_back(std::move(entry));
  }

  Status AddDescriptors(const criu::ProcessImages& images, const criu::SavedProcess& process, Json* json) {
    STASIS_ASSIGN_OR_RETURN(const auto descriptors, images.Descriptors(process));
    Json files = Json::array(), sockets = Json::array();
    uint64_t left_out = 0;
    for (const criu::SavedDescriptor& descriptor : descriptors) {
      if (descriptor.file.kind == "socket") {
        if (request_.sockets) Add(SocketJson(descriptor), &descriptors_, &sockets, &left_out);
      } else if (request_.files) {
        Add(FileJson(descriptor), &descriptors_, &files, &left_out);
      }
    }
    if (request_.files) (*json)["files"] = std::move(files);
    if (request_.sockets) (*json)["sockets"] = std::move(sockets);
    if (left_out > 0) (*json)["descriptors_left_out"] = left_out;
    return absl::OkStatus();
  }

  Status AddMemory(criu::ProcessImages& images, const criu::SavedProcess& process, Json* json) {
    STASIS_ASSIGN_OR_RETURN(const criu::SavedMemory memory, images.Memory(process));
    (*json)["memory"] = {{"mapped_bytes", memory.mapped_bytes},
                         {"saved_bytes", memory.saved_bytes},
                         {"shared_bytes", memory.shared_bytes}};
    Json mappings = Json::array();
    uint64_t left_out = 0;
    for (const criu::SavedMapping& mapping : memory.mappings)
      Add(ToJson(mapping), &mappings_, &mappings, &left_out);
    (*json)["mappings"] = std::move(mappings);
    if (left_out > 0) (*json)["mappings_left_out"] = left_out;
    return absl::OkStatus();
  }

  const backend::ProcessInspection& request_;
  size_t descriptors_ = 0;
  size_t mappings_ = 0;
};

}  // namespace

Status Engine::InspectProcesses(const std::string& container_name, const std::string& raw_name,
                                const backend::ProcessInspection& request, const OnProcess& on_process,
                                std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(raw_name));
  STASIS_ASSIGN_OR_RETURN(const CheckpointPlace place, FindPlace(container_name, name, request.directory));
  STASIS_ASSIGN_OR_RETURN(const Manifest manifest, FindCheckpoint(place, name));
  const std::string what = "checkpoint " + name.str();
  if (manifest.files.empty()) return FailedPrecondition(what + " holds files and no processes");
  const auto finder = OpenStore(place.store);
  if (!finder.ok()) return Annotate(finder.status(), what);
  std::unordered_map<std::string, store::StreamId> files;
  for (const ManifestFile& file : manifest.files) files.emplace(file.name, file.content);
  const criu::ReadImage read = [&](const std::string& image, size_t limit) -> StatusOr<std::string> {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    const auto file = files.find(image);
    if (file == files.end()) return NotFound("it has no " + image);
    if (file->second.size > limit)
      return MakeError(StatusCode::kResourceExhausted, image + " is too large to show");
    auto bytes = store::ReadShortStream(finder->get(), file->second, limit);
    if (!bytes.ok()) return Annotate(bytes.status(), image);
    return bytes;
  };

  auto images = criu::ProcessImages::Read(read);
  if (absl::IsNotFound(images.status())) return DataLoss(what + ": " + Message(images.status()));
  if (!images.ok()) return Annotate(images.status(), what);
  Listing listing(request);
  bool found = request.pid == 0;
  for (const criu::SavedProcess& process : images->processes()) {
    if (request.pid != 0 && process.pid != request.pid) continue;
    found = true;
    const StatusOr<Json> described = listing.Describe(*images, process);
    if (!described.ok()) return Annotate(described.status(), what);
    STASIS_RETURN_IF_ERROR(on_process(*described));
  }
  if (found) return absl::OkStatus();
  return NotFound(what + " has no process " + std::to_string(request.pid));
}

}  // namespace stasis::engine
