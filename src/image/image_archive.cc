#include "image/image_archive.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/sha256.h"
#include "image/tar_reader.h"
#include "oci/seccomp.h"

namespace stasis::image {
namespace {

constexpr size_t kMaxDocument = 4 << 20;
constexpr size_t kMaxConfig = 1 << 20;
constexpr size_t kMaxConfigs = 16 << 20;  // of one archive
constexpr size_t kMaxEntries = 100'000;
constexpr size_t kMaxPath = 4096;
constexpr int kMaxLinks = 8;
constexpr int kMaxNestedIndexes = 4;
constexpr size_t kBlock = 256 << 10;

// "./a//b" is "a/b", and "c" seen from the directory "a" is "a/c"; ".." is followed only where the archive's
// own links need it (`allow_up`). Names are keys here, never paths on disk.
StatusOr<std::string> CleanPath(const std::string& base, const std::string& path, bool allow_up) {
  if (path.empty() || path.size() > kMaxPath || base.size() > kMaxPath) {
    return InvalidArgument("image archive: a bad name");
  }
  if (path.front() == '/') return InvalidArgument("image archive: absolute path refused: " + path);
  std::vector<std::string> parts;
  std::string all = base.empty() ? path : base + "/" + path;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = std::min(all.find('/', begin), all.size());
    std::string part = all.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(std::move(part));
    } else if (allow_up && !parts.empty()) {
      parts.pop_back();
    } else {
      return InvalidArgument("image archive: path with .. refused: " + path);
    }
  }
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : "/") + part;
  return out;
}

std::string DirectoryOf(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == path.npos ? "" : path.substr(0, slash);
}

std::string BlobPath(const Digest& digest) { return "blobs/sha256/" + Hex(digest); }

// Reads a descriptor that it owns. A function object must be copyable, so the owner is shared.
ReadBytes ReadFrom(UniqueFd file) {
  auto shared = std::make_shared<UniqueFd>(std::move(file));
  return [shared](char* out, size_t size) -> StatusOr<size_t> {
    while (true) {
      ssize_t got = ::read(shared->get(), out, size);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) return ErrnoError(errno, "read layer");
    }
  };
}

Status CompareDigests(const Digest& got, const Digest& want) {
  if (got == want) return absl::OkStatus();
  return InvalidArgument("blob digest mismatch: want " + want.str() + ", got " + got.str());
}

Status CheckDigest(const ReadBytes& read, const Digest& expected, const std::stop_token& cancel) {
  Sha256 hash;
  std::string buffer(kBlock, '\0');
  while (true) {
    STASIS_ASSIGN_OR_RETURN(size_t got, read(buffer.data(), buffer.size()));
    if (got == 0) break;
    if (cancel.stop_requested()) return Cancelled("cancelled");
    hash.Update({buffer.data(), got});
  }
  return CompareDigests(hash.Finish(), expected);
}

// The tags an OCI layout gives an image. A ref.name of "latest" alone is no name.
std::vector<std::string> LayoutTags(const oci::Descriptor& descriptor) {
  for (const char* key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"}) {
    auto found = descriptor.annotations.find(key);
    if (found == descriptor.annotations.end() || found->second.find_first_of(":/") == std::string::npos)
      continue;
    StatusOr<std::string> tag = NormalizeNewTag(found->second);
    if (tag.ok()) return {*tag};
  }
  return {};
}

}  // namespace

StatusOr<std::unique_ptr<ImageArchive>> ImageArchive::Spool(const ReadBytes& read, const std::string& spool,
                                                            std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(TemporaryDirectory directory, TemporaryDirectory::Create(spool, kAsidePrefix));
  STASIS_ASSIGN_OR_RETURN(const uint64_t limit, UncompressedLimit(spool));
  std::unique_ptr<ImageArchive> archive(new ImageArchive(std::move(directory), limit));
  STASIS_ASSIGN_OR_RETURN(auto tar, TarReader::Open(read, cancel, limit));
  TarEntry entry;
  while (true) {
    STASIS_ASSIGN_OR_RETURN(bool more, tar->Next(&entry));
    if (!more) break;
    if (archive->files_.size() == kMaxEntries) return InvalidArgument("image archive: too many entries");
    STASIS_RETURN_IF_ERROR(archive->Take(*tar, entry));
  }
  return archive;
}

Status ImageArchive::Take(TarReader& tar, const TarEntry& entry) {
  STASIS_ASSIGN_OR_RETURN(std::string path, CleanPath("", entry.path, /*allow_up=*/false));
  File file;
  switch (entry.type) {
    case EntryType::kSymlink: {
      STASIS_ASSIGN_OR_RETURN(file.link, CleanPath(DirectoryOf(path), entry.link_target, /*allow_up=*/true));
      break;
    }
    case EntryType::kHardlink: {
      STASIS_ASSIGN_OR_RETURN(file.link, CleanPath("", entry.link_target, /*allow_up=*/false));
      break;
    }
    case EntryType::kFile: {
      file.stored = std::to_string(files_.size());
      STASIS_RETURN_IF_ERROR(TakeContent(tar, entry, directory_.path() + "/" + file.stored));
      break;
    }
    default:
      return absl::OkStatus();  // directories, and what no image archive has
  }
  files_[path] = std::move(file);
  return absl::OkStatus();
}

// A digest covers every byte, so holes are read back as the zeros they are, and count.
Status ImageArchive::TakeContent(TarReader& tar, const TarEntry& entry, const std::string& stored) {
  const auto size = static_cast<uint64_t>(std::max<int64_t>(entry.size, 0));
  if (size > left_) return InvalidArgument("image archive: too large: " + entry.path);
  left_ -= size;
  STASIS_ASSIGN_OR_RETURN(UniqueFd out, OpenFile(stored, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TarBlock block;
  uint64_t end = 0;
  while (true) {
    STASIS_ASSIGN_OR_RETURN(bool more, tar.NextBlock(&block));
    if (!more) break;
    if (block.offset < end) return InvalidArgument("image archive: overlapping content: " + entry.path);
    if (block.offset > size || block.bytes.size() > size - block.offset) {
      return InvalidArgument("image archive: content beyond its size: " + entry.path);
    }
    if (::lseek(out.get(), static_cast<off_t>(block.offset), SEEK_SET) < 0) return ErrnoError(errno, "lseek");
    STASIS_RETURN_IF_ERROR(WriteAll(out.get(), block.bytes));
    end = block.offset + block.bytes.size();
  }
  if (::ftruncate(out.get(), static_cast<off_t>(size)) != 0) return ErrnoError(errno, "ftruncate " + stored);
  return absl::OkStatus();
}

StatusOr<std::string> ImageArchive::Locate(const std::string& path) const {
  STASIS_ASSIGN_OR_RETURN(std::string current, CleanPath("", path, /*allow_up=*/false));
  for (int hops = 0; hops < kMaxLinks; ++hops) {
    auto found = files_.find(current);
    if (found == files_.end()) return InvalidArgument("image archive: no such file: " + path);
    if (found->second.link.empty()) return directory_.path() + "/" + found->second.stored;
    current = found->second.link;
  }
  return InvalidArgument("image archive: too many links: " + path);
}

StatusOr<std::string> ImageArchive::ReadDocument(const std::string& path, size_t limit) const {
  STASIS_ASSIGN_OR_RETURN(std::string stored, Locate(path));
  StatusOr<std::string> text = ReadFile(stored, limit);
  if (text.status().code() == StatusCode::kOutOfRange)
    return InvalidArgument("image archive: too large: " + path);
  return text;
}

StatusOr<std::string> ImageArchive::ReadBlob(const oci::Descriptor& descriptor) const {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadDocument(BlobPath(descriptor.digest), kMaxDocument));
  STASIS_RETURN_IF_ERROR(CompareDigests(Sha256Of(text), descriptor.digest));
  return text;
}

StatusOr<ReadBytes> ImageArchive::OpenLayer(const ArchivedImage::LayerFile& layer,
                                            const std::stop_token& cancel) const {
  STASIS_ASSIGN_OR_RETURN(std::string stored, Locate(layer.path));
  if (layer.digest) {
    STASIS_ASSIGN_OR_RETURN(UniqueFd once, OpenFile(stored, O_RDONLY));
    STASIS_RETURN_IF_ERROR(CheckDigest(ReadFrom(std::move(once)), *layer.digest, cancel));
  }
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenFile(stored, O_RDONLY));
  return ReadFrom(std::move(file));
}

StatusOr<std::vector<ArchivedImage>> ImageArchive::Images(const std::stop_token& cancel) const {
  Found found;
  if (Has("manifest.json")) {
    STASIS_RETURN_IF_ERROR(FindDockerImages(cancel, &found));
  } else if (Has("index.json")) {
    STASIS_RETURN_IF_ERROR(FindLayoutImages(cancel, &found));
  } else {
    return InvalidArgument("image archive: neither manifest.json nor index.json is in it");
  }
  return std::move(found.images);
}

// `image` has its tags and layers; its configuration is at `config` in the archive.
Status ImageArchive::Add(const std::string& config, const std::optional<Digest>& digest, ArchivedImage image,
                         Found* found) const {
  STASIS_ASSIGN_OR_RETURN(std::string stored, Locate(config));
  auto [known, is_new] = found->by_config.try_emplace(std::move(stored), found->images.size());
  if (!is_new) {
    std::vector<std::string>& tags = found->images[known->second].tags;
    tags.insert(tags.end(), image.tags.begin(), image.tags.end());
    return absl::OkStatus();
  }
  STASIS_ASSIGN_OR_RETURN(image.config_text, ReadDocument(config, kMaxConfig));
  if (digest) {
    STASIS_RETURN_IF_ERROR(CompareDigests(Sha256Of(image.config_text), *digest));
  }
  found->config_bytes += image.config_text.size();
  if (found->config_bytes > kMaxConfigs)
    return InvalidArgument("image archive: configurations are too large");
  STASIS_ASSIGN_OR_RETURN(Json document, ParseJson(image.config_text));
  STASIS_ASSIGN_OR_RETURN(const oci::ImageConfig read, oci::ReadImageConfig(document));
  if (image.layers.size() != read.layers.size()) {
    return InvalidArgument("invalid manifest, layers length mismatch: expected " +
                           std::to_string(read.layers.size()) + ", got " +
                           std::to_string(image.layers.size()));
  }
  found->images.push_back(std::move(image));
  return absl::OkStatus();
}

Status ImageArchive::FindDockerImages(const std::stop_token& cancel, Found* found) const {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadDocument("manifest.json", kMaxDocument));
  StatusOr<Json> manifest = ParseJson(text);
  if (!manifest.ok()) return Annotate(manifest.status(), "manifest.json");
  STASIS_ASSIGN_OR_RETURN(std::vector<oci::ArchiveImage> listed, oci::ReadArchiveManifest(*manifest));
  for (const oci::ArchiveImage& item : listed) {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    ArchivedImage image;
    for (const std::string& path : item.layers) image.layers.push_back({path, std::nullopt});
    for (const std::string& tag : item.tags) {
      STASIS_ASSIGN_OR_RETURN(std::string reference, NormalizeNewTag(tag));
      image.tags.push_back(std::move(reference));
    }
    STASIS_RETURN_IF_ERROR(Add(item.config, std::nullopt, std::move(image), found));
  }
  return absl::OkStatus();
}

Status ImageArchive::FindLayoutImages(const std::stop_token& cancel, Found* found) const {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadDocument("index.json", kMaxDocument));
  StatusOr<Json> index = ParseJson(text);
  if (!index.ok()) return Annotate(index.status(), "index.json");
  STASIS_ASSIGN_OR_RETURN(std::vector<oci::Descriptor> listed, oci::ReadImageIndex(*index));
  for (const oci::Descriptor& descriptor : listed) {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    STASIS_RETURN_IF_ERROR(FindLayoutImage(descriptor, found));
  }
  return absl::OkStatus();
}

// Goes from an index of several platforms to the manifest of this machine's.
StatusOr<oci::Descriptor> ImageArchive::ForThisMachine(oci::Descriptor descriptor) const {
  for (int depth = 0; depth < kMaxNestedIndexes; ++depth) {
    if (!oci::IsImageIndex(descriptor)) return descriptor;
    STASIS_ASSIGN_OR_RETURN(std::string text, ReadBlob(descriptor));
    STASIS_ASSIGN_OR_RETURN(Json index, ParseJson(text));
    STASIS_ASSIGN_OR_RETURN(std::vector<oci::Descriptor> listed, oci::ReadImageIndex(index));
    auto fits = std::find_if(listed.begin(), listed.end(), [](const oci::Descriptor& item) {
      return item.os.empty() || (item.os == "linux" && item.architecture == oci::NativeArchitecture());
    });
    if (fits == listed.end())
      return InvalidArgument("image index: nothing for linux/" + oci::NativeArchitecture());
    descriptor = *fits;
  }
  return InvalidArgument("image index: nested too deep");
}

Status ImageArchive::FindLayoutImage(const oci::Descriptor& listed, Found* found) const {
  STASIS_ASSIGN_OR_RETURN(oci::Descriptor descriptor, ForThisMachine(listed));
  STASIS_ASSIGN_OR_RETURN(std::string manifest_text, ReadBlob(descriptor));
  STASIS_ASSIGN_OR_RETURN(Json manifest_json, ParseJson(manifest_text));
  STASIS_ASSIGN_OR_RETURN(oci::ImageManifest manifest, oci::ReadImageManifest(manifest_json));
  ArchivedImage image;
  for (const oci::Descriptor& layer : manifest.layers) {
    image.layers.push_back({BlobPath(layer.digest), layer.digest});
  }
  image.tags = LayoutTags(listed);
  return Add(BlobPath(manifest.config.digest), manifest.config.digest, std::move(image), found);
}

}  // namespace stasis::image
