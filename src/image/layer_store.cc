#include "image/layer_store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "image/layer_unpacker.h"
#include "image/tar_reader.h"
#include "linux/files.h"
#include "linux/random_hex.h"

namespace stasis::image {
namespace {

constexpr char kLinks[] = "l";
constexpr char kEmpty[] = "empty";
constexpr size_t kShortBytes = 5;  // ten hex digits: "l/0123456789:" times 127 is under half a page
constexpr size_t kMaxSmallFile = 64;
constexpr mode_t kRootMode = 0755;  // of a layer that says nothing about its root

// Makes l/SHORT -> ../HEX/diff under a name that is free, and returns the name.
StatusOr<std::string> MakeShortLink(const std::string& directory, const Digest& diff_id) {
  std::string target = "../" + Hex(diff_id) + "/diff";
  for (int attempt = 0; attempt < 16; ++attempt) {
    std::string name = RandomHex(kShortBytes);
    std::string path = directory + "/" + kLinks + "/" + name;
    if (::symlink(target.c_str(), path.c_str()) == 0) return name;
    if (errno != EEXIST) return ErrnoError(errno, "symlink " + path);
  }
  return Internal("no free short link");
}

}  // namespace

StatusOr<std::unique_ptr<LayerStore>> LayerStore::Open(const std::string& directory) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(directory + "/" + kLinks));
  STASIS_RETURN_IF_ERROR(MakeDirectories(directory + "/" + kEmpty, kRootMode));
  std::unique_ptr<LayerStore> store(new LayerStore(directory));
  STASIS_RETURN_IF_ERROR(store->RemoveHalfMade());
  return store;
}

std::string LayerStore::PathOf(const Digest& diff_id) const { return directory_ + "/" + Hex(diff_id); }

// What a crash left: layers being unpacked or removed, and links whose layer never came or is gone.
Status LayerStore::RemoveHalfMade() const {
  STASIS_ASSIGN_OR_RETURN(auto names, ListDirectory(directory_));
  for (const std::string& name : names) {
    if (!name.starts_with(kAsidePrefix)) continue;
    STASIS_RETURN_IF_ERROR(RemoveTree(directory_ + "/" + name));
  }
  std::string links = directory_ + "/" + kLinks;
  STASIS_ASSIGN_OR_RETURN(names, ListDirectory(links));
  for (const std::string& name : names) {
    struct stat info;
    std::string path = links + "/" + name;
    if (::stat(path.c_str(), &info) != 0 && errno == ENOENT) ::unlink(path.c_str());
  }
  return absl::OkStatus();
}

std::optional<Layer> LayerStore::Find(const Digest& diff_id) const {
  StatusOr<std::string> text = ReadFile(PathOf(diff_id) + "/size", kMaxSmallFile);
  if (!text.ok()) return std::nullopt;
  Layer layer = {diff_id, 0};
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), layer.size);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return layer;
}

StatusOr<std::vector<Digest>> LayerStore::List() const {
  STASIS_ASSIGN_OR_RETURN(auto names, ListDirectory(directory_));
  std::vector<Digest> out;
  for (const std::string& name : names) {
    StatusOr<Digest> digest = Digest::Parse("sha256:" + name);
    if (digest.ok()) out.push_back(*std::move(digest));
  }
  return out;
}

StatusOr<Layer> LayerStore::Unpack(const ReadBytes& read, const std::optional<Digest>& expected,
                                   std::stop_token cancel) const {
  STASIS_ASSIGN_OR_RETURN(TemporaryDirectory aside, TemporaryDirectory::Create(directory_, kAsidePrefix));
  std::string diff = aside.path() + "/diff";
  if (::mkdir(diff.c_str(), kRootMode) != 0 || ::chmod(diff.c_str(), kRootMode) != 0) {
    return ErrnoError(errno, "mkdir " + diff);
  }
  STASIS_ASSIGN_OR_RETURN(UniqueFd root, OpenDirectory(diff));
  STASIS_ASSIGN_OR_RETURN(const uint64_t limit, UncompressedLimit(directory_));
  STASIS_ASSIGN_OR_RETURN(auto tar, TarReader::Open(read, cancel, limit));
  STASIS_ASSIGN_OR_RETURN(uint64_t size, UnpackLayer(*tar, root.get(), UnpackLimits(), cancel));
  STASIS_ASSIGN_OR_RETURN(Digest digest, tar->Finish());
  if (expected && digest != *expected) {
    return InvalidArgument("layer digest mismatch: want " + expected->str() + ", got " + digest.str());
  }
  Layer layer = {digest, size};
  STASIS_RETURN_IF_ERROR(Publish(aside.path(), root.get(), layer));
  return layer;
}

// `root` was opened before the layer was written: syncfs(2) reports the errors of writing since then.
Status LayerStore::Publish(const std::string& aside, int root, const Layer& layer) const {
  STASIS_ASSIGN_OR_RETURN(std::string link, MakeShortLink(directory_, layer.diff_id));
  Status status = [&]() -> Status {
    STASIS_RETURN_IF_ERROR(WriteFileAtomically(aside + "/link", link));
    STASIS_RETURN_IF_ERROR(WriteFileAtomically(aside + "/size", std::to_string(layer.size)));
    // All that the name will promise, the short link too. One syncfs(2) takes a twentieth of the time of an
    // fsync(2) for each of many small files, whatever else is dirty: docs/adr/0003.
    if (::syncfs(root) != 0) return ErrnoError(errno, "syncfs " + aside);
    STASIS_ASSIGN_OR_RETURN(UniqueFd parent, OpenDirectory(directory_));
    return PublishByRename(parent.get(), aside.substr(directory_.size() + 1), parent.get(),
                           Hex(layer.diff_id));
  }();
  if (status.code() != StatusCode::kAlreadyExists) return status;
  // Somebody else was faster with the very same bytes.
  ::unlink((directory_ + "/" + kLinks + "/" + link).c_str());
  return absl::OkStatus();
}

StatusOr<std::string> LayerStore::Hide(const Digest& diff_id) const {
  StatusOr<std::string> link = ReadFile(PathOf(diff_id) + "/link", kMaxSmallFile);
  std::string aside = directory_ + "/" + kAsidePrefix + RandomHex(8);
  if (::rename(PathOf(diff_id).c_str(), aside.c_str()) != 0) {
    return ErrnoError(errno, "rename " + PathOf(diff_id));
  }
  if (link.ok()) ::unlink((directory_ + "/" + kLinks + "/" + *link).c_str());
  return aside;
}

StatusOr<std::string> LayerStore::LowerDirectories(const std::vector<Digest>& layers) const {
  std::string out;
  std::set<Digest> named;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    if (!named.insert(*layer).second) continue;
    StatusOr<std::string> link = ReadFile(PathOf(*layer) + "/link", kMaxSmallFile);
    if (!link.ok()) return DataLoss("layer " + layer->str() + " is missing: " + Message(link.status()));
    out += (out.empty() ? "" : ":") + std::string(kLinks) + "/" + *link;
  }
  return out.empty() ? kEmpty : out;
}

}  // namespace stasis::image
