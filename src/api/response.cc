#include "api/response.h"

#include "api/http_error.h"

namespace stasis::api {

Status Response::Json(int http_status, const stasis::Json& body) {
  return Whole(http_status, "application/json", DumpJson(body) + "\n");
}

Status Response::Empty(int http_status) { return Whole(http_status, "", ""); }

Status Response::Error(const Status& error) {
  return Json(HttpStatusOf(error), {{"message", Message(error)}});
}

}  // namespace stasis::api
