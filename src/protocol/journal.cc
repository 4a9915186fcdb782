#include "protocol/journal.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "linux/files.h"
#include "protocol/fields.h"
#include "protocol/shim.h"

namespace stasis::protocol {
namespace {

using std::chrono::seconds;

constexpr size_t kMaxJournal = 1 << 20;
constexpr seconds kCheckpointerEnds{20};  // its own undoing, which begins when its socket is closed
constexpr seconds kCriuEnds{1};
constexpr seconds kKilledEnds{20};
constexpr seconds kFreeze{20};

Json ToJson(const ProcessIdentity& process) {
  return {{"pid", process.pid}, {"start_time", process.start_time}};
}

StatusOr<ProcessIdentity> ProcessFromJson(const Json& json) {
  ProcessIdentity process;
  JsonReader reader(json, "process");
  reader.Get("pid", &process.pid);
  reader.Get("start_time", &process.start_time);
  STASIS_RETURN_IF_ERROR(reader.status());
  return process;
}

// Waits for it to end by itself, then kills it.
Status EndProcess(const ProcessIdentity& noted, seconds patience) {
  if (noted.pid <= 1) return {};
  const StatusOr<ProcessHandle> handle = ProcessHandle::Open(noted);
  if (!handle.ok()) return {};
  if (handle->WaitEnded(After(patience), {}).ok()) return {};
  // It leads a process group, with its helpers in it (criu/session.h).
  ::kill(-noted.pid, SIGKILL);
  handle->Signal(SIGKILL).IgnoreError();  // it may have ended meanwhile
  return Annotate(handle->WaitEnded(After(kKilledEnds), {}), "kill process " + std::to_string(noted.pid));
}

Json ToJson(const CgroupLimit& limit) {
  return {
      {"processes", limit.of == CgroupLimit::Of::kProcesses}, {"file", limit.file}, {"value", limit.value}};
}

StatusOr<CgroupLimit> LimitFromJson(const Json& json) {
  CgroupLimit limit;
  bool processes = false;
  JsonReader reader(json, "limit");
  reader.Get("processes", &processes);
  reader.Get("file", &limit.file);
  reader.Get("value", &limit.value);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (processes) limit.of = CgroupLimit::Of::kProcesses;
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(limit.file, "limit.file"));
  return limit;
}

bool IsPublished(const Journal& journal) {
  struct stat info;
  return !journal.published.empty() && ::lstat(journal.published.c_str(), &info) == 0 &&
         info.st_ino == journal.staging_inode;
}

bool IsUndone(const Journal& journal) {
  return !journal.thaw && journal.checkpointer.pid == 0 && journal.criu.pid == 0 && journal.staging.empty();
}

// A container that is gone needs neither.
Status Restore(const Cgroup& cgroup, bool frozen) {
  const Status status = frozen ? cgroup.Freeze(After(kFreeze), {}) : cgroup.Thaw();
  return absl::IsNotFound(status) ? Status() : status;
}

}  // namespace

Json ToJson(const Journal& journal) {
  Json limits = Json::array();
  for (const CgroupLimit& limit : journal.limits) limits.push_back(ToJson(limit));
  return {{"thaw", journal.thaw},
          {"copies", journal.copies},
          {"limits", std::move(limits)},
          {"checkpointer", ToJson(journal.checkpointer)},
          {"criu", ToJson(journal.criu)},
          {"staging", journal.staging},
          {"staging_inode", journal.staging_inode},
          {"published", journal.published}};
}

StatusOr<Journal> JournalFromJson(const Json& json) {
  Journal journal;
  JsonReader reader(json, "journal");
  reader.Get("thaw", &journal.thaw);
  reader.Get("copies", &journal.copies);
  STASIS_RETURN_IF_ERROR(GetStruct(reader, "checkpointer", ProcessFromJson, &journal.checkpointer));
  STASIS_RETURN_IF_ERROR(GetStruct(reader, "criu", ProcessFromJson, &journal.criu));
  STASIS_RETURN_IF_ERROR(GetStructs(reader, "limits", LimitFromJson, &journal.limits));
  reader.Get("staging", &journal.staging);
  reader.Get("staging_inode", &journal.staging_inode);
  reader.Get("published", &journal.published);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(journal.staging, "journal.staging", /*empty_ok=*/true));
  STASIS_RETURN_IF_ERROR(CheckAbsolutePath(journal.published, "journal.published", /*empty_ok=*/true));
  return journal;
}

JournalFile::JournalFile(const std::string& shim_directory) : path_(shim_directory + "/" + kJournalFile) {}

Status JournalFile::Write(const Journal& journal) const {
  return Annotate(WriteFileAtomically(path_, DumpJson(ToJson(journal))), "journal");
}

StatusOr<Journal> JournalFile::Read() const {
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path_, kMaxJournal));
  STASIS_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  return JournalFromJson(json);
}

Status JournalFile::Clear() const {
  if (::unlink(path_.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "remove the journal");
  return {};
}

StatusOr<bool> UndoJournal(const std::string& shim_directory, const UndoOptions& options) {
  const JournalFile file(shim_directory);
  const StatusOr<Journal> journal = file.Read();
  if (absl::IsNotFound(journal.status())) return false;
  if (!journal.ok()) {
    // Thawing what was not frozen does no harm; leaving it frozen would.
    Status status = journal.status();
    if (options.cgroup && !options.stay_frozen) status.Update(Restore(*options.cgroup, false));
    return status;
  }
  // These first: while they live they may freeze, write and publish.
  Status status = EndProcess(journal->checkpointer, kCheckpointerEnds);
  status.Update(EndProcess(journal->criu, kCriuEnds));
  // CRIU thaws the group while it holds every thread: one that its user paused has to be frozen again.
  if (options.cgroup && (journal->thaw || options.stay_frozen))
    status.Update(Restore(*options.cgroup, options.stay_frozen));
  const bool published = IsPublished(*journal);
  if (!published && !journal->staging.empty()) status.Update(RemoveTree(journal->staging));
  const Status limits = SetLimits(journal->limits);
  if (status.ok()) {
    Journal left;
    left.limits = journal->limits;
    status = limits.ok() ? file.Clear() : file.Write(left);
  }
  if (!status.ok()) return status;
  return published;
}

Status SetLimitsAgain(const std::string& shim_directory) {
  const JournalFile file(shim_directory);
  const StatusOr<Journal> journal = file.Read();
  if (absl::IsNotFound(journal.status())) return {};
  STASIS_RETURN_IF_ERROR(journal.status());
  if (!IsUndone(*journal)) return {};
  STASIS_RETURN_IF_ERROR(SetLimits(journal->limits));
  return file.Clear();
}

}  // namespace stasis::protocol
