// Calls that may take long. Where stderr is a terminal, a line there tells how they get on, is written over
// and over, and is gone at the end.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "cli/api_client.h"

namespace stasis::cli {

// The answer's JSON, null where it has no body. Errors as ApiClient's. The call must know progress=1
// (docs/contracts/docker-api.md).
StatusOr<Json> LongCall(const ApiClient& client, Request request);

// "memory: 512MB of 1.07GB, 310MB/s, 2 seconds left", of what the daemon says of progress; what it does not
// tell is left out.
StatusOr<std::string> ProgressText(const Json& progress);

// An answer to progress=1, as it comes.
class LongAnswer {
 public:
  using Show = std::function<void(const std::string& text)>;
  explicit LongAnswer(Show show) : show_(std::move(show)) {}

  Status Feed(std::string_view bytes);
  // kInternal: the daemon's error, or it was cut off.
  StatusOr<Json> Finish();

 private:
  Status Line(std::string_view line);

  Show show_;
  std::string partial_;
  Json result_;
  bool told_progress_ = false;
  bool has_result_ = false;
};

}  // namespace stasis::cli
