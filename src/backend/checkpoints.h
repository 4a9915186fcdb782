// What the checkpoint routes ask of the engine. All methods check the checkpoint's name
// ("Invalid checkpoint ID (%s), only %s are allowed") and the directory.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace stasis::backend {

struct CheckpointCreate {
  std::string name;
  std::string directory;  // empty: the container's own; else absolute: DIRECTORY/NAME
  bool exit = false;
  std::string freeze = {};  // "cow", "plain", or empty: as the container's label says
};

class CheckpointBackend {
 public:
  virtual ~CheckpointBackend() = default;

  // kNotFound "No such container: %s"; kFailedPrecondition "Container %s not running"; kAlreadyExists
  // "checkpoint with name %s already exists for container %s"; kInternal "Cannot checkpoint container %s:
  // ...".
  virtual Status CreateCheckpoint(const std::string& container, const CheckpointCreate& request,
                                  std::stop_token cancel) = 0;
  virtual StatusOr<std::vector<std::string>> ListCheckpoints(const std::string& container,
                                                             const std::string& directory) = 0;
  // kNotFound "checkpoint %s does not exist for container %s".
  virtual Status DeleteCheckpoint(const std::string& container, const std::string& name,
                                  const std::string& directory) = 0;
  // The manifest as JSON. An extension of ours: GET /containers/{id}/checkpoints/{checkpoint}/json.
  virtual StatusOr<Json> InspectCheckpoint(const std::string& container, const std::string& name,
                                           const std::string& directory) = 0;
};

}  // namespace stasis::backend
