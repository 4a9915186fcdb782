// What the checkpoint routes ask of the engine. All methods check the checkpoint's name
// ("Invalid checkpoint ID (%s), only %s are allowed") and the directory.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "backend/progress.h"
#include "backend/streams.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::backend {

struct CheckpointCreate {
  std::string name;
  std::string directory;  // empty: the container's own; else absolute: DIRECTORY/NAME
  bool exit = false;
  std::string freeze = {};  // "cow", "plain", or empty: as the container's label says
  OnProgress on_progress = {};
};

// ---- extensions of ours

enum class FileChangeKind { kModified = 0, kAdded = 1, kDeleted = 2 };  // Docker's numbers

struct FileChange {
  std::string path;  // absolute, as the container has it
  FileChangeKind kind = FileChangeKind::kModified;
};

struct CheckpointDiff {
  std::string from;          // a checkpoint
  std::string to;            // another; empty: the container's files as they are now
  std::string directory;     // of both
  bool since_image = false;  // from the image to `from`; then without `to`
};

// A checkpoint among all of a store.
struct CheckpointSummary {
  std::string container;       // id of the container that has it; in a user's directory, that it was made of
  std::string container_name;  // empty: not known
  std::string name;
  bool files_only = false;  // a safety checkpoint: what a restore replaced of the container's files
  std::string image;        // as the container's user named it
  std::string image_id;
  absl::Time created = absl::InfinitePast();
  uint64_t bytes = 0;
  uint64_t stored_bytes = 0;
  uint64_t frozen_us = 0;
  std::string damage = {};  // why it cannot be read; then all but names is empty
};

struct UndoneRestore {
  std::string restored;  // the safety checkpoint whose files the container has now; it is there no longer
  std::string kept;      // the one that keeps what these replaced; empty: they were the same
};

// Where a checkpoint is kept that comes as an archive.
struct CheckpointImport {
  std::string container;  // empty: of none; then a directory is given
  std::string name;       // empty: the one that it had
  std::string directory;  // empty: the container's own
};

// What CRIU's images say of the processes of a checkpoint.
struct ProcessInspection {
  std::string directory;
  uint32_t pid = 0;  // of this one only; 0: of all
  bool files = false;
  bool sockets = false;
  bool memory = false;  // mapping by mapping
};

// Of all checkpoints whose content is in one store: the containers' own (an empty directory), or those of a
// directory that a user named.

struct CheckpointDamage {
  std::string container;  // as CheckpointSummary has it; empty: not known
  std::string name;
  std::string reason;
  std::string container_name = {};
};

struct CheckpointVerification {
  uint64_t bytes = 0;  // read
  uint64_t checkpoints = 0;
  std::vector<std::string> damage;  // of files of the store
  std::vector<CheckpointDamage> damaged;
};

struct CheckpointUsage {
  std::string container;  // as CheckpointSummary has it; empty: not known
  std::string name;
  uint64_t bytes = 0;         // of memory and files
  uint64_t stored_bytes = 0;  // on disk, shared with others or not
  uint64_t own_bytes = 0;     // what its deletion would give back
  std::string container_name = {};
  // Why it cannot be read in full. Then the sizes are of what was found of it, and others that share more
  // with it would give back less than they say.
  std::string damage = {};
};

struct CheckpointCreated {
  std::vector<std::string> warnings = {};  // what a restore will not bring back, one sentence each
};

class CheckpointBackend {
 public:
  virtual ~CheckpointBackend() = default;

  // kNotFound "No such container: %s"; kFailedPrecondition "Container %s not running"; kAlreadyExists
  // "checkpoint with name %s already exists for container %s"; kInternal "Cannot checkpoint container %s:
  // ...".
  virtual StatusOr<CheckpointCreated> CreateCheckpoint(const std::string& container,
                                                       const CheckpointCreate& request,
                                                       std::stop_token cancel) = 0;
  virtual StatusOr<std::vector<std::string>> ListCheckpoints(const std::string& container,
                                                             const std::string& directory) = 0;
  // kNotFound "checkpoint %s does not exist for container %s".
  virtual Status DeleteCheckpoint(const std::string& container, const std::string& name,
                                  const std::string& directory) = 0;
  // All of one store: of the containers' own, safety checkpoints among them, or those in a directory. GET
  // /checkpoints. kNotFound: no such directory.
  virtual StatusOr<std::vector<CheckpointSummary>> ListAllCheckpoints(const std::string& directory) = 0;
  // Gives a container that does not run the files back that a restore replaced: those kept as `name`, or the
  // last. What it has now is kept in their place, so that a second one goes forth again. POST
  // /containers/{id}/undo. kNotFound: there are none. kFailedPrecondition: it runs.
  virtual StatusOr<UndoneRestore> UndoRestore(const std::string& container, const std::string& name,
                                              std::stop_token cancel) = 0;
  // With `directory`, `container` may be empty, here, in DiffCheckpoint but for the files as they are now, in
  // InspectProcesses and in ExportCheckpoint: whoever it was made of. The manifest as JSON. An extension of
  // ours: GET /containers/{id}/checkpoints/{checkpoint}/json.
  virtual StatusOr<Json> InspectCheckpoint(const std::string& container, const std::string& name,
                                           const std::string& directory) = 0;
  // The container's own files that differ, by path; volumes are not among them. GET
  // /containers/{id}/checkpoints/{checkpoint}/diff. kFailedPrecondition: a checkpoint without files.
  // kDataLoss: one is damaged. kNotFound: also, without a container, that its image is not here.
  virtual StatusOr<std::vector<FileChange>> DiffCheckpoint(const std::string& container,
                                                           const CheckpointDiff& request,
                                                           std::stop_token cancel) = 0;

  // One object for each process, parents first: pid, parent, name, state, threads, executable,
  // working_directory, root_directory, and, where it is asked for, "files", "sockets", "memory" and
  // "mappings" (docs/user-guide.md). Lists are cut at a length that no ordinary container has, and say so.
  // GET /containers/{id}/checkpoints/{checkpoint}/processes. kDataLoss: the checkpoint is damaged.
  // kResourceExhausted: it holds more than this is made for. What `on_process` returns.
  using OnProcess = std::function<Status(const Json& process)>;
  virtual Status InspectProcesses(const std::string& container, const std::string& name,
                                  const ProcessInspection& request, const OnProcess& on_process,
                                  std::stop_token cancel) = 0;

  // Writes the checkpoint as one file (docs/formats/checkpoint-archive.md). GET
  // /containers/{id}/checkpoints/{checkpoint}/export. kDataLoss: it is damaged; then what was written is
  // refused by an import. What `sink` returns.
  virtual Status ExportCheckpoint(const std::string& container, const std::string& name,
                                  const std::string& directory, const ByteSink& sink,
                                  std::stop_token cancel) = 0;
  // Reads what ExportCheckpoint wrote, and returns the checkpoint's name; it is there whole or not at all.
  // POST /checkpoints/import. kInvalidArgument: no such archive. kDataLoss: a damaged one. kAlreadyExists.
  virtual StatusOr<std::string> ImportCheckpoint(const ByteSource& body, const CheckpointImport& request,
                                                 std::stop_token cancel) = 0;

  // Reads all of it. Damage is an answer, not an error. POST /checkpoints/verify.
  virtual StatusOr<CheckpointVerification> VerifyCheckpoints(const std::string& directory,
                                                             const OnProgress& on_progress,
                                                             std::stop_token cancel) = 0;
  // Gives back the disk space of what is gone, and says how much. POST /checkpoints/prune. kUnavailable: it
  // is being done. kDataLoss: a checkpoint is damaged, so that what it needs is not known.
  virtual StatusOr<uint64_t> PruneCheckpoints(const std::string& directory, const OnProgress& on_progress,
                                              std::stop_token cancel) = 0;
  // GET /checkpoints/usage. Damage of one is an answer, not an error.
  virtual StatusOr<std::vector<CheckpointUsage>> MeasureCheckpoints(const std::string& directory,
                                                                    const OnProgress& on_progress,
                                                                    std::stop_token cancel) = 0;
};

}  // namespace stasis::backend
