#include "supervisor/bundle.h"

#include <vector>

#include "base/json.h"
#include "linux/files.h"
#include "protocol/shim.h"

namespace stasis::supervisor {
namespace {

constexpr size_t kMaxSpec = 8 << 20;

const Json& ObjectAt(const Json& parent, const char* field) {
  static const Json kEmpty = Json::object();
  auto found = parent.find(field);
  return found != parent.end() && found->is_object() ? *found : kEmpty;
}

Status ReadProcess(const Json& spec, types::Process* process) {
  const Json& json = ObjectAt(spec, "process");
  const Json& user = ObjectAt(json, "user");
  const Json& capabilities = ObjectAt(json, "capabilities");
  bool terminal = false, no_new_privileges = false;
  std::vector<std::string> args, env, bounding;
  std::string cwd, apparmor, selinux;
  uint32_t uid = 0, gid = 0;
  JsonReader reader(json, "process");
  reader.Get("terminal", &terminal);
  reader.Get("args", &args);
  reader.Get("env", &env);
  reader.Get("cwd", &cwd);
  reader.Get("apparmorProfile", &apparmor);
  reader.Get("selinuxLabel", &selinux);
  reader.Get("noNewPrivileges", &no_new_privileges);
  STASIS_RETURN_IF_ERROR(reader.status());
  JsonReader user_reader(user, "process.user");
  user_reader.Get("uid", &uid);
  user_reader.Get("gid", &gid);
  STASIS_RETURN_IF_ERROR(user_reader.status());
  JsonReader capabilities_reader(capabilities, "process.capabilities");
  capabilities_reader.Get("bounding", &bounding);
  STASIS_RETURN_IF_ERROR(capabilities_reader.status());

  process->set_pid(protocol::kInit);
  process->set_terminal(terminal);
  process->mutable_args()->Assign(args.begin(), args.end());
  process->mutable_env()->Assign(env.begin(), env.end());
  process->set_cwd(cwd);
  process->set_apparmorprofile(apparmor);
  process->set_selinuxlabel(selinux);
  process->set_nonewprivileges(no_new_privileges);
  process->mutable_capabilities()->Assign(bounding.begin(), bounding.end());
  process->mutable_user()->set_uid(uid);
  process->mutable_user()->set_gid(gid);
  return {};
}

}  // namespace

StatusOr<Bundle> ReadBundle(const std::string& path, const BundleId& id) {
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos) {
    return InvalidArgument("bundle path \"" + path + "\": want an absolute path");
  }
  const std::string file = path + "/config.json";
  StatusOr<std::string> text = ReadFile(file, kMaxSpec);
  if (!text.ok()) return Annotate(text.status(), "bundle");
  StatusOr<Json> spec = ParseJson(*text);
  if (!spec.ok()) return Annotate(spec.status(), file);
  if (!spec->is_object()) return InvalidArgument(file + ": not a JSON object");

  Bundle bundle;
  bundle.path = path;
  STASIS_RETURN_IF_ERROR(Annotate(ReadProcess(*spec, &bundle.process), file));
  bundle.terminal = bundle.process.terminal();
  JsonReader linux_reader(ObjectAt(*spec, "linux"), "linux");
  linux_reader.Get("cgroupsPath", &bundle.cgroup_path);
  STASIS_RETURN_IF_ERROR(Annotate(linux_reader.status(), file));
  // As runc does: none means the id, and one without a slash is below runc's own cgroup, the root one here.
  if (bundle.cgroup_path.empty()) bundle.cgroup_path = id.str();
  if (bundle.cgroup_path[0] != '/') bundle.cgroup_path.insert(0, "/");
  return bundle;
}

}  // namespace stasis::supervisor
