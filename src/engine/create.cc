// A container comes into being: checked, merged with its image, given a name, a layer and a record.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "backend/unsupported_fields.h"
#include "base/log.h"
#include "engine/config_merge.h"
#include "engine/engine.h"
#include "engine/mount_request.h"
#include "engine/random_name.h"
#include "engine/settle_config.h"
#include "engine/validate.h"
#include "linux/files.h"
#include "linux/random_hex.h"

namespace stasis::engine {
namespace {

constexpr int kNameAttempts = 20;
constexpr size_t kShortId = 12;

// One of another platform than was asked for counts as not there; nobody having asked, it is used.
StatusOr<std::vector<std::string>> CheckPlatform(const backend::CreateRequest& request,
                                                 const image::Image& image) {
  std::vector<std::string> warnings;
  const std::string has = oci::FormatPlatform(image.platform);
  if (!request.platform.empty()) {
    STASIS_ASSIGN_OR_RETURN(const oci::Platform wanted, oci::ParsePlatform(request.platform));
    if (!oci::Satisfies(image.platform, wanted)) {
      return NotFound("image with reference " + request.config.image + " was found but its platform (" + has +
                      ") does not match the specified platform (" + oci::FormatPlatform(wanted) + ")");
    }
    return warnings;
  }
  const oci::Platform host = oci::NativePlatform();
  // What variant this machine is, nobody here knows.
  if (!oci::Satisfies({image.platform.os, image.platform.architecture, ""}, host)) {
    warnings.push_back("The requested image's platform (" + has +
                       ") does not match the detected host platform (" + oci::FormatPlatform(host) +
                       ") and no specific platform was requested");
  }
  return warnings;
}

// mount_setattr(2) can make a mount read-only with all that is mounted below it.
bool HasMountSetattr(const oci::HostLimits& limits) {
  return std::pair(limits.kernel_major, limits.kernel_minor) >= std::pair(5, 12);
}

// The user's own volumes; what an image declares lies in the container's layer. A path that is also a mount's
// destination is no volume: Compose 1.29 names those of its binds here, too.
Status CheckVolumes(const std::vector<std::string>& volumes, const std::vector<ContainerMount>& mounts) {
  for (const std::string& volume : volumes) {
    const bool mounted = std::any_of(mounts.begin(), mounts.end(), [&](const ContainerMount& mount) {
      return mount.destination == CleanPath(volume);
    });
    if (!mounted) return Unimplemented("Volumes is not implemented by Stasis yet: " + Printable(volume));
  }
  return {};
}

}  // namespace

StatusOr<backend::CreateResult> Engine::Create(const backend::CreateRequest& request) {
  std::string wanted = request.name;
  if (!wanted.empty() && wanted[0] == '/') wanted.erase(0, 1);
  if (!wanted.empty()) {
    STASIS_RETURN_IF_ERROR(ContainerName::Parse(wanted).status());
  }
  if (request.config.image.empty()) {
    STASIS_RETURN_IF_ERROR(CommandOf(request.config).status());
    return InvalidArgument("no image specified");
  }
  STASIS_RETURN_IF_ERROR(ValidateNetwork(request));
  STASIS_ASSIGN_OR_RETURN(const image::Image image, images_->Find(request.config.image));
  if (!image.damage.empty())
    return FailedPrecondition("image " + request.config.image + " is damaged (" + image.damage +
                              "): load it again");
  backend::CreateResult result;
  STASIS_ASSIGN_OR_RETURN(result.warnings, CheckPlatform(request, image));
  STASIS_ASSIGN_OR_RETURN(ContainerRecord record, PlanContainer(request, image, wanted, &result.warnings));
  STASIS_ASSIGN_OR_RETURN(record.name, ReserveAName(wanted, record.id));

  // The directory first: a crash leaves a container without a root, which its start makes, and never a root
  // that belongs to nobody.
  Status status = directories_.Create(record);
  if (status.ok()) status = images_->CreateRoot(record.id, image);
  const backend::EventMessage event = ContainerEvent(record, "create", {});
  if (status.ok()) status = store_->Commit({.save = &record, .events = {event}, .supervisor_seen = {}});
  if (!status.ok()) {
    // What cannot be removed now is removed by the next start, because it is marked.
    directories_.MarkRemoved(record.id).IgnoreError();
    if (images_->RemoveRoot(record.id).ok()) directories_.ForgetRemoved(record.id).IgnoreError();
    containers_.ReleaseName(record.name);
    return status;
  }
  result.id = record.id.str();
  containers_.Insert(std::make_shared<Container>(std::move(record)));
  events_.Publish(event);
  return result;
}

StatusOr<ContainerRecord> Engine::PlanContainer(const backend::CreateRequest& request,
                                                const image::Image& image, const std::string& name,
                                                std::vector<std::string>* warnings) const {
  STASIS_ASSIGN_OR_RETURN(ContainerId id, ContainerId::Parse(RandomHex(32)));
  ContainerRecord record{.id = std::move(id),
                         .name = name,
                         .created = absl::Now(),
                         .image_id = image.id.str(),
                         .config = request.config,
                         .host_config = request.host_config};
  const Json none = Json::object();
  const Json& image_config = image.config->contains("config") ? (*image.config)["config"] : none;
  MergeImageConfig(image_config, &record.config);
  STASIS_ASSIGN_OR_RETURN(record.argv, CommandOf(record.config));
  STASIS_RETURN_IF_ERROR(ValidateContainer(record.config, record.host_config, host_));
  const MountRules rules = RulesOfMounts();
  STASIS_ASSIGN_OR_RETURN(record.mounts, SettleMounts(record.host_config, rules));
  STASIS_RETURN_IF_ERROR(CheckVolumes(request.config.volumes, record.mounts));
  const std::vector<std::string> settled = SettleConfig(host_, &record);
  warnings->insert(warnings->end(), settled.begin(), settled.end());
  const std::vector<std::string> ignored = backend::IgnoredOfImage(image_config, request.config.kept);
  warnings->insert(warnings->end(), ignored.begin(), ignored.end());
  const std::vector<std::string> obstacles = CheckpointObstacles(record.mounts, rules);
  warnings->insert(warnings->end(), obstacles.begin(), obstacles.end());
  return record;
}

MountRules Engine::RulesOfMounts() const {
  const auto real = [](const std::string& path) { return RealPath(path).value_or(path); };
  return {.recursive_read_only = HasMountSetattr(host_.limits),
          .engine_root = real(options_.paths.root),
          .container_roots = real(options_.paths.ContainerRoots()),
          .network_namespaces = real(options_.paths.NetworkNamespaces())};
}

StatusOr<std::string> Engine::ReserveAName(const std::string& wanted, const ContainerId& id) {
  if (!wanted.empty()) {
    STASIS_RETURN_IF_ERROR(containers_.ReserveName(wanted, id));
    return wanted;
  }
  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    std::string name = MadeUpName(RandomNumber(), attempt);
    if (containers_.ReserveName(name, id).ok()) return name;
  }
  std::string name = id.str().substr(0, kShortId);
  STASIS_RETURN_IF_ERROR(containers_.ReserveName(name, id));
  return name;
}

}  // namespace stasis::engine
