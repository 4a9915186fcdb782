#include "checkpoint/journal.h"

#include <unistd.h>

#include "linux/files.h"

namespace stasis::checkpoint {

JournalFile::JournalFile(const std::string& shim_directory)
    : path_(shim_directory + "/" + protocol::kJournalFile) {}

Status JournalFile::Write(const protocol::Journal& journal) const {
  return Annotate(WriteFileAtomically(path_, DumpJson(protocol::ToJson(journal))), "journal");
}

Status JournalFile::Clear() const {
  if (::unlink(path_.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "remove the journal");
  return absl::OkStatus();
}

}  // namespace stasis::checkpoint
