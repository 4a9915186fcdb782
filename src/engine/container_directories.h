// ROOT/containers: the directories of containers, kept so that they alone say which containers there are. The
// database may be lost or damaged; what is in here is then adopted, never collected.
//
//   ID/                       a container
//   ID/record.json            its record (record_codec.h), without how its runs went: written durably when it
//                             is made, and when something changes that is needed to adopt it, such as its
//                             name
//   .aside-XXXXXX/            one that is being made
//   .removed-ID/              one that was removed; this name is the decision, whatever the database says
//
// A container appears and goes by one rename. Thread-safe for different containers; calls about one container
// come one at a time. Blocks on disk.
#pragma once

#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "engine/paths.h"
#include "engine/record.h"

namespace stasis::engine {

class ContainerDirectories {
 public:
  // Makes ROOT/containers where it is missing, and removes what a crash left half made.
  static StatusOr<ContainerDirectories> Open(const Paths& paths);

  // Makes the directory with its record.json, durably. On an error nothing is left.
  Status Create(const ContainerRecord& record) const;
  // Whether `after` differs from `before` in what record.json holds.
  static bool AdoptionDiffers(const ContainerRecord& before, const ContainerRecord& after);
  // Makes record.json say what `record` says, where it does not. Nothing is done where the directory is
  // missing.
  Status Save(const ContainerRecord& record) const;

  // From here on the container is removed, whatever dies; durable. Idempotent, and no error where it has no
  // directory.
  Status MarkRemoved(const ContainerId& id) const;
  // Removes what a removed one held, and keeps its mark.
  Status ClearRemoved(const ContainerId& id) const;
  // Removes the mark too: nothing names the container any more.
  Status ForgetRemoved(const ContainerId& id) const;
  // The path of a removed one's directory.
  std::string RemovedPath(const ContainerId& id) const;

  StatusOr<std::vector<ContainerId>> List() const;
  StatusOr<std::vector<ContainerId>> ListRemoved() const;

  // What the directory says of its container: record.json, or else the newest of its checkpoints that can be
  // read. It is shown as ended (as created when it never ran), and is not started by any policy: how its last
  // run ended is not known. Where neither can be read, the record is an unreadable one. Its name may be
  // taken.
  ContainerRecord Adopt(const ContainerId& id) const;

 private:
  explicit ContainerDirectories(const Paths& paths) : paths_(paths) {}
  StatusOr<ContainerRecord> ReadRecord(const ContainerId& id) const;

  Paths paths_;
};

}  // namespace stasis::engine
