// The manifest: what a checkpoint says of itself, manifest.json in its directory. docs/formats/checkpoint.md
// describes the fields; change both or neither.
//
// A manifest is hostile input: a checkpoint may come from elsewhere, and a container's own names are in it.
// Reading checks types, sizes and counts, and nothing in it decides rights (docs/threat-model.md): it is
// shown, never obeyed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/json.h"
#include "base/status.h"
#include "store/page_tree.h"

namespace stasis {

inline constexpr int kManifestVersion = 2;
inline constexpr size_t kMaxManifest = 32 << 20;  // bytes of manifest.json
inline constexpr size_t kMaxProcesses = 16384;    // entries of Manifest::processes
inline constexpr size_t kMaxFiles = 262144;       // entries of Manifest::files

// One process as it was at the freeze. Pids are those the container itself sees.
struct ManifestProcess {
  int pid = 0;
  int parent = 0;       // 0: of the init
  uint32_t user = 0;    // real uid, as the host sees it
  std::string name;     // comm
  std::string command;  // command line, arguments joined by blanks; cut at 4 KiB
  int threads = 0;
  uint64_t resident_bytes = 0;  // resident memory (VmRSS)
};

// One of CRIU's image files.
struct ManifestFile {
  std::string name;  // no path: the directory is flat
  store::StreamId content;
};

struct Manifest {
  int version = kManifestVersion;
  std::string name;
  std::string container_id;
  absl::Time created;
  bool exit = false;    // the container was killed once the checkpoint was published
  bool paused = false;  // it was paused by its user, and comes back paused

  // How long the container stood still for the checkpoint; with exit: until all of it was read.
  uint64_t frozen_us = 0;
  uint64_t thaws = 0;       // before that it was frozen so often, and let go on since it could not be saved
  uint64_t prepare_us = 0;  // before the freeze
  uint64_t dump_us = 0;     // CRIU, within the freeze
  uint64_t copy_us = 0;     // the making of twins, within the freeze; 0 where there were none
  // The reading of private memory by us: within the freeze where that is direct, else after it.
  uint64_t memory_us = 0;
  uint64_t files_us = 0;      // the container's files, within the freeze
  uint64_t bytes = 0;         // of the image files and the container's files, all together
  uint64_t stored_bytes = 0;  // disk space of what the store did not have yet
  uint64_t total_us = 0;      // from the start until all but the manifest was durable

  // "cow": private memory was read after the freeze, from copies of the processes; "direct": within it, from
  // the processes themselves; "plain": within it, by CRIU.
  std::string freeze;
  std::string freeze_reason;  // why it was plain

  std::string criu_version;               // "4.2.1"
  std::string kernel;                     // uname -r
  std::string architecture;               // uname -m
  std::vector<std::string> cpu_features;  // linux/cpu_features.h

  bool tcp_established = false;
  bool external_unix_sockets = false;
  bool shell_job = false;
  std::vector<std::string> empty_namespaces;
  std::string network_namespace;  // "own" (external to CRIU, by path), "host", "dumped"

  std::vector<ManifestFile> files;
  // The container's own layer: a document of layer/entry.h. None: its files are not in the checkpoint.
  std::optional<store::StreamId> layer;
  uint64_t layer_files = 0;
  uint64_t layer_bytes = 0;
  std::vector<ManifestProcess> processes;  // in order of pid
  std::vector<std::string>
      exec_processes;  // "ID (ARGV)": ran beside the init's tree and are not in the checkpoint
  // What a restore does not bring back of what the container had, as it was told at the making.
  std::vector<std::string> warnings;
  std::string engine_record;  // the engine's own JSON, as it was given
};

std::string ToText(const Manifest& manifest);

// kDataLoss: not a manifest, a field of the wrong type, a limit exceeded. kUnimplemented: another version.
StatusOr<Manifest> ParseManifest(std::string_view text);

}  // namespace stasis
