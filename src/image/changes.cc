#include "image/changes.h"

#include <algorithm>
#include <vector>

namespace stasis::image {
namespace {

using Words = std::vector<std::string>;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::string Trim(std::string text) {
  while (!text.empty() && IsSpace(text.back())) text.pop_back();
  text.erase(0, static_cast<size_t>(std::find_if_not(text.begin(), text.end(), IsSpace) - text.begin()));
  return text;
}

// Words separated by spaces; quotes and backslashes keep spaces in a word and are taken off.
StatusOr<Words> SplitWords(const std::string& text) {
  Words words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quote == 0 && IsSpace(c)) {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
      continue;
    }
    in_word = true;
    if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      word += text[++i];
    } else if (quote == c) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else {
      word += c;
    }
  }
  if (quote != 0) return InvalidArgument("unexpected end of statement while looking for matching quote");
  if (in_word) words.push_back(std::move(word));
  return words;
}

// `["a", "b"]` is the list; anything else is nothing.
bool ParseList(const std::string& text, Words* out) {
  StatusOr<Json> list = ParseJson(text);
  if (!list.ok() || !list->is_array()) return false;
  for (const Json& item : *list) {
    if (!item.is_string()) return false;
    out->push_back(item.get<std::string>());
  }
  return true;
}

void SetCommand(const std::string& text, const char* field, Json* config) {
  Words words;
  if (!ParseList(text, &words)) words = {"/bin/sh", "-c", text};
  (*config)[field] = words;
}

// "A=b C=d", or "A some value" in the old form.
StatusOr<std::vector<std::pair<std::string, std::string>>> ParsePairs(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  size_t space = static_cast<size_t>(std::find_if(text.begin(), text.end(), IsSpace) - text.begin());
  if (text.substr(0, space).find('=') == std::string::npos) {
    if (space == text.size()) return InvalidArgument("Syntax error - can't find = in \"" + text + "\"");
    out.emplace_back(text.substr(0, space), Trim(text.substr(space)));
    return out;
  }
  STASIS_ASSIGN_OR_RETURN(Words words, SplitWords(text));
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return InvalidArgument("Syntax error - can't find = in \"" + word + "\"");
    }
    out.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return out;
}

Status SetEnvironment(const std::string& text, Json* config) {
  STASIS_ASSIGN_OR_RETURN(auto pairs, ParsePairs(text));
  Words env = config->value("Env", Words());
  for (const auto& pair : pairs) {
    std::string prefix = pair.first + "=";
    std::erase_if(env, [&](const std::string& entry) { return entry.starts_with(prefix); });
    env.push_back(prefix + pair.second);
  }
  (*config)["Env"] = env;
  return absl::OkStatus();
}

Status SetLabels(const std::string& text, Json* config) {
  STASIS_ASSIGN_OR_RETURN(auto pairs, ParsePairs(text));
  for (const auto& [name, value] : pairs) (*config)["Labels"][name] = value;
  return absl::OkStatus();
}

Status AddPorts(const std::string& text, Json* config) {
  STASIS_ASSIGN_OR_RETURN(Words ports, SplitWords(text));
  for (const std::string& port : ports) {
    std::string number = port.substr(0, port.find('/'));
    std::string protocol = number.size() < port.size() ? port.substr(number.size() + 1) : "tcp";
    bool digits =
        !number.empty() && number.size() <= 5 && number.find_first_not_of("0123456789") == number.npos;
    if (!digits || std::stoi(number) > 65535 ||
        (protocol != "tcp" && protocol != "udp" && protocol != "sctp")) {
      return InvalidArgument("Invalid containerPort: " + port);
    }
    (*config)["ExposedPorts"][number + "/" + protocol] = Json::object();
  }
  return absl::OkStatus();
}

Status AddVolumes(const std::string& text, Json* config) {
  Words volumes;
  if (!ParseList(text, &volumes)) {
    STASIS_ASSIGN_OR_RETURN(volumes, SplitWords(text));
  }
  for (const std::string& volume : volumes) {
    if (volume.empty()) return InvalidArgument("VOLUME specified can not be an empty string");
    (*config)["Volumes"][volume] = Json::object();
  }
  return absl::OkStatus();
}

}  // namespace

Status ApplyChange(const std::string& raw, Json* config) {
  std::string line = Trim(raw);
  size_t space = static_cast<size_t>(std::find_if(line.begin(), line.end(), IsSpace) - line.begin());
  std::string name = line.substr(0, space);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  std::string text = Trim(line.substr(space));
  if (text.find('\0') != std::string::npos) return InvalidArgument("change: a NUL byte");
  if (text.empty()) return InvalidArgument(name + " requires at least one argument");
  if (name == "ENV") return SetEnvironment(text, config);
  if (name == "LABEL") return SetLabels(text, config);
  if (name == "EXPOSE") return AddPorts(text, config);
  if (name == "VOLUME") return AddVolumes(text, config);
  if (name == "CMD") {
    SetCommand(text, "Cmd", config);
  } else if (name == "ENTRYPOINT") {
    SetCommand(text, "Entrypoint", config);
  } else if (name == "STOPSIGNAL") {
    (*config)["StopSignal"] = text;
  } else if (name == "USER") {
    (*config)["User"] = text;
  } else if (name == "WORKDIR") {
    std::string before = config->value("WorkingDir", "/");
    (*config)["WorkingDir"] =
        text.starts_with('/') ? text : before + (before.ends_with('/') ? "" : "/") + text;
  } else {
    return InvalidArgument(name + " is not a valid change command");
  }
  return absl::OkStatus();
}

}  // namespace stasis::image
