// Files in CRIU's work directory by which its preloaded library (criu/preload) and we tell each other things.
#pragma once

#include <string>

#include "checkpoint/freeze.h"
#include "criu/session.h"
#include "linux/files.h"

namespace stasis::checkpoint {

inline constexpr char kShownMemoryFile[] = "/shown-memory";
inline constexpr char kLateSignalsFile[] = "/late-signals";
inline constexpr char kSocketsFile[] = "/sockets";
inline constexpr char kOutsidePeersFile[] = "/outside-peers";

// `work` is that directory. `hides_memory`: CRIU is not to save private memory, but what is named in
// kShownMemoryFile.
inline criu::Program CriuProgram(const std::string& criu, const std::string& preload, const std::string& work,
                                 bool hides_memory) {
  criu::Program program = {criu, preload};
  if (hides_memory) program.shown_memory = work + kShownMemoryFile;
  program.waits = work + "/" + kWaitsFile;
  program.late_signals = work + kLateSignalsFile;
  program.sockets = work + kSocketsFile;
  program.outside_peers = work + kOutsidePeersFile;
  return program;
}

// CRIU's log, which names the container's files, is kept where it is still there when somebody wants to read
// it: a later checkpoint overwrites the one in the work directory, and the shim removes it. Returns where it
// is.
inline std::string KeepLog(const std::string& log, const std::string& kept) {
  const auto text = ReadFile(log);
  return !kept.empty() && text.ok() && WriteFileAtomically(kept, *text).ok() ? kept : log;
}

}  // namespace stasis::checkpoint
