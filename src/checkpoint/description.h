// What a checkpoint's manifest says of the container and of what was asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/container_view.h"
#include "criu/processes.h"
#include "manifest/manifest.h"
#include "protocol/checkpointer.h"

namespace stasis::checkpoint {

void Describe(const protocol::CheckpointPlan& plan, const ContainerView& view,
              const std::vector<criu::Process>& processes, Manifest* manifest);

// The flags of clone(2) for the namespaces whose content the checkpoint is asked to leave out.
// kInvalidArgument: CRIU cannot leave out one of them.
StatusOr<uint32_t> EmptyNamespaces(const std::vector<std::string>& names);

}  // namespace stasis::checkpoint
