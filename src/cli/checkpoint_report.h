// What `stasis checkpoint inspect` and `checkpoint ls -a` show of a manifest (docs/formats/checkpoint.md),
// which GET /containers/{id}/checkpoints/{name}/json gives.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"

namespace stasis::cli {

// A tree: when, size, memory, files, frozen time and what it went into, versions, and the processes below
// their parents. A manifest is a stranger's text: processes that name each other as parents are shown all the
// same, once each.
StatusOr<std::string> CheckpointReport(const Json& manifest);

struct CheckpointLine {
  std::string container;
  std::string name;
  std::string created;  // RFC 3339
  uint64_t bytes = 0;
  uint64_t stored_bytes = 0;  // that the store did not have
  uint64_t frozen_us = 0;
};
StatusOr<CheckpointLine> ReadCheckpointLine(const std::string& container, const Json& manifest);

// Files that differ, one a line, as `docker diff` prints them: "C /etc". `changes` is the answer of GET
// .../diff. kInvalidArgument: it is not of that form.
StatusOr<std::string> ChangesReport(const Json& changes);

// "850 us", "12.3 ms", "1.25 s".
std::string HumanMicroseconds(uint64_t microseconds);

}  // namespace stasis::cli
