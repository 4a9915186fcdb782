// The answer to one request.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::api {

// A connection that has left HTTP: both directions are raw bytes from here on.
class HijackedConnection {
 public:
  virtual ~HijackedConnection() = default;
  // The client's socket, and what had been read from it beyond the request.
  virtual int fd() const = 0;
  virtual std::string TakeEarlyInput() = 0;
  // Asked to stop when the server stops. Not when the client leaves: the pump tells that from a half-close
  // itself.
  virtual std::stop_token server_stop() const = 0;
};

// One answer, given once: by one of Json, Empty, Text, Error; or by StartStream and Writes; or by Hijack.
// Used on the handler's thread. All calls are kUnavailable once the client is gone, kCancelled once the
// server stops.
class Response {
 public:
  virtual ~Response() = default;

  // Before the answer begins. Control characters in `value` become spaces.
  virtual void SetHeader(std::string_view name, std::string_view value) = 0;

  Status Json(int http_status, const stasis::Json& body);
  Status Empty(int http_status);
  // To a HEAD: the header as if the body followed, and no body.
  virtual Status Whole(int http_status, std::string_view content_type, std::string_view body) = 0;
  // {"message": ...} with the status of HttpStatusOf.
  Status Error(const Status& error);

  // Sends the header at once. Bytes of unknown length follow, chunked for HTTP/1.1 clients; they end when the
  // handler returns ok, and are cut off (the client sees that it is not whole) when it returns an error.
  virtual Status StartStream(int http_status, std::string_view content_type) = 0;
  virtual Status Write(std::string_view bytes) = 0;

  // Answers "101 UPGRADED" where the client asked for Upgrade: tcp, else "200 OK", as Docker does. The
  // connection is closed when the handler returns. Valid as long as this.
  virtual StatusOr<HijackedConnection*> Hijack(std::string_view content_type) = 0;

  // Whether an answer has begun.
  virtual bool started() const = 0;
};

}  // namespace stasis::api
