#include "engine/log_entry.h"

#include "base/json.h"
#include "base/time.h"

namespace stasis::engine {

StatusOr<LogEntry> ParseLogEntry(std::string_view line) {
  StatusOr<Json> json = ParseJson(line);
  if (!json.ok() || !json->is_object()) return DataLoss("log: a line that is no JSON object");
  std::string stream;
  std::string time;
  LogEntry entry;
  JsonReader reader(*json, "log");
  reader.Get("log", &entry.text);
  reader.Get("stream", &stream);
  reader.Get("time", &time);
  if (!reader.status().ok()) return DataLoss(Message(reader.status()));
  const StatusOr<absl::Time> at = FromRfc3339(time);
  if (!at.ok()) return DataLoss("log: a line without a time");
  entry.is_stderr = stream == "stderr";
  entry.at = *at;
  return entry;
}

bool Wanted(const LogEntry& entry, const backend::LogOptions& options) {
  if (entry.at < options.since) return false;
  return entry.is_stderr ? options.use_stderr : options.use_stdout;
}

std::string Render(const LogEntry& entry, bool timestamps, bool raw, const std::string& attributes) {
  const std::string payload = (timestamps ? ToLogTime(entry.at) + " " : "") + attributes + entry.text;
  if (raw) return payload;
  const auto size = static_cast<uint32_t>(payload.size());
  const char header[8] = {static_cast<char>(entry.is_stderr ? 2 : 1),
                          0,
                          0,
                          0,
                          static_cast<char>(size >> 24),
                          static_cast<char>(size >> 16),
                          static_cast<char>(size >> 8),
                          static_cast<char>(size)};
  return std::string(header, sizeof(header)) + payload;
}

}  // namespace stasis::engine
