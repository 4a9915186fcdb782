#include "layer/image_layers.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "layer/look.h"
#include "linux/files.h"
#include "linux/inside_root.h"

namespace stasis::layer {
namespace {

// Whether layers below it still show through it.
enum class Cover { kNothing, kOpen, kClosed };

struct Step {
  Cover cover = Cover::kNothing;
  Entry entry;
};

// What one layer has at a path.
StatusOr<Step> LookIn(int layer, const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(const ParentAndName place, SplitPath(path));
  auto parent = OpenBeneath(layer, place.parent, O_PATH | O_DIRECTORY);
  const int error = GetErrno(parent.status());
  // A name that is too long is that of no file which was unpacked.
  if (HasGone(error) || error == ENAMETOOLONG) return Step();
  if (!parent.ok()) return parent.status();
  Step step{Cover::kClosed, {}};
  step.entry.path = path;
  STASIS_ASSIGN_OR_RETURN(const bool there, Look(parent->get(), place.name, &step.entry));
  if (!there) return Step();
  if (!S_ISDIR(step.entry.mode)) return step;
  STASIS_ASSIGN_OR_RETURN(step.entry.attributes, ReadAttributes(parent->get(), place.name));
  if (!step.entry.IsOpaque()) step.cover = Cover::kOpen;
  return step;
}

}  // namespace

StatusOr<ImageLayers> ImageLayers::Open(const std::vector<std::string>& directories) {
  std::vector<UniqueFd> layers;
  for (const std::string& directory : directories) {
    STASIS_ASSIGN_OR_RETURN(UniqueFd opened, OpenDirectory(directory));
    layers.push_back(std::move(opened));
  }
  return ImageLayers(std::move(layers));
}

StatusOr<std::optional<Entry>> ImageLayers::Find(const std::string& path) const {
  std::vector<int> showing;  // the layers whose directory is part of the one that is looked into
  for (const UniqueFd& layer : layers_) showing.push_back(layer.get());
  for (size_t end = 0; end != path.npos;) {
    end = path.find('/', end + 1);
    const std::string part = path.substr(0, end);
    std::optional<Entry> top;
    std::vector<int> deeper;
    for (const int layer : showing) {
      STASIS_ASSIGN_OR_RETURN(Step step, LookIn(layer, part));
      if (step.cover == Cover::kNothing) continue;
      // A directory, once it is one, goes on only in directories.
      if (top && !S_ISDIR(step.entry.mode)) break;
      if (S_ISDIR(step.entry.mode)) deeper.push_back(layer);
      if (!top) top = std::move(step.entry);
      if (step.cover == Cover::kClosed) break;
    }
    if (!top || top->IsWhiteout()) return std::nullopt;
    if (end == path.npos) return top;
    showing = std::move(deeper);
  }
  return std::nullopt;
}

}  // namespace stasis::layer
