// Checkpoints on disk: DIRECTORY/NAME, where DIRECTORY is the container's own or the one a user named.
//
//   DIRECTORY/NAME/                  0700
//     manifest.json                  0600, see manifest.h; names the files, which are in a store
//     manifest.sha256                0600, "HEX  manifest.json", as sha256sum(1) writes and checks it
//   DIRECTORY/.store/                their store (store/store_files.h), unless they share another
//   DIRECTORY/.NAME.partial-XXXXXX/  one that is being made, or was when its maker died
//   DIRECTORY/.NAME.deleted-XXXXXX/  one that is being deleted, or was when its deleter died
//
// A checkpoint appears by one rename: it is whole or absent. Names that begin with a dot are never
// checkpoints (CheckpointName refuses them), so what is made aside is never listed.
//
// DIRECTORY may hold what strangers put there: links below it are not followed. Thread-safe. All block on
// disk.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
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

// One that is there, whole or not.
struct FoundCheckpoint {
  std::string directory;
  std::string name;
  StatusOr<Manifest> manifest;  // errors as ReadManifest
};

// In these directories, by directory and name. What has no manifest is none; a directory that is not there
// holds none.
StatusOr<std::vector<FoundCheckpoint>> FindCheckpoints(const std::vector<std::string>& directories);

// The names of those in one directory, sorted: what has a manifest, be it damaged. No manifest is read.
StatusOr<std::vector<std::string>> ListCheckpointNames(const std::string& directory);

// The newest one in `directory` of which `wanted` is true; nothing where none is. Which is the newest, the
// times of their directories tell, which a copy may have mixed up: it is a matter of what is looked at first,
// and only so many are, however many there are.
StatusOr<std::optional<Manifest>> FindNewest(const std::string& directory,
                                             const std::function<bool(const Manifest&)>& wanted);

// Whether the name is not free: DIRECTORY/NAME is there, whole or broken.
StatusOr<bool> CheckpointExists(const std::string& directory, const CheckpointName& name);

// What kManifestDigestFile holds of a manifest: as sha256sum(1) writes it.
std::string ManifestDigestLine(std::string_view manifest);

// Writes it into what becomes a checkpoint, with its digest. kDataLoss: it could not be read again.
Status WriteManifest(const std::string& checkpoint, const Manifest& manifest);

// kNotFound: no such checkpoint. kDataLoss, kUnimplemented: as ParseManifest; also where the digest is
// another.
StatusOr<Manifest> ReadManifest(const std::string& directory, const CheckpointName& name);

// Renames it aside, makes that durable, then removes it: after a crash it is whole or not listed. kNotFound.
Status DeleteCheckpoint(const std::string& directory, const CheckpointName& name);

// Who makes or deletes something aside holds this lock of it (a shared flock(2)) for as long. False: it has
// been removed meanwhile.
bool LockAside(int made_aside);

// Removes what dead makers and deleters left aside in `directory`: what nobody has locked.
Status RemoveLeftovers(const std::string& directory);

}  // namespace stasis
