#include "engine/container_directories.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "engine/record_codec.h"
#include "linux/files.h"
#include "manifest/checkpoint_directory.h"

namespace stasis::engine {
namespace {

constexpr char kRecordFile[] = "record.json";
constexpr std::string_view kRemovedPrefix = ".removed-";
constexpr size_t kMaxRecord = 16 << 20;
constexpr size_t kShortId = 12;
constexpr int kLostCode = 255;  // the exit code of a run whose end nobody saw

// The record without what happened to the container since it was made.
std::string AdoptionText(ContainerRecord record) {
  record.state = {};
  record.restart_count = 0;
  record.stopped_by_user = false;
  record.ended_by_checkpoint = false;
  record.exiting_checkpoint.reset();
  return EncodeRecord(record);
}

StatusOr<ContainerRecord> DecodeOwn(const ContainerId& id, std::string_view text) {
  STASIS_ASSIGN_OR_RETURN(DecodedRecord decoded, DecodeRecord(text));
  if (decoded.record.id != id) return DataLoss("record: it is of another container");
  return std::move(decoded.record);
}

Status SyncPath(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd opened, OpenDirectory(directory));
  return SyncDirectory(opened.get());
}

}  // namespace

StatusOr<ContainerDirectories> ContainerDirectories::Open(const Paths& paths) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(paths.Containers()));
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(paths.Containers()));
  for (const std::string& name : names) {
    if (!name.starts_with(kAsidePrefix)) continue;
    STASIS_RETURN_IF_ERROR(RemoveTree(paths.Containers() + "/" + name));
  }
  return ContainerDirectories(paths);
}

Status ContainerDirectories::Create(const ContainerRecord& record) const {
  STASIS_ASSIGN_OR_RETURN(TemporaryDirectory aside,
                          TemporaryDirectory::Create(paths_.Containers(), kAsidePrefix));
  STASIS_RETURN_IF_ERROR(WriteFileDurably(aside.path() + "/" + kRecordFile, AdoptionText(record)));
  const std::string path = paths_.Container(record.id);
  if (::rename(aside.path().c_str(), path.c_str()) != 0) return ErrnoError(errno, "rename " + path);
  aside.Release();
  return SyncPath(paths_.Containers());
}

bool ContainerDirectories::AdoptionDiffers(const ContainerRecord& before, const ContainerRecord& after) {
  return AdoptionText(before) != AdoptionText(after);
}

Status ContainerDirectories::Save(const ContainerRecord& record) const {
  const std::string directory = paths_.Container(record.id);
  if (record.unreadable || !Exists(directory)) return {};
  const std::string text = AdoptionText(record);
  const StatusOr<std::string> there = ReadFile(directory + "/" + kRecordFile, kMaxRecord);
  if (there.ok() && *there == text) return {};
  return WriteFileDurably(directory + "/" + kRecordFile, text);
}

std::string ContainerDirectories::RemovedPath(const ContainerId& id) const {
  return paths_.Containers() + "/" + std::string(kRemovedPrefix) + id.str();
}

Status ContainerDirectories::MarkRemoved(const ContainerId& id) const {
  if (::rename(paths_.Container(id).c_str(), RemovedPath(id).c_str()) != 0 && errno != ENOENT)
    return ErrnoError(errno, "rename " + paths_.Container(id));
  return SyncPath(paths_.Containers());
}

Status ContainerDirectories::ClearRemoved(const ContainerId& id) const {
  const StatusOr<std::vector<std::string>> names = ListDirectory(RemovedPath(id));
  if (absl::IsNotFound(names.status())) return {};
  STASIS_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) STASIS_RETURN_IF_ERROR(RemoveTree(RemovedPath(id) + "/" + name));
  return {};
}

Status ContainerDirectories::ForgetRemoved(const ContainerId& id) const {
  return RemoveTree(RemovedPath(id));
}

StatusOr<std::vector<ContainerId>> ContainerDirectories::List() const {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(paths_.Containers()));
  std::vector<ContainerId> ids;
  for (const std::string& name : names) {
    StatusOr<ContainerId> id = ContainerId::Parse(name);
    if (id.ok()) ids.push_back(*std::move(id));
  }
  return ids;
}

StatusOr<std::vector<ContainerId>> ContainerDirectories::ListRemoved() const {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(paths_.Containers()));
  std::vector<ContainerId> ids;
  for (const std::string& name : names) {
    if (!name.starts_with(kRemovedPrefix)) continue;
    StatusOr<ContainerId> id = ContainerId::Parse(name.substr(kRemovedPrefix.size()));
    if (id.ok()) ids.push_back(*std::move(id));
  }
  return ids;
}

StatusOr<ContainerRecord> ContainerDirectories::ReadRecord(const ContainerId& id) const {
  const StatusOr<std::string> text = ReadFile(paths_.Container(id) + "/" + kRecordFile, kMaxRecord);
  StatusOr<ContainerRecord> own = text.ok() ? DecodeOwn(id, *text) : text.status();
  if (own.ok()) return own;
  // A checkpoint holds the record of its moment.
  std::optional<ContainerRecord> saved;
  const auto has_record = [&](const Manifest& manifest) {
    StatusOr<ContainerRecord> record = DecodeOwn(id, manifest.engine_record);
    if (record.ok()) saved = *std::move(record);
    return record.ok();
  };
  const auto newest = FindNewest(paths_.Checkpoints(id), has_record);
  if (newest.ok() && saved) return *std::move(saved);
  return own.status();
}

ContainerRecord ContainerDirectories::Adopt(const ContainerId& id) const {
  StatusOr<ContainerRecord> read = ReadRecord(id);
  if (!read.ok()) return UnreadableRecord(id, id.str().substr(0, kShortId), read.status());
  ContainerRecord record = *std::move(read);
  if (record.name.empty()) record.name = id.str().substr(0, kShortId);
  record.state = {};
  record.restart_count = 0;
  record.exiting_checkpoint.reset();
  if (Exists(paths_.Bundle(id)) || Exists(paths_.Checkpoints(id))) {
    record.state.phase = Phase::kExited;
    record.state.exit_code = kLostCode;
    record.state.error = "the database did not know it: it was adopted from its directory";
    record.state.finished_at = absl::Now();
  }
  // Neither a policy nor --rm decides about it: its files and checkpoints are for the user to look at.
  record.stopped_by_user = true;
  record.ended_by_checkpoint = true;
  return record;
}

}  // namespace stasis::engine
