#include "cli/long_call.h"

#include <unistd.h>

#include <utility>

#include "absl/time/time.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "linux/files.h"

namespace stasis::cli {
namespace {

constexpr size_t kMaxAnswer = 64 << 20;

// A line of the terminal that is written over.
class StatusLine {
 public:
  StatusLine() = default;
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  ~StatusLine() {
    if (shown_) Write("");
  }

  void Show(const std::string& text) {
    const auto size = GetWindowSize(STDERR_FILENO);
    // A line that is broken cannot be written over. What is shown has one byte a character.
    Write(text.substr(0, size && size->width > 1 ? size->width - 1 : text.npos));
    shown_ = true;
  }

 private:
  static void Write(std::string_view text) {
    WriteAll(STDERR_FILENO, "\r\x1b[K" + std::string(text)).IgnoreError();
  }
  bool shown_ = false;
};

}  // namespace

StatusOr<std::string> ProgressText(const Json& progress) {
  std::string phase;
  uint64_t bytes = 0, total = 0, rate = 0;
  JsonReader reader(progress, "progress");
  reader.Get("phase", &phase);
  reader.Get("bytes", &bytes);
  reader.Get("total", &total);
  reader.Get("bytes_per_second", &rate);
  STASIS_RETURN_IF_ERROR(reader.status());
  std::string text = Shown(phase) + ": " + HumanSize(bytes);
  const bool knows_end = total >= bytes && total > 0;
  if (knows_end) text += " of " + HumanSize(total);
  if (rate == 0) return text;
  text += ", " + HumanSize(rate) + "/s";
  if (knows_end) text += ", " + std::to_string((total - bytes + rate - 1) / rate) + " s left";
  return text;
}

Status LongAnswer::Line(std::string_view line) {
  STASIS_ASSIGN_OR_RETURN(Json json, ParseJson(line));
  const JsonReader reader(json, "answer");
  if (const Json* progress = json.is_object() ? reader.Find("progress") : nullptr) {
    told_progress_ = true;
    STASIS_ASSIGN_OR_RETURN(const std::string text, ProgressText(*progress));
    show_(text);
    return absl::OkStatus();
  }
  has_result_ = true;
  if (!told_progress_) {  // then the line is the result itself
    result_ = std::move(json);
    return absl::OkStatus();
  }
  std::string error;
  JsonReader last(json, "answer");
  last.Get("error", &error);
  STASIS_RETURN_IF_ERROR(last.status());
  if (!error.empty()) return Internal("Error response from daemon: " + error);
  if (const Json* result = last.Find("result")) result_ = *result;
  return absl::OkStatus();
}

Status LongAnswer::Feed(std::string_view bytes) {
  partial_ += bytes;
  size_t end;
  while ((end = partial_.find('\n')) != partial_.npos) {
    const std::string line = partial_.substr(0, end);
    partial_.erase(0, end + 1);
    STASIS_RETURN_IF_ERROR(Line(line));
  }
  if (partial_.size() > kMaxAnswer) return Internal("the daemon's answer is too long");
  return absl::OkStatus();
}

StatusOr<Json> LongAnswer::Finish() {
  if (!partial_.empty()) {
    STASIS_RETURN_IF_ERROR(Line(std::exchange(partial_, {})));
  }
  if (told_progress_ && !has_result_) return Internal("the daemon's answer was cut off");
  return std::move(result_);
}

StatusOr<Json> LongCall(const ApiClient& client, Request request) {
  if (!IsTerminal(STDERR_FILENO)) return client.Call(request);
  request.target += request.target.find('?') == std::string::npos ? "?progress=1" : "&progress=1";
  StatusLine line;
  LongAnswer answer([&](const std::string& text) { line.Show(text); });
  STASIS_RETURN_IF_ERROR(client.Stream(request, [&](std::string_view bytes) { return answer.Feed(bytes); }));
  return answer.Finish();
}

}  // namespace stasis::cli
