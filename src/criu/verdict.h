// The verdict: why a container cannot be checkpointed, or a checkpoint not be restored, in plain words that
// name the process, the thing, and what to do:
//
//   process 7 (node) holds an io_uring instance, which CRIU cannot save; run the container with Docker's
//   default seccomp profile, which makes programs do without
//
// It is given twice: before anything is frozen, from a look at the processes (Survey), and after a failure,
// from CRIU's log (ExplainDump, ExplainRestore). Each cause is one row of a table in survey.cc or verdict.cc,
// with a test.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "criu/log.h"
#include "criu/losses.h"
#include "criu/processes.h"

namespace stasis::criu {

// The first thing found that CRIU would refuse, or nothing. Looks at namespaces, tracers, open files and
// mappings of each process; files that cannot be looked at are passed over: CRIU will tell. What CRIU would
// leave out goes to `losses`, that of memory apart.
std::optional<std::string> Survey(const std::vector<Process>& processes, Losses* losses);

// One open file of a process, as far as the survey judges it. Apart for tests.
enum class FileKind { kCharacterDevice, kBlockDevice, kOther };
std::optional<std::string> JudgeFile(const Process& process, std::string_view link, FileKind kind,
                                     unsigned device_major, unsigned device_minor);

// Why a dump failed, for the errors of its log; unknown causes get CRIU's own last error and `log_path`.
// `processes` are those of the container (for names); the error that CRIU sent back, if any, stands in where
// the log is empty. kUnavailable: it passes by itself, as a rule within the time that another attempt takes.
// kResourceExhausted: the disk is full. Else kInternal; never ok.
Status ExplainDump(const Log& log, const std::vector<Process>& processes, const std::string& log_path,
                   std::string_view criu_error);

// `why` of a dump that wrote into `directories`; where the file system of one is full, that:
// kResourceExhausted. CRIU's own words for it differ with what it wrote just then.
Status ExplainFullDisk(const Status& why, const std::vector<std::string>& directories);

// The same for a restore by `runc restore`, from its restore.log.
std::string ExplainRestore(const Log& log, const std::string& log_path);

}  // namespace stasis::criu
