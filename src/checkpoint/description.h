// What a checkpoint's manifest says of the container and of what was asked for.
#pragma once

#include <vector>

#include "checkpoint/container_view.h"
#include "criu/processes.h"
#include "manifest/manifest.h"
#include "protocol/checkpointer.h"

namespace stasis::checkpoint {

void Describe(const protocol::CheckpointPlan& plan, const ContainerView& view,
              const std::vector<criu::Process>& processes, Manifest* manifest);

}  // namespace stasis::checkpoint
