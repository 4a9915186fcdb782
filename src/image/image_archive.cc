#include "image/image_archive.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "image/sha256.h"
#include "image/tar_reader.h"
#include "oci/seccomp.h"

namespace stasis::image {
namespace {

constexpr size_t kMaxDocument = 4 << 20;
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

Status CheckDigest(const ReadBytes& read, const Digest& expected) {
  Sha256 hash;
  std::string buffer(kBlock, '\0');
  while (true) {
    STASIS_ASSIGN_OR_RETURN(size_t got, read(buffer.data(), buffer.size()));
    if (got == 0) break;
    hash.Update({buffer.data(), got});
  }
  Digest digest = hash.Finish();
  if (digest == expected) return absl::OkStatus();
  return InvalidArgument("blob digest mismatch: want " + expected.str() + ", got " + digest.str());
}

// The tags an OCI layout gives an image. A ref.name of "latest" alone is no name.
std::vector<std::string> LayoutTags(const oci::Descriptor& descriptor) {
  for (const char* key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"}) {
    auto found = descriptor.annotations.find(key);
    if (found == descriptor.annotations.end() || found->second.find_first_of(":/") == std::string::npos)
      continue;
    StatusOr<std::string> tag = NormalizeReference(found->second);
    if (tag.ok()) return {*tag};
  }
  return {};
}

}  // namespace

StatusOr<std::unique_ptr<ImageArchive>> ImageArchive::Spool(const ReadBytes& read, const std::string& spool,
                                                            std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(TemporaryDirectory directory, TemporaryDirectory::Create(spool, kAsidePrefix));
  std::unique_ptr<ImageArchive> archive(new ImageArchive(std::move(directory)));
  STASIS_ASSIGN_OR_RETURN(auto tar, TarReader::Open(read, cancel));
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
      STASIS_ASSIGN_OR_RETURN(UniqueFd out, OpenFile(directory_.path() + "/" + file.stored,
                                                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
      TarBlock block;
      uint64_t end = 0;
      while (true) {
        STASIS_ASSIGN_OR_RETURN(bool more, tar.NextBlock(&block));
        if (!more) break;
        // A digest covers every byte, so holes are read back as the zeros they are.
        if (block.offset < end) return InvalidArgument("image archive: overlapping content: " + path);
        if (::lseek(out.get(), static_cast<off_t>(block.offset), SEEK_SET) < 0)
          return ErrnoError(errno, "lseek");
        STASIS_RETURN_IF_ERROR(WriteAll(out.get(), block.bytes));
        end = block.offset + block.bytes.size();
      }
      break;
    }
    default:
      return absl::OkStatus();  // directories, and what no image archive has
  }
  files_[path] = std::move(file);
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

StatusOr<std::string> ImageArchive::ReadDocument(const std::string& path) const {
  STASIS_ASSIGN_OR_RETURN(std::string stored, Locate(path));
  StatusOr<std::string> text = ReadFile(stored, kMaxDocument);
  if (text.status().code() == StatusCode::kOutOfRange)
    return InvalidArgument("image archive: too large: " + path);
  return text;
}

StatusOr<std::string> ImageArchive::ReadBlob(const oci::Descriptor& descriptor) const {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadDocument(BlobPath(descriptor.digest)));
  if (Sha256Of(text) != descriptor.digest) {
    return InvalidArgument("blob digest mismatch: " + descriptor.digest.str());
  }
  return text;
}

StatusOr<ReadBytes> ImageArchive::OpenLayer(const ArchivedImage::LayerFile& layer) const {
  STASIS_ASSIGN_OR_RETURN(std::string stored, Locate(layer.path));
  if (layer.digest) {
    STASIS_ASSIGN_OR_RETURN(UniqueFd once, OpenFile(stored, O_RDONLY));
    STASIS_RETURN_IF_ERROR(CheckDigest(ReadFrom(std::move(once)), *layer.digest));
  }
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenFile(stored, O_RDONLY));
  return ReadFrom(std::move(file));
}

StatusOr<std::vector<ArchivedImage>> ImageArchive::Images() const {
  if (Has("manifest.json")) return DockerImages();
  if (Has("index.json")) return LayoutImages();
  return InvalidArgument("image archive: neither manifest.json nor index.json is in it");
}

StatusOr<std::vector<ArchivedImage>> ImageArchive::DockerImages() const {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadDocument("manifest.json"));
  StatusOr<Json> manifest = ParseJson(text);
  if (!manifest.ok()) return Annotate(manifest.status(), "manifest.json");
  STASIS_ASSIGN_OR_RETURN(std::vector<oci::ArchiveImage> listed, oci::ReadArchiveManifest(*manifest));
  std::vector<ArchivedImage> out;
  for (const oci::ArchiveImage& item : listed) {
    ArchivedImage image;
    STASIS_ASSIGN_OR_RETURN(image.config_text, ReadDocument(item.config));
    STASIS_ASSIGN_OR_RETURN(Json config, ParseJson(image.config_text));
    STASIS_ASSIGN_OR_RETURN(image.config, oci::ReadImageConfig(config));
    if (item.layers.size() != image.config.layers.size()) {
      return InvalidArgument("invalid manifest, layers length mismatch: expected " +
                             std::to_string(image.config.layers.size()) + ", got " +
                             std::to_string(item.layers.size()));
    }
    for (const std::string& path : item.layers) image.layers.push_back({path, std::nullopt});
    for (const std::string& tag : item.tags) {
      STASIS_ASSIGN_OR_RETURN(std::string reference, NormalizeReference(tag));
      image.tags.push_back(std::move(reference));
    }
    out.push_back(std::move(image));
  }
  return out;
}

StatusOr<std::vector<ArchivedImage>> ImageArchive::LayoutImages() const {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadDocument("index.json"));
  StatusOr<Json> index = ParseJson(text);
  if (!index.ok()) return Annotate(index.status(), "index.json");
  STASIS_ASSIGN_OR_RETURN(std::vector<oci::Descriptor> listed, oci::ReadImageIndex(*index));
  std::vector<ArchivedImage> out;
  for (const oci::Descriptor& descriptor : listed) {
    STASIS_ASSIGN_OR_RETURN(ArchivedImage image, LayoutImage(descriptor));
    out.push_back(std::move(image));
  }
  return out;
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

StatusOr<ArchivedImage> ImageArchive::LayoutImage(const oci::Descriptor& listed) const {
  STASIS_ASSIGN_OR_RETURN(oci::Descriptor descriptor, ForThisMachine(listed));
  STASIS_ASSIGN_OR_RETURN(std::string manifest_text, ReadBlob(descriptor));
  STASIS_ASSIGN_OR_RETURN(Json manifest_json, ParseJson(manifest_text));
  STASIS_ASSIGN_OR_RETURN(oci::ImageManifest manifest, oci::ReadImageManifest(manifest_json));
  ArchivedImage image;
  STASIS_ASSIGN_OR_RETURN(image.config_text, ReadBlob(manifest.config));
  STASIS_ASSIGN_OR_RETURN(Json config, ParseJson(image.config_text));
  STASIS_ASSIGN_OR_RETURN(image.config, oci::ReadImageConfig(config));
  if (manifest.layers.size() != image.config.layers.size()) {
    return InvalidArgument("invalid manifest, layers length mismatch: expected " +
                           std::to_string(image.config.layers.size()) + ", got " +
                           std::to_string(manifest.layers.size()));
  }
  for (const oci::Descriptor& layer : manifest.layers) {
    image.layers.push_back({BlobPath(layer.digest), layer.digest});
  }
  image.tags = LayoutTags(listed);
  return image;
}

}  // namespace stasis::image
