#include "cli/list_output.h"

#include <utility>
#include <vector>

#include "cli/table.h"
#include "cli/units.h"

namespace stasis::cli {
namespace {

constexpr size_t kShortId = 12;
constexpr size_t kShortCommand = 20;
constexpr char kNone[] = "<none>";

std::string ShortId(std::string id, bool whole) {
  if (whole) return id;
  if (const size_t colon = id.find(':'); colon != id.npos) id.erase(0, colon + 1);
  return id.substr(0, kShortId);
}

std::string Join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
  return text;
}

// docker's: at most 20 characters, the last of them an ellipsis, in quotes.
std::string ShortCommand(const std::string& command, bool whole) {
  if (whole || command.size() <= kShortCommand) return "\"" + command + "\"";
  size_t cut = kShortCommand - 1;
  while (cut > 0 && (static_cast<unsigned char>(command[cut]) & 0xc0) == 0x80) --cut;
  return "\"" + command.substr(0, cut) + "\xe2\x80\xa6\"";
}

std::string LabelText(const JsonReader& reader) {
  std::vector<std::string> labels;
  const Json* json = reader.Find("Labels");
  if (json && json->is_object()) {
    for (const auto& [name, value] : json->items())
      labels.push_back(name + "=" + (value.is_string() ? value.get<std::string>() : ""));
  }
  return Join(labels);
}

// "2026-01-02 15:04:05 +0100 CET", docker's.
std::string CreatedAt(int64_t seconds) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S %z %Z", absl::FromUnixSeconds(seconds), absl::LocalTimeZone());
}

// Of the zero of an image whose configuration tells no time: as Docker's.
std::string Ago(int64_t seconds, absl::Time now) {
  if (seconds <= 0) return "N/A";
  return HumanDuration(now - absl::FromUnixSeconds(seconds)) + " ago";
}

struct ContainerLine {
  std::string id, image, command, state, status, labels, network;
  std::vector<std::string> names;
  int64_t created = 0;
};

StatusOr<ContainerLine> ReadContainer(const Json& entry, const ListForm& form) {
  ContainerLine line;
  JsonReader reader(entry, "container");
  reader.Get("Id", &line.id);
  reader.Get("Image", &line.image);
  reader.Get("Command", &line.command);
  reader.Get("State", &line.state);
  reader.Get("Status", &line.status);
  reader.Get("Names", &line.names);
  reader.Get("Created", &line.created);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (const Json* host = reader.Find("HostConfig"); host && host->is_object())
    JsonReader(*host).Get("NetworkMode", &line.network);
  line.labels = LabelText(reader);
  line.id = ShortId(line.id, form.whole);
  line.image = ShortId(line.image, form.whole || line.image.rfind("sha256:", 0) != 0);
  line.command = ShortCommand(line.command, form.whole);
  for (std::string& name : line.names) {
    if (!name.empty() && name.front() == '/') name.erase(0, 1);
  }
  return line;
}

Json ToJson(const ContainerLine& line, absl::Time now) {
  return {{"ID", line.id},
          {"Image", line.image},
          {"Command", line.command},
          {"CreatedAt", CreatedAt(line.created)},
          {"RunningFor", Ago(line.created, now)},
          {"State", line.state},
          {"Status", line.status},
          {"Names", Join(line.names)},
          {"Labels", line.labels},
          {"Networks", line.network},
          {"Ports", ""}};
}

struct ImageLine {
  std::string id, repository, tag;
  int64_t created = 0;
  int64_t size = 0;
};

// One line for each name of an image, one with <none> where it has none.
StatusOr<std::vector<ImageLine>> ReadImage(const Json& entry, const ListForm& form) {
  ImageLine line;
  std::vector<std::string> tags;
  JsonReader reader(entry, "image");
  reader.Get("Id", &line.id);
  reader.Get("Created", &line.created);
  reader.Get("Size", &line.size);
  reader.Get("RepoTags", &tags);
  STASIS_RETURN_IF_ERROR(reader.status());
  line.id = ShortId(line.id, form.whole);
  line.repository = line.tag = kNone;
  if (tags.empty()) return std::vector<ImageLine>{line};
  std::vector<ImageLine> lines;
  for (const std::string& tag : tags) {
    const size_t colon = tag.rfind(':');
    line.repository = tag.substr(0, colon);
    line.tag = colon == tag.npos ? kNone : tag.substr(colon + 1);
    lines.push_back(line);
  }
  return lines;
}

Status CheckArray(const Json& list) {
  return list.is_array() ? absl::OkStatus() : InvalidArgument("the daemon's list is no array");
}

}  // namespace

StatusOr<std::string> ContainerList(const Json& list, const ListForm& form, absl::Time now) {
  STASIS_RETURN_IF_ERROR(CheckArray(list));
  Table table({"CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"});
  std::string lines;
  for (const Json& entry : list) {
    STASIS_ASSIGN_OR_RETURN(ContainerLine line, ReadContainer(entry, form));
    if (form.quiet) {
      lines += line.id + "\n";
    } else if (form.json) {
      lines += DumpJson(ToJson(line, now)) + "\n";
    } else {
      table.AddRow(
          {line.id, line.image, line.command, Ago(line.created, now), line.status, "", Join(line.names)});
    }
  }
  return form.quiet || form.json ? lines : table.Text();
}

StatusOr<std::string> ImageList(const Json& list, const ListForm& form, absl::Time now) {
  STASIS_RETURN_IF_ERROR(CheckArray(list));
  Table table({"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"});
  std::string lines;
  for (const Json& entry : list) {
    STASIS_ASSIGN_OR_RETURN(std::vector<ImageLine> names, ReadImage(entry, form));
    if (form.quiet) names.resize(1);
    for (const ImageLine& line : names) {
      const std::string size = HumanSize(static_cast<uint64_t>(line.size));
      if (form.quiet) {
        lines += line.id + "\n";
      } else if (form.json) {
        lines += DumpJson({{"ID", line.id},
                           {"Repository", line.repository},
                           {"Tag", line.tag},
                           {"CreatedAt", CreatedAt(line.created)},
                           {"CreatedSince", Ago(line.created, now)},
                           {"Size", size}}) +
                 "\n";
      } else {
        table.AddRow({line.repository, line.tag, line.id, Ago(line.created, now), size});
      }
    }
  }
  return form.quiet || form.json ? lines : table.Text();
}

}  // namespace stasis::cli
