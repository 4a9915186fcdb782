// journal.json in the shim's directory: what a checkpointer has begun and what must be undone when it is
// gone. It is written before anything of the container is changed (freezer), and before CRIU is started. It
// lies on a file system that does not outlive the machine, and so do the changes: it is written atomically,
// not durably.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "linux/cgroup.h"
#include "linux/process_handle.h"

namespace stasis::protocol {

struct Journal {
  bool thaw = false;    // the freezer was closed by us
  bool copies = false;  // of processes may have been made: whoever died with them has them reaped (`reap`)
  ProcessIdentity checkpointer;
  ProcessIdentity criu;
  std::string staging;         // directory made aside, to be removed
  uint64_t staging_inode = 0;  // its number, by which it is known after the rename
  // Raised for the time that copies of the processes need; these are to be set again.
  std::vector<CgroupLimit> limits;
  std::string published;  // what it is renamed to: once that is `staging_inode`, nothing is undone
};
Json ToJson(const Journal& journal);
StatusOr<Journal> JournalFromJson(const Json& json);

class JournalFile {
 public:
  explicit JournalFile(const std::string& shim_directory);
  Status Write(const Journal& journal) const;
  // kNotFound: nothing is to be undone.
  StatusOr<Journal> Read() const;
  // Nothing is left to be undone. Not an error when there is none.
  Status Clear() const;

 private:
  std::string path_;
};

struct UndoOptions {
  const Cgroup* cgroup = nullptr;  // null: the caller ends the container anyway
  bool stay_frozen = false;        // its user had paused it
};

// Undoes what the journal in `shim_directory` names, and removes it: ends the checkpointer and CRIU, thaws,
// removes what was made aside. Blocks, within limits of its own. Returns whether the checkpoint had been
// published before its maker died: then it is whole and stays. Not an error when there is no journal. Where
// all is undone but limits that cannot be set yet, these alone stay in the journal (SetLimitsAgain).
StatusOr<bool> UndoJournal(const std::string& shim_directory, const UndoOptions& options);

// Sets the limits that an undone journal still names, and removes it. A limit of memory cannot be set while
// the container uses more. Ok, and nothing done, where there is no journal or one that is not undone.
Status SetLimitsAgain(const std::string& shim_directory);

}  // namespace stasis::protocol
