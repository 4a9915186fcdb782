#include "engine/image_filter.h"

#include <fnmatch.h>

#include <algorithm>

#include "base/time.h"

namespace stasis::engine {
namespace {

constexpr size_t kLongestPattern = 256;
constexpr int64_t kMostStars = 4;  // fnmatch(3) tries all ways to spread a text over the stars
// A damaged image shows why it is in this label, so that lists can be filtered by it.
constexpr char kDamagedLabel[] = "stasis.damaged";

bool HasLabel(const std::map<std::string, std::string>& labels, const std::string& wanted) {
  const size_t equals = wanted.find('=');
  const auto found = labels.find(wanted.substr(0, equals));
  return found != labels.end() && (equals == std::string::npos || found->second == wanted.substr(equals + 1));
}

// A pattern is of the whole reference or of its name alone; `*` stands for any text without a slash.
bool MatchesReference(const std::string& tag, const std::string& pattern) {
  if (pattern.size() > kLongestPattern || std::count(pattern.begin(), pattern.end(), '*') > kMostStars) {
    return false;
  }
  const std::string name = tag.substr(0, tag.rfind(':'));
  return ::fnmatch(pattern.c_str(), tag.c_str(), FNM_PATHNAME) == 0 ||
         ::fnmatch(pattern.c_str(), name.c_str(), FNM_PATHNAME) == 0;
}

Status Invalid(const std::string& name, const std::string& value) {
  return InvalidArgument("invalid filter '" + name + "=[" + value + "]'");
}

StatusOr<bool> ParseFlag(const std::string& name, const std::string& value) {
  if (value == "1" || value == "true") return true;
  if (value == "0" || value == "false") return false;
  return Invalid(name, value);
}

// A moment, or how long ago it was ("24h").
StatusOr<absl::Time> ParseMoment(const std::string& text) {
  absl::Duration ago;
  if (absl::ParseDuration(text, &ago)) return absl::Now() - ago;
  return ParseUnixTime(text);
}

}  // namespace

std::map<std::string, std::string> LabelsOf(const image::Image& image) {
  std::map<std::string, std::string> labels;
  if (!image.damage.empty()) labels[kDamagedLabel] = image.damage;
  if (!image.config->contains("config")) return labels;
  const Json& config = (*image.config)["config"];
  if (!config.is_object() || !config.contains("Labels") || !config["Labels"].is_object()) return labels;
  for (const auto& [name, value] : config["Labels"].items()) {
    if (value.is_string()) labels[name] = value.get<std::string>();
  }
  return labels;
}

StatusOr<ImageFilter> ImageFilter::Create(
    const backend::Filters& filters,
    const std::function<StatusOr<image::Image>(const std::string& reference)>& find) {
  ImageFilter filter;
  for (const auto& [name, values] : filters) {
    for (const std::string& value : values) {
      if (name == "reference") {
        filter.references_.push_back(value);
      } else if (name == "label") {
        filter.labels_.push_back(value);
      } else if (name == "dangling") {
        STASIS_ASSIGN_OR_RETURN(const bool dangling, ParseFlag(name, value));
        if (filter.dangling_.value_or(dangling) != dangling) return Invalid(name, "true false");
        filter.dangling_ = dangling;
      } else if (name == "before" || name == "since") {
        STASIS_ASSIGN_OR_RETURN(const image::Image image, find(value));
        if (name == "before")
          filter.created_before_ = std::min(filter.created_before_.value_or(image.created), image.created);
        if (name == "since")
          filter.created_after_ = std::max(filter.created_after_.value_or(image.created), image.created);
      } else if (name == "until") {
        const StatusOr<absl::Time> until = ParseMoment(value);
        if (!until.ok()) return Invalid(name, value);
        filter.created_before_ = std::min(filter.created_before_.value_or(*until), *until);
      } else {
        return InvalidArgument("invalid filter '" + name + "'");
      }
    }
  }
  return filter;
}

bool ImageFilter::Matches(const image::Image& image) const {
  if (!references_.empty() && TagsOf(image).empty()) return false;
  if (dangling_ && image.tags.empty() != *dangling_) return false;
  if (created_before_ && image.created >= *created_before_) return false;
  if (created_after_ && image.created <= *created_after_) return false;
  const std::map<std::string, std::string> labels = LabelsOf(image);
  return std::all_of(labels_.begin(), labels_.end(),
                     [&](const std::string& label) { return HasLabel(labels, label); });
}

std::vector<std::string> ImageFilter::TagsOf(const image::Image& image) const {
  if (references_.empty()) return image.tags;
  std::vector<std::string> tags;
  for (const std::string& tag : image.tags) {
    const auto matches = [&](const std::string& pattern) { return MatchesReference(tag, pattern); };
    if (std::any_of(references_.begin(), references_.end(), matches)) tags.push_back(tag);
  }
  return tags;
}

}  // namespace stasis::engine
