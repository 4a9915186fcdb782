// What `stasis checkpoint inspect` shows of a manifest (docs/formats/checkpoint.md), which GET
// /containers/{id}/checkpoints/{name}/json gives, and `checkpoint ls -a` of the list of GET /checkpoints.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace stasis::cli {

// What is shown besides the manifest, as the API's extensions give it.
struct CheckpointDetails {
  std::vector<Json> processes;  // of GET .../processes
  std::optional<Json> usage;    // its entry of GET /checkpoints/usage
  std::optional<Json> changes;  // of GET .../diff?since-image=1
  int pid = 0;                  // of the processes only this one; 0: all
};

// A tree: when, size, memory, files, frozen time and what it went into, versions, and the processes below
// their parents, with what the details say of each. A manifest is a stranger's text: processes that name each
// other as parents are shown all the same, once each.
StatusOr<std::string> CheckpointReport(const Json& manifest, const CheckpointDetails& details = {});

// What every answer that lists checkpoints says of each.
struct CheckpointLabel {
  std::string container;  // id
  std::string container_name;
  std::string name;

  // Of its container: the name, or where that is not known the id.
  std::string owner() const { return container_name.empty() ? container.substr(0, 12) : container_name; }
};
CheckpointLabel ReadCheckpointLabel(JsonReader& entry);

// An entry of GET /checkpoints.
struct CheckpointLine {
  CheckpointLabel label;
  bool files_only = false;
  std::string image;
  std::string created;  // RFC 3339
  uint64_t bytes = 0;
  uint64_t stored_bytes = 0;  // that the store did not have
  uint64_t frozen_us = 0;
  std::string damage;
};
StatusOr<CheckpointLine> ReadCheckpointLine(const Json& entry);

// Files that differ, one a line, as `docker diff` prints them: "C /etc". `changes` is the answer of GET
// .../diff. kInvalidArgument: it is not of that form.
StatusOr<std::string> ChangesReport(const Json& changes);

// "850 us", "12.3 ms", "1.25 s".
std::string HumanMicroseconds(uint64_t microseconds);

}  // namespace stasis::cli
