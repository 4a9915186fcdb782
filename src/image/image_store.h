// Images on this machine: content by digest, layers unpacked once, and the root file systems of containers as
// overlayfs over them.
//
// Below ROOT (mode 0700):
//   content/sha256/HEX       configurations: bytes whose sha256 is their name
//   layers/HEX/diff          a layer unpacked, named by its diff id (the digest of the uncompressed tar)
//   layers/l/SHORT           short links to the diffs, so that 127 lower directories fit into one mount
//   option images.json              which images there are and their tags, written durably spool/ archives on
//   their way in roots/CONTAINER/{layers,upper,work,merged}
//
// Archives are hostile: digests are checked, paths resolved inside the layer (inside_root.h), sizes capped.
// Nothing half-made is visible: layers are unpacked aside and renamed. Thread-safe. Blocks on disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/json.h"
#include "base/names.h"
#include "base/status.h"
#include "oci/platform.h"

namespace stasis::image {

// Bytes that come in from a client. Returns at most `size` bytes into `out`; 0 at the end.
using ReadBytes = std::function<StatusOr<size_t>(char* out, size_t size)>;
// One line for the client, e.g. "Loaded image: busybox:latest".
using OnProgress = std::function<void(const std::string& line)>;

// "name:tag" in full: "busybox" is "busybox:latest"; also "NAME@sha256:...". Checked characters and lengths
// (distribution/reference). Messages are Docker's: "invalid reference format".
StatusOr<std::string> NormalizeReference(std::string_view raw);

// NormalizeReference of a name that an image is about to be given. kInvalidArgument also for the name
// "sha256", with which a tag would look like an id, and for names with a digest.
StatusOr<std::string> NormalizeNewTag(std::string_view raw);

struct Image {
  Digest id;                      // digest of the configuration
  std::vector<std::string> tags;  // "name:tag", sorted
  std::vector<Digest> layers;     // diff ids, lowest first
  // The image-spec configuration document, whole, an object; shared, for it may be large. Never null in what
  // the store returns.
  std::shared_ptr<const Json> config;
  absl::Time created;
  oci::Platform platform;  // as the configuration says
  uint64_t size = 0;       // bytes of all layers, unpacked
  // Why the configuration or a layer of it cannot be used; empty when it is whole. A damaged image keeps its
  // name and its layers, can be removed, and is made whole by loading it again. `config` is then empty.
  std::string damage = {};
  bool layers_known = true;  // false only of a damaged one: which layers it needs cannot be read either
};

struct ImportOptions {
  std::string reference = {};  // none: the image has no name
  std::string message = {};
  // Dockerfile lines (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR).
  std::vector<std::string> changes = {};
  oci::Platform platform = oci::NativePlatform();
};

// A container's own layer that was replaced by ImageStore::ReplaceUpper and then kept.
struct KeptUpper {
  std::string path;  // its directory
  absl::Time at;     // when it was kept; each a millisecond later than the one before, at least
};

struct RemoveResult {
  Image image;                        // as it was found
  std::vector<std::string> untagged;  // references
  std::vector<std::string> deleted;   // digests
};

class ImageStore {
 public:
  // Makes ROOT where it is missing; removes what a crash left half-made. `root` is absolute, without "," ":"
  // and "\\". One store at a time for one directory: the caller's lock sees to that.
  //
  // A layer is collected only when it is certain that nothing needs it: not while the list of layers of any
  // image or root cannot be read. A list of images that is missing beside configurations is made again from
  // these, without tags. kDataLoss: the list is damaged; the same is done with `recover`, and the damaged
  // file is kept as images.json.damaged.
  static StatusOr<std::unique_ptr<ImageStore>> Open(const std::string& root, bool recover = false);
  virtual ~ImageStore() = default;

  // `docker load`: a docker-archive or an OCI layout, as tar, plain, gzip or zstd. Returns what was loaded.
  virtual StatusOr<std::vector<Image>> Load(const ReadBytes& read, const OnProgress& progress,
                                            std::stop_token cancel) = 0;
  // `docker import`: a tar of a root file system becomes an image of one layer.
  virtual StatusOr<Image> Import(const ReadBytes& read, const ImportOptions& options,
                                 std::stop_token cancel) = 0;

  virtual std::vector<Image> List() const = 0;
  // By reference, full id ("sha256:..." or hex) or unambiguous prefix of it. kNotFound "No such image: %s".
  virtual StatusOr<Image> Find(const std::string& reference_or_id) const = 0;
  // Removes a tag, and the image when it was the last. `in_use`: asked with the id whether containers need
  // it: returns an error that is passed on (409) unless `force` and only a tag goes.
  virtual StatusOr<RemoveResult> Remove(const std::string& reference_or_id, bool force,
                                        const std::function<Status(const Image&)>& in_use) = 0;
  virtual Status Tag(const Digest& id, const std::string& reference) = 0;

  // ---- root file systems of containers ----
  // Makes the container's own layer over the image's; the image's layers stay as long as it does. Durable.
  // Idempotent. kDataLoss: the image is damaged.
  virtual Status CreateRoot(const ContainerId& container, const Image& image) = 0;
  // Mounts it (again, after a reboot); returns the merged directory. Idempotent.
  virtual StatusOr<std::string> MountRoot(const ContainerId& container, const Image& image) = 0;
  // Where the container's own writes are.
  virtual std::string UpperDirectory(const ContainerId& container) const = 0;
  // What is below that: the image's layers, the highest first.
  virtual StatusOr<std::vector<std::string>> LowerDirectories(const ContainerId& container) const = 0;
  virtual StatusOr<std::vector<std::string>> LowerDirectories(const Image& image) const = 0;
  virtual Status UnmountRoot(const ContainerId& container) = 0;
  // Puts another directory in place of the container's own layer, which is unmounted for that: `fill` is
  // given an empty one. On an error what was there is there still. Durable once it is kept, where what `fill`
  // made is by then.
  virtual Status ReplaceUpper(const ContainerId& container, const std::function<Status(int)>& fill) = 0;
  // Whether neither of these has been called since, be it by an earlier program: which one is then for the
  // caller to know.
  virtual bool IsUpperReplaced(const ContainerId& container) const = 0;
  // What was there becomes the last of KeptUppers. Idempotent.
  virtual Status KeepUpper(const ContainerId& container) = 0;
  // The oldest first. Each stays until it is removed, or the root is.
  virtual StatusOr<std::vector<KeptUpper>> KeptUppers(const ContainerId& container) = 0;
  // At once as far as KeptUppers shows, whatever dies in it.
  virtual Status RemoveKeptUpper(const KeptUpper& kept) = 0;
  // What was there comes back. Idempotent.
  virtual Status RevertUpper(const ContainerId& container) = 0;
  // Unmounts and removes the container's layer. Idempotent.
  virtual Status RemoveRoot(const ContainerId& container) = 0;
};

}  // namespace stasis::image
