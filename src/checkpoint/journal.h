// The shim's journal.json, written before anything of the container is changed (protocol/checkpointer.h). It
// lies on a file system that does not outlive the machine, and so do the changes: it is written atomically,
// not durably.
#pragma once

#include <string>

#include "base/status.h"
#include "protocol/checkpointer.h"

namespace stasis::checkpoint {

class JournalFile {
 public:
  explicit JournalFile(const std::string& shim_directory);
  Status Write(const protocol::Journal& journal) const;
  // Nothing is left to be undone. Not an error when there is none.
  Status Clear() const;

 private:
  std::string path_;
};

}  // namespace stasis::checkpoint
