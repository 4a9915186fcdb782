#include "layer/entry.h"

#include <charconv>
#include <utility>

#include "base/json.h"

namespace stasis::layer {
namespace {

constexpr size_t kMaxPath = 65536;

// Names are bytes, JSON is Unicode: "%XX" for what is not printable ASCII, and for "%".
std::string Escape(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '%') {
      text += c;
      continue;
    }
    text += '%';
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

StatusOr<std::string> Unescape(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      bytes += text[i];
      continue;
    }
    unsigned byte = 0;
    const char* digits = text.data() + i + 1;
    if (text.size() - i < 3 || std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2)
      return DataLoss("layer: a name that cannot be");
    bytes += static_cast<char>(byte);
    i += 2;
  }
  return bytes;
}

// Relative, and no way out: it becomes a file.
Status CheckPath(const std::string& path) {
  if (path == ".") return absl::OkStatus();
  if (path.empty() || path.size() > kMaxPath || path.find('\0') != path.npos)
    return DataLoss("layer: a path that cannot be");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = std::string_view(path).substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.size() > 255)
      return DataLoss("layer: a path that cannot be");
    begin = end + 1;
  }
  return absl::OkStatus();
}

Json ToJson(const timespec& time) {
  return {static_cast<int64_t>(time.tv_sec), static_cast<int64_t>(time.tv_nsec)};
}

StatusOr<timespec> TimeFromJson(const Json* json) {
  if (json == nullptr || !json->is_array() || json->size() != 2 || !(*json)[0].is_number_integer() ||
      !(*json)[1].is_number_integer())
    return DataLoss("layer: a time that cannot be");
  const timespec time = {(*json)[0].get<time_t>(), (*json)[1].get<long>()};
  if (time.tv_nsec < 0 || time.tv_nsec > 999'999'999) return DataLoss("layer: a time that cannot be");
  return time;
}

std::string Line(const Entry& entry) {
  Json json = {{"path", Escape(entry.path)},
               {"mode", entry.mode},
               {"user", entry.user},
               {"group", entry.group},
               {"modified", ToJson(entry.modified)},
               {"inode", entry.inode},
               {"changed", ToJson(entry.changed)}};
  for (const auto& [name, value] : entry.attributes) json["attributes"][Escape(name)] = Escape(value);
  if (!entry.hard_link.empty()) json["hard_link"] = Escape(entry.hard_link);
  if (S_ISLNK(entry.mode)) json["target"] = Escape(entry.target);
  if (S_ISCHR(entry.mode) || S_ISBLK(entry.mode)) json["device"] = entry.device;
  if (entry.IsRegular()) {
    json["size"] = entry.content.size;
    json["depth"] = entry.content.depth;
    json["root"] = store::ToHex(entry.content.root);
  }
  return DumpJson(json) + "\n";
}

Status CheckEntry(const Entry& entry) {
  STASIS_RETURN_IF_ERROR(CheckPath(entry.path));
  if (!entry.hard_link.empty()) {
    STASIS_RETURN_IF_ERROR(CheckPath(entry.hard_link));
  }
  switch (entry.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      break;
    default:
      return DataLoss("layer: a file of an unknown type");
  }
  if (entry.path == "." && !S_ISDIR(entry.mode)) return DataLoss("layer: its root is not a directory");
  if (entry.content.size > store::kMaxStream || entry.content.depth > store::kMaxDepth)
    return DataLoss("layer: a file that is too large");
  if (entry.target.size() > kMaxPath || entry.target.find('\0') != entry.target.npos)
    return DataLoss("layer: a link that cannot be");
  return absl::OkStatus();
}

StatusOr<Entry> FromLine(std::string_view line) {
  auto json = ParseJson(line);
  if (!json.ok() || !json->is_object()) return DataLoss("layer: an entry that is no object");
  Entry entry;
  std::string path, target, hard_link, root;
  JsonReader reader(*json, "layer");
  reader.Get("path", &path);
  reader.Get("mode", &entry.mode);
  reader.Get("user", &entry.user);
  reader.Get("group", &entry.group);
  reader.Get("inode", &entry.inode);
  reader.Get("target", &target);
  reader.Get("hard_link", &hard_link);
  reader.Get("device", &entry.device);
  reader.Get("size", &entry.content.size);
  reader.Get("depth", &entry.content.depth);
  reader.Get("root", &root);
  if (!reader.status().ok()) return DataLoss(Message(reader.status()));
  STASIS_ASSIGN_OR_RETURN(entry.modified, TimeFromJson(reader.Find("modified")));
  STASIS_ASSIGN_OR_RETURN(entry.changed, TimeFromJson(reader.Find("changed")));
  STASIS_ASSIGN_OR_RETURN(entry.path, Unescape(path));
  STASIS_ASSIGN_OR_RETURN(entry.target, Unescape(target));
  STASIS_ASSIGN_OR_RETURN(entry.hard_link, Unescape(hard_link));
  if (const Json* attributes = reader.Find("attributes")) {
    if (!attributes->is_object()) return DataLoss("layer: attributes: want an object");
    for (const auto& [name, value] : attributes->items()) {
      if (!value.is_string()) return DataLoss("layer: attributes: want strings");
      STASIS_ASSIGN_OR_RETURN(std::string raw_name, Unescape(name));
      STASIS_ASSIGN_OR_RETURN(entry.attributes[raw_name], Unescape(value.get<std::string>()));
    }
  }
  if (entry.IsRegular()) {
    auto hash = store::PageHashFromHex(root);
    if (!hash.ok()) return DataLoss("layer: " + Message(hash.status()));
    entry.content.root = *hash;
  }
  STASIS_RETURN_IF_ERROR(CheckEntry(entry));
  return entry;
}

}  // namespace

bool Entry::IsOpaque() const {
  const auto opaque = attributes.find("trusted.overlay.opaque");
  return opaque != attributes.end() && opaque->second == "y";
}

bool Equal(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

bool IsUnchanged(const Entry& now, const Entry& captured) {
  return now.path == captured.path && now.inode == captured.inode && now.mode == captured.mode &&
         now.content.size == captured.content.size && Equal(now.modified, captured.modified) &&
         Equal(now.changed, captured.changed);
}

std::string ToText(const std::vector<Entry>& entries) {
  std::string text;
  for (const Entry& entry : entries) text += Line(entry);
  return text;
}

StatusOr<std::vector<Entry>> Parse(std::string_view text) {
  std::vector<Entry> entries;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == text.npos) return DataLoss("layer: cut short");
    if (entries.size() == kMaxEntries) return DataLoss("layer: too many entries");
    STASIS_ASSIGN_OR_RETURN(Entry entry, FromLine(text.substr(0, end)));
    entries.push_back(std::move(entry));
    text.remove_prefix(end + 1);
  }
  return entries;
}

}  // namespace stasis::layer
