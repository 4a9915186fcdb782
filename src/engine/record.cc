#include "engine/record.h"

#include <array>

namespace stasis::engine {
namespace {

constexpr std::array<std::pair<Phase, std::string_view>, 7> kPhases = {{
    {Phase::kCreated, "created"},
    {Phase::kRunning, "running"},
    {Phase::kPaused, "paused"},
    {Phase::kRestarting, "restarting"},
    {Phase::kRemoving, "removing"},
    {Phase::kExited, "exited"},
    {Phase::kDead, "dead"},
}};

}  // namespace

std::string_view ToText(Phase phase) {
  for (const auto& [candidate, text] : kPhases) {
    if (candidate == phase) return text;
  }
  return "";
}

StatusOr<Phase> PhaseFromText(std::string_view text) {
  for (const auto& [phase, candidate] : kPhases) {
    if (candidate == text) return phase;
  }
  return DataLoss("unknown phase of a container: " + std::string(text));
}

backend::ContainerState ToApi(const RunState& state) {
  backend::ContainerState api;
  api.status = std::string(ToText(state.phase));
  api.running = IsAlive(state.phase) || state.phase == Phase::kRestarting;
  api.paused = state.phase == Phase::kPaused;
  api.restarting = state.phase == Phase::kRestarting;
  api.dead = state.phase == Phase::kDead;
  api.oom_killed = state.oom_killed;
  api.pid = state.pid;
  api.exit_code = state.exit_code;
  api.error = state.error;
  api.started_at = state.started_at;
  api.finished_at = state.finished_at;
  api.checkpoint = state.checkpoint;
  return api;
}

}  // namespace stasis::engine
