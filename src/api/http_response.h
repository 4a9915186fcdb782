// The answer to one request on a connection.
#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "api/connection.h"
#include "api/http_parser.h"
#include "api/response.h"
#include "backend/streams.h"

namespace stasis::api {

// Borrows everything it is given.
class HttpResponse : public Response, private HijackedConnection {
 public:
  struct Setting {
    Connection* connection = nullptr;
    std::string* input = nullptr;  // bytes read from the connection beyond what the parser took
    HttpParser* parser = nullptr;  // null: the request could not be read
    std::chrono::seconds write_pause{60};
    std::stop_token cancel;  // the client is gone, or the server stops
    std::stop_token server_stop;
    std::string server;  // the Server field
  };
  explicit HttpResponse(Setting setting) : setting_(std::move(setting)) {}

  void SetHeader(std::string_view name, std::string_view value) override;
  Status Whole(int http_status, std::string_view content_type, std::string_view body) override;
  Status StartStream(int http_status, std::string_view content_type) override;
  Status Write(std::string_view bytes) override;
  StatusOr<HijackedConnection*> Hijack(std::string_view content_type) override;
  bool started() const override { return state_ != State::kNew; }

  // Where the request's body is read from. Before the handler is called.
  void SetBody(backend::ByteSource body) { body_ = std::move(body); }
  // Call once the handler has returned. Whether the connection can serve another request.
  bool Finish(const Status& outcome);
  // The connection ends after this answer. Before it begins.
  void CloseAfterwards() { close_ = true; }
  int http_status() const { return http_status_; }

 private:
  enum class State { kNew, kWhole, kStream, kHijacked };

  int fd() const override { return setting_.connection->fd(); }
  std::string TakeEarlyInput() override { return std::exchange(*setting_.input, {}); }
  std::stop_token server_stop() const override { return setting_.server_stop; }

  void SkipReadBody();
  Status SkipWholeBody();
  bool KeepsAlive() const;
  std::string Head(int http_status, std::string_view content_type) const;

  Setting setting_;
  backend::ByteSource body_;
  std::map<std::string, std::string> headers_;
  State state_ = State::kNew;
  int http_status_ = 0;
  bool close_ = false;
  bool failed_ = false;  // a write did
};

}  // namespace stasis::api
