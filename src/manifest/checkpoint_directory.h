// Checkpoints on disk: DIRECTORY/NAME, where DIRECTORY is the container's own or the one a user named.
//
//   DIRECTORY/NAME/                  0700
//     manifest.json                  0600, see manifest.h; names the files, which are in a store
//     manifest.sha256                0600, "HEX  manifest.json", as sha256sum(1) writes and checks it
//   DIRECTORY/.store/                their store (store/store_files.h), unless they share another
//   DIRECTORY/.NAME.partial-XXXXXX/  one that is being made, or was when its maker died
//   DIRECTORY/.NAME.deleted-XXXXXX/  one that is being deleted
//
// A checkpoint appears by one rename: it is whole or absent. Names that begin with a dot are never
// checkpoints (CheckpointName refuses them), so what is made aside is never listed.
//
// DIRECTORY may hold what strangers put there: links below it are not followed, and a broken entry is skipped
// by the listing. Thread-safe. All block on disk.
#pragma once

#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "manifest/manifest.h"

namespace stasis {

inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kManifestDigestFile[] = "manifest.sha256";
inline constexpr char kDumpLogFile[] = "dump.log";   // CRIU's log of the dump, one of the files
inline constexpr char kPartialMark[] = ".partial-";  // in the names of what is made aside
inline constexpr char kDeletedMark[] = ".deleted-";

// The path DIRECTORY/NAME of a checkpoint.
std::string CheckpointPath(const std::string& directory, const CheckpointName& name);

struct CheckpointEntry {
  std::string name;
  absl::Time created;
  bool exit = false;
  uint64_t bytes = 0;
  uint64_t frozen_us = 0;
  std::string container_id;
  bool tcp_established = false;
  bool external_unix_sockets = false;
  bool shell_job = false;
  std::vector<std::string> empty_namespaces;
};

// The checkpoints in `directory`, by name. Entries without a readable manifest are left out. No such
// directory: none.
StatusOr<std::vector<CheckpointEntry>> ListCheckpoints(const std::string& directory);

// Whether the name is not free: DIRECTORY/NAME is there, whole or broken.
StatusOr<bool> CheckpointExists(const std::string& directory, const CheckpointName& name);

// Writes it into what becomes a checkpoint, with its digest. kDataLoss: it could not be read again.
Status WriteManifest(const std::string& checkpoint, const Manifest& manifest);

// kNotFound: no such checkpoint. kDataLoss, kUnimplemented: as ParseManifest; also where the digest is
// another.
StatusOr<Manifest> ReadManifest(const std::string& directory, const CheckpointName& name);

// Renames it aside, makes that durable, then removes it: after a crash it is whole or not listed. kNotFound.
Status DeleteCheckpoint(const std::string& directory, const CheckpointName& name);

// Removes what dead makers and deleters left aside in `directory`. Only for when none of them runs.
Status RemoveLeftovers(const std::string& directory);

}  // namespace stasis
