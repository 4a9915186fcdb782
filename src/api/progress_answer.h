// The answer to long work.
#pragma once

#include "api/route.h"
#include "backend/progress.h"
#include "base/json.h"

namespace stasis::api {

// An extension of ours: long work that is asked for with progress=1 tells how it gets on, one JSON document a
// line, {"progress": ...}, and at the end {"result": ...} or {"error": ...}. What is done within a second
// answers as if nobody had asked for that.
class ProgressAnswer {
 public:
  ProgressAnswer(const Request& request, Response& response)
      : wanted_(request.query.Flag("progress")), response_(response) {}

  backend::OnProgress on_progress() {
    if (!wanted_) return {};
    return [this](const backend::Progress& progress) {
      if (!response_.started()) response_.StartStream(200, "application/json").IgnoreError();
      Line({{"progress",
             {{"phase", progress.phase},
              {"bytes", progress.bytes},
              {"total", progress.total},
              {"bytes_per_second", progress.bytes_per_second}}}})
          .IgnoreError();  // who has left is noticed by others
    };
  }

  // Nothing in it: no body.
  Status Finish(const StatusOr<Json>& result, int http_status) {
    if (!response_.started()) {
      if (!result.ok()) return result.status();
      return result->is_null() ? response_.Empty(http_status) : response_.Json(http_status, *result);
    }
    return result.ok() ? Line({{"result", *result}}) : Line({{"error", Message(result.status())}});
  }

 private:
  Status Line(const Json& json) { return response_.Write(DumpJson(json) + "\n"); }

  const bool wanted_;
  Response& response_;
};

}  // namespace stasis::api
