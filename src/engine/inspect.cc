// What is seen of containers: list, inspect, logs, wait, attach, resize.
#include <algorithm>
#include <set>

#include "engine/engine.h"
#include "engine/list_filter.h"
#include "engine/log_attributes.h"
#include "engine/log_reader.h"
#include "engine/mount_request.h"
#include "engine/status_text.h"
#include "linux/apparent_size.h"

namespace stasis::engine {
namespace {

std::vector<backend::MountPoint> MountPoints(const ContainerRecord& record) {
  std::vector<backend::MountPoint> points;
  std::set<std::string> of_tmpfs;  // HostConfig.Tmpfs; Docker lists only those of HostConfig.Mounts
  for (const auto& [path, options] : record.host_config.tmpfs) of_tmpfs.insert(CleanPath(path));
  for (const ContainerMount& mount : record.mounts) {
    if (mount.type == "tmpfs" && of_tmpfs.contains(mount.destination)) continue;
    backend::MountPoint point;
    point.type = mount.type;
    point.source = mount.type == "tmpfs" ? "" : mount.source;
    point.destination = mount.destination;
    point.mode = mount.type == "tmpfs" ? "" : mount.mode;
    point.read_write = mount.read_write;
    point.propagation = mount.propagation;
    points.push_back(std::move(point));
  }
  return points;
}

// Docker calls the default network "bridge"; ours has no bridge yet, and the name tells clients nothing else.
std::string NetworkMode(const ContainerRecord& record) {
  const std::string& mode = record.host_config.network_mode;
  return mode.empty() || mode == "default" ? "bridge" : mode;
}

// Docker's bridge knows which ports a container exposes, while it runs; nothing is published yet.
std::vector<std::string> OpenPorts(const ContainerRecord& record) {
  const bool bridge = NetworkMode(record) == "bridge";
  return bridge && IsAlive(record.state.phase) ? record.config.exposed_ports : std::vector<std::string>();
}

backend::ContainerSummary Summarize(const ContainerRecord& record, absl::Time now) {
  const backend::ContainerState state = ToApi(record.state);
  backend::ContainerSummary summary;
  summary.id = record.id.str();
  summary.names = {"/" + record.name};
  summary.image = record.config.image;
  summary.image_id = record.image_id;
  summary.command = CommandText(record.argv);
  summary.created = absl::ToUnixSeconds(record.created);
  summary.state = state.status;
  summary.status = StatusText(state, now);
  summary.labels = record.config.labels;
  summary.network_mode = NetworkMode(record);
  summary.open_ports = OpenPorts(record);
  summary.mounts = MountPoints(record);
  return summary;
}

struct Sizes {
  std::optional<int64_t> own;
  std::optional<int64_t> whole;
};

Sizes MeasureSizes(const image::ImageStore& images, const ContainerRecord& record) {
  Sizes sizes;
  const StatusOr<uint64_t> own = ApparentSize(images.UpperDirectory(record.id));
  if (own.ok()) sizes.own = static_cast<int64_t>(*own);
  const StatusOr<image::Image> image = images.Find(record.image_id);
  if (image.ok()) sizes.whole = static_cast<int64_t>(image->size) + sizes.own.value_or(0);
  return sizes;
}

}  // namespace

StatusOr<std::vector<backend::ContainerSummary>> Engine::List(const backend::ListOptions& options) {
  STASIS_RETURN_IF_ERROR(CheckListFilters(options.filters));
  std::vector<ContainerRecord> records;
  for (const ContainerRef& container : containers_.All()) records.push_back(container->Record());
  std::sort(records.begin(), records.end(),
            [](const auto& a, const auto& b) { return a.created > b.created; });
  // Names of containers in `before` and `since` are looked up once, and must be there.
  for (const char* filter : {"before", "since"}) {
    const auto values = options.filters.find(filter);
    if (values == options.filters.end()) continue;
    for (const std::string& value : values->second) {
      STASIS_RETURN_IF_ERROR(containers_.Find(value).status());
    }
  }
  const FilterContext context{.created = [&](const std::string& name) {
    const StatusOr<ContainerRef> container = containers_.Find(name);
    return container.ok() ? (*container)->Record().created : absl::InfinitePast();
  }};
  const bool all = options.all || options.limit > 0 || FiltersWantAll(options.filters);
  const absl::Time now = absl::Now();
  std::vector<backend::ContainerSummary> summaries;
  for (const ContainerRecord& record : records) {
    if (options.limit > 0 && summaries.size() == static_cast<size_t>(options.limit)) break;
    if (!all && !IsAlive(record.state.phase) && record.state.phase != Phase::kRestarting) continue;
    if (!Matches(record, options.filters, context)) continue;
    summaries.push_back(Summarize(record, now));
    if (options.size) {
      const Sizes sizes = MeasureSizes(*images_, record);
      summaries.back().size_rw = sizes.own;
      summaries.back().size_root_fs = sizes.whole;
    }
  }
  return summaries;
}

StatusOr<backend::ContainerDetails> Engine::Inspect(const std::string& name, bool size) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  const ContainerRecord record = container->Record();
  const Paths& paths = options_.paths;
  backend::ContainerDetails details;
  details.id = record.id.str();
  details.created = record.created;
  if (!record.argv.empty()) {
    details.path = record.argv.front();
    details.args.assign(record.argv.begin() + 1, record.argv.end());
  }
  details.state = ToApi(record.state);
  details.image_id = record.image_id;
  details.name = "/" + record.name;
  details.restart_count = record.restart_count;
  details.hostname_path = paths.Hostname(record.id);
  details.hosts_path = paths.Hosts(record.id);
  details.resolv_conf_path = paths.ResolvConf(record.id);
  details.log_path = record.host_config.log_driver == "json-file" ? paths.Log(record.id) : "";
  details.upper_directory = images_->UpperDirectory(record.id);
  details.config = record.config;
  details.host_config = record.host_config;
  details.host_config.network_mode = NetworkMode(record);
  details.mounts = MountPoints(record);
  details.open_ports = OpenPorts(record);
  details.exec_ids = execs_.IdsOf(record.id.str());
  const StatusOr<network::Mode> mode = network::ParseMode(record.host_config.network_mode);
  if (IsAlive(record.state.phase) && mode.ok() && mode->kind == network::ModeKind::kOwn) {
    details.sandbox_key = networks_.PathOf(record.id);
  }
  if (size) {
    const Sizes sizes = MeasureSizes(*images_, record);
    details.size_rw = sizes.own;
    details.size_root_fs = sizes.whole;
  }
  return details;
}

Status Engine::Logs(const std::string& name, const backend::LogOptions& options, const OnLog& on_log,
                    const backend::ByteSink& sink, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  const ContainerRecord record = container->Record();
  if (record.host_config.log_driver == "none") {
    return Unimplemented("configured logging driver does not support reading");
  }
  STASIS_RETURN_IF_ERROR(on_log(record.config.tty));
  const LogSource source{
      .path = options_.paths.Log(record.id),
      .raw = record.config.tty,
      .attributes = options.details ? LogAttributes(record.config, record.host_config) : "",
      .ended = container->run_ended()};
  return ReadLog(source, options, sink, std::move(cancel));
}

StatusOr<backend::WaitResult> Engine::Wait(const std::string& name, backend::WaitCondition condition,
                                           const std::function<void()>& on_waiting, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  const uint64_t exits_before = container->exits();
  on_waiting();
  const auto reached = [&](const ContainerRecord& record, uint64_t exits) {
    switch (condition) {
      case backend::WaitCondition::kNotRunning:
        return !IsAlive(record.state.phase) && record.state.phase != Phase::kRestarting;
      case backend::WaitCondition::kNextExit:
        return exits > exits_before;
      case backend::WaitCondition::kRemoved:
        return false;  // WaitUntil itself ends at a removal
    }
    return true;
  };
  STASIS_RETURN_IF_ERROR(container->WaitUntil(reached, kNoDeadline, std::move(cancel)));
  const ContainerRecord record = container->Record();
  // Of one that is gone, the text may be of a start that failed: its client was told.
  return backend::WaitResult{record.state.exit_code, container->removed() ? "" : record.state.error};
}

Status Engine::Resize(const std::string& name, uint32_t width, uint32_t height) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  if (!IsAlive(container->phase())) {
    return FailedPrecondition("Container " + container->id().str() + " is not running");
  }
  const ContainerRecord record = container->Record();
  // dockerd takes the size of a terminal that there is not, and tells of it all the same.
  if (record.config.tty) {
    STASIS_RETURN_IF_ERROR(supervisor_->Resize(record.id.str(), "init", width, height));
  }
  Emit(ContainerEvent(record, "resize",
                      {{"height", std::to_string(height)}, {"width", std::to_string(width)}}));
  return {};
}

StatusOr<std::unique_ptr<backend::AttachSession>> Engine::Attach(const std::string& name,
                                                                 const backend::AttachOptions& options) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  const ContainerRecord record = container->Record();
  switch (record.state.phase) {
    case Phase::kPaused:
      return FailedPrecondition("container " + record.id.str() +
                                " is paused, unpause the container before attach");
    case Phase::kRestarting:
      return FailedPrecondition("container " + record.id.str() +
                                " is restarting, wait until the container is running before attach");
    case Phase::kRemoving:
    case Phase::kDead:
      return FailedPrecondition("container " + record.id.str() + " is marked for removal");
    case Phase::kCreated:
    case Phase::kRunning:
    case Phase::kExited:
      break;
  }
  backend::AttachOptions allowed = options;
  allowed.use_stdin = options.use_stdin && record.config.open_stdin;
  const auto channel = std::make_shared<AttachChannel>(allowed, record.config.tty);
  container->AddAttachment(channel);
  Emit(ContainerEvent(record, "attach", {}));
  auto on_detach = [this, container] { Emit(ContainerEvent(container->Record(), "detach", {})); };
  return std::unique_ptr<backend::AttachSession>(std::make_unique<AttachedSession>(channel, on_detach));
}

}  // namespace stasis::engine
