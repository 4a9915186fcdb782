#include "checkpoint/container_files.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "linux/files.h"
#include "linux/memory_mapping.h"
#include "manifest/checkpoint_content.h"

namespace stasis::checkpoint {
namespace {

// Files that processes have mapped shared, as they see their paths, without the first "/". All in the cgroup:
// what an exec has mapped changes too.
std::set<std::string> SharedMappings(const Cgroup& cgroup) {
  std::set<std::string> paths;
  for (const pid_t pid : cgroup.Processes().value_or(std::vector<pid_t>())) {
    const auto mappings = ReadMemoryMappings(pid);
    if (!mappings.ok()) continue;  // it has ended
    for (const MemoryMapping& mapping : *mappings) {
      if (mapping.shared && mapping.name.starts_with('/')) paths.insert(mapping.name.substr(1));
    }
  }
  return paths;
}

}  // namespace

StatusOr<ContainerFiles> ContainerFiles::Open(const protocol::CheckpointPlan& plan, const Cgroup& cgroup,
                                              store::Writer* writer, layer::Capture::OnBytes on_bytes) {
  const protocol::CheckpointRequest& request = plan.request;
  STASIS_ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectory(request.layer));
  auto capture = std::make_unique<layer::Capture>(std::move(directory), writer, std::move(on_bytes),
                                                  [&cgroup] { return SharedMappings(cgroup); });
  STASIS_ASSIGN_OR_RETURN(std::vector<layer::Entry> earlier,
                          LatestLayer(request.directory, request.store, plan.container_id));
  STASIS_RETURN_IF_ERROR(capture->StartFrom(std::move(earlier)));
  return ContainerFiles(std::move(capture), writer);
}

Status ContainerFiles::Read(const std::stop_token& cancel) { return capture_->Read(cancel); }

Status ContainerFiles::Finish(const std::stop_token& cancel) { return capture_->Finish(cancel); }

Status ContainerFiles::Save(Manifest* manifest) {
  STASIS_RETURN_IF_ERROR(writer_->Append(layer::ToText(capture_->entries())));
  STASIS_ASSIGN_OR_RETURN(manifest->layer, writer_->EndStream());
  manifest->layer_files = capture_->entries().size();
  manifest->layer_bytes = capture_->bytes();
  return absl::OkStatus();
}

}  // namespace stasis::checkpoint
