// Names and ids, parsed once at the edge; afterwards the type is the proof. Every name that becomes part of a
// path goes through one of these.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace stasis {

// The pattern of Docker's container names and checkpoint ids, as Docker's own messages show it.
inline constexpr char kNamePattern[] = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

// Whether `name` is two or more characters that match ^[a-zA-Z0-9][a-zA-Z0-9_.-]+$, at most 255. Such a name
// is never "." or "..", has no slash, and does not begin with a dot.
bool IsRestrictedName(std::string_view name);

// A name as text with a type of its own. Tag tells one kind from another.
template <typename Tag>
class Name {
 public:
  // See Tag::Check for what is accepted and with which message anything else is refused.
  static StatusOr<Name> Parse(std::string_view raw) {
    if (Status status = Tag::Check(raw); !status.ok()) return status;
    return Name(std::string(raw));
  }
  const std::string& str() const { return text_; }
  auto operator<=>(const Name&) const = default;

 private:
  explicit Name(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

struct ContainerIdTag {
  static Status Check(std::string_view raw);  // 64 lower-case hex digits
};
// The id by which the engine names its own containers, execs and images' digests.
using ContainerId = Name<ContainerIdTag>;

struct BundleIdTag {
  static Status Check(std::string_view raw);  // IsRestrictedName, at most 128
};
// The id by which a client of types.API names a container: ours are ContainerIds, a stranger's may be any
// restricted name.
using BundleId = Name<BundleIdTag>;

struct ContainerNameTag {
  static Status Check(std::string_view raw);  // "Invalid container name (%s), only %s are allowed"
};
using ContainerName = Name<ContainerNameTag>;

struct CheckpointNameTag {
  static Status Check(std::string_view raw);  // "Invalid checkpoint ID (%s), only %s are allowed"
};
using CheckpointName = Name<CheckpointNameTag>;

struct DigestTag {
  static Status Check(std::string_view raw);  // "sha256:" and 64 lower-case hex digits
};
using Digest = Name<DigestTag>;

// The hex digits of a digest, without "sha256:".
std::string Hex(const Digest& digest);

}  // namespace stasis
