// Checkpoints on disk as types.API names them: a name, and a directory that a request gives or that is the
// bundle's.
#pragma once

#include <string>

#include "base/status.h"
#include "protocol/shim.h"
#include "types/api.pb.h"

namespace stasis::supervisor {

// The directory that holds the checkpoints: `requested`, which must be absolute, or BUNDLE/checkpoints.
StatusOr<std::string> CheckpointDirectory(const std::string& requested, const std::string& bundle);

// The path of the checkpoint `name`. kNotFound "checkpoint NAME does not exist for container ID".
StatusOr<protocol::RestoreSource> FindCheckpoint(const std::string& requested, const std::string& bundle,
                                                 const std::string& name, const std::string& id);

// Those in `directory`, ours and those that containerd 0.2 made (they have a config.json instead of a
// manifest). What is broken is left out. No such directory: none.
StatusOr<types::ListCheckpointResponse> ListCheckpointsIn(const std::string& directory);

// kNotFound as FindCheckpoint; kInvalidArgument for a name that is none.
Status DeleteCheckpointIn(const std::string& directory, const std::string& name, const std::string& id);

}  // namespace stasis::supervisor
