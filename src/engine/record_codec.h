// A container's record as text: in the database, in the container's directory, and in its checkpoints.
//
// The text is one JSON object with a "Version". It is read with tolerance, because what it says was accepted
// once: fields that are missing keep their defaults, fields that are unknown are ignored, and no check of a
// request is made. The version grows only when an older program could not do anything right with a record.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/record.h"

namespace stasis::engine {

inline constexpr int kRecordVersion = 1;

std::string EncodeRecord(const ContainerRecord& record);

struct DecodedRecord {
  ContainerRecord record;
  std::vector<Status> problems;  // fields that could not be read, and keep their defaults
};

// kDataLoss: it is not a record, or has no id. kUnimplemented: a newer program wrote it.
StatusOr<DecodedRecord> DecodeRecord(std::string_view text);

// The record shown for a container whose own record cannot be read: it is dead, and its error says why.
ContainerRecord UnreadableRecord(const ContainerId& id, const std::string& name, const Status& why);

}  // namespace stasis::engine
