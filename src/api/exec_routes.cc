#include "api/multiplex.h"
#include "api/routes.h"
#include "api/stream_pump.h"
#include "backend/execs.h"

namespace stasis::api {
namespace {

using backend::ExecBackend;

Status Create(ExecBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(Json body, ReadJson(request, /*required=*/true));
  backend::ExecConfig config;
  JsonReader reader(body);
  reader.Get("AttachStdin", &config.attach_stdin);
  reader.Get("AttachStdout", &config.attach_stdout);
  reader.Get("AttachStderr", &config.attach_stderr);
  reader.Get("Tty", &config.tty);
  reader.Get("Privileged", &config.privileged);
  reader.Get("Cmd", &config.cmd);
  reader.Get("Env", &config.env);
  reader.Get("User", &config.user);
  reader.Get("WorkingDir", &config.working_dir);
  reader.Get("DetachKeys", &config.detach_keys);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(backend::ReadConsoleSize(reader, &config.console_size));
  STASIS_RETURN_IF_ERROR(DetachKeys::Parse(config.detach_keys).status());
  if (config.cmd.empty()) return InvalidArgument("No exec command specified");
  STASIS_ASSIGN_OR_RETURN(std::string id, backend.CreateExec(request.Value("id"), config));
  return response.Json(201, {{"Id", id}});
}

// The client reads its stream as the body of its start says, whatever the exec was created with.
OutputForm FormFor(bool exec_has_terminal, bool client_wants_terminal) {
  if (exec_has_terminal == client_wants_terminal) return OutputForm::kAsIs;
  return client_wants_terminal ? OutputForm::kUnframed : OutputForm::kFramed;
}

Status Start(ExecBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(Json body, ReadJson(request, /*required=*/false));
  bool detach = false;
  bool tty = false;
  backend::ConsoleSize size;
  JsonReader reader(body);
  reader.Get("Detach", &detach);
  reader.Get("Tty", &tty);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(backend::ReadConsoleSize(reader, &size));
  const std::string& exec = request.Value("id");
  if (detach) {
    STASIS_RETURN_IF_ERROR(backend.StartExecDetached(exec));
    return response.Empty(200);
  }
  STASIS_ASSIGN_OR_RETURN(backend::ExecDetails details, backend.InspectExec(exec));
  STASIS_ASSIGN_OR_RETURN(DetachKeys detach_keys, DetachKeys::Parse(details.config.detach_keys));
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<backend::AttachSession> session, backend.AttachExec(exec, size));
  STASIS_ASSIGN_OR_RETURN(HijackedConnection * client,
                          response.Hijack(StreamType(tty, request.minor_version)));
  STASIS_ASSIGN_OR_RETURN(UniqueFd process, session->Connect(request.cancel));
  const bool may_detach = session->terminal() && details.config.attach_stdin;
  STASIS_RETURN_IF_ERROR(PumpStreams(*client, std::move(process),
                                     {.use_stdin = details.config.attach_stdin,
                                      .form = FormFor(session->terminal(), tty),
                                      .detach_keys = may_detach ? &detach_keys : nullptr}));
  if (detach_keys.pressed()) session->Detached();
  return absl::OkStatus();
}

Status Resize(ExecBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(std::optional<int> width, request.query.Integer("w", 0, 0xffff));
  STASIS_ASSIGN_OR_RETURN(std::optional<int> height, request.query.Integer("h", 0, 0xffff));
  if (!width || !height) return InvalidArgument("resize wants the parameters h and w");
  STASIS_RETURN_IF_ERROR(
      backend.ResizeExec(request.Value("id"), static_cast<uint32_t>(*width), static_cast<uint32_t>(*height)));
  return response.Empty(200);
}

Status Inspect(ExecBackend& backend, Request& request, Response& response) {
  STASIS_ASSIGN_OR_RETURN(backend::ExecDetails details, backend.InspectExec(request.Value("id")));
  const backend::ExecConfig& config = details.config;
  Json process{{"tty", config.tty},
               {"entrypoint", config.cmd.empty() ? "" : config.cmd.front()},
               {"arguments", Json::array()},
               {"privileged", config.privileged}};
  for (size_t i = 1; i < config.cmd.size(); ++i) process["arguments"].push_back(config.cmd[i]);
  if (!config.user.empty()) process["user"] = config.user;
  return response.Json(200, {{"ID", details.id},
                             {"Running", details.running},
                             {"ExitCode", details.exit_code ? Json(*details.exit_code) : Json()},
                             {"ProcessConfig", process},
                             {"OpenStdin", config.attach_stdin},
                             {"OpenStdout", config.attach_stdout},
                             {"OpenStderr", config.attach_stderr},
                             {"CanRemove", false},
                             {"ContainerID", details.container_id},
                             {"DetachKeys", config.detach_keys},
                             {"Pid", details.pid}});
}

}  // namespace

std::vector<Route> ExecRoutes(ExecBackend* backend) {
  auto with = [backend](Status (*handle)(ExecBackend&, Request&, Response&)) -> Handler {
    return [backend, handle](Request& request, Response& response) {
      return handle(*backend, request, response);
    };
  };
  return {
      {"POST", "/containers/{id}/exec", with(Create), "Prepare a command in a container", "execs"},
      {"POST", "/exec/{id}/start", with(Start), "Run a prepared command", "execs", Lifetime::kStream},
      {"POST", "/exec/{id}/resize", with(Resize), "Set the size of a command's terminal", "execs"},
      {"GET", "/exec/{id}/json", with(Inspect), "Inspect a command", "execs"},
  };
}

}  // namespace stasis::api
