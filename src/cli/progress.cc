#include "cli/progress.h"

#include <utility>

#include "base/json.h"

namespace stasis::cli {
namespace {

constexpr size_t kMaxLine = 1 << 20;

}  // namespace

Status ProgressReader::Line(std::string_view line, const Show& show) {
  auto json = ParseJson(line);
  if (!json.ok() || !json->is_object()) return absl::OkStatus();
  std::string stream, status, error;
  JsonReader reader(*json);
  reader.Get("stream", &stream);
  reader.Get("status", &status);
  reader.Get("error", &error);
  if (!error.empty()) return Internal(error);
  if (!stream.empty()) show(stream);
  if (!status.empty()) show(status + "\n");
  return absl::OkStatus();
}

Status ProgressReader::Feed(std::string_view bytes, const Show& show) {
  partial_ += bytes;
  size_t end;
  while ((end = partial_.find('\n')) != partial_.npos) {
    const std::string line = partial_.substr(0, end);
    partial_.erase(0, end + 1);
    STASIS_RETURN_IF_ERROR(Line(line, show));
  }
  if (partial_.size() > kMaxLine) return Internal("the daemon's message is too long");
  return absl::OkStatus();
}

Status ProgressReader::Finish(const Show& show) { return Line(std::exchange(partial_, {}), show); }

}  // namespace stasis::cli
