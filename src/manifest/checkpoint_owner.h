// Of what container a checkpoint was made, for people: read from the engine's record in the manifest, as far
// as it is there. What a stranger's record says is shown, never obeyed.
#pragma once

#include <string>
#include <vector>

#include "manifest/manifest.h"

namespace stasis {

struct CheckpointOwner {
  std::string name;      // of the container; empty: not known
  std::string image;     // as its user named it
  std::string image_id;  // "sha256:..."
  // What must be said again at create, as options of `docker create` ("--user=1000"), and the command last.
  std::vector<std::string> options;
  std::vector<std::string> command;
};

CheckpointOwner OwnerOf(const Manifest& manifest);
// The same of the member engine_record alone.
CheckpointOwner OwnerOf(const std::string& engine_record);

}  // namespace stasis
