#include "api/http_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <limits>

#include "api/http_error.h"

namespace stasis::api {
namespace {

namespace http = boost::beast::http;

Status ParseError(const boost::system::error_code& error) {
  if (error == http::error::header_limit) return HttpError(431, "request header too large");
  return HttpError(400, "malformed HTTP request: " + error.message());
}

bool SameText(std::string_view a, std::string_view b) { return !CaseLess()(a, b) && !CaseLess()(b, a); }

std::string_view View(boost::string_view text) { return {text.data(), text.size()}; }

}  // namespace

struct HttpParser::Beast {
  http::request_parser<http::buffer_body> parser;
};

HttpParser::HttpParser(size_t header_limit) : beast_(std::make_unique<Beast>()) {
  beast_->parser.header_limit(static_cast<uint32_t>(header_limit));
  // Not boost::none: Boost 1.74 takes that for a limit of 0. Who reads a body limits it.
  beast_->parser.body_limit(std::numeric_limits<uint64_t>::max());
  beast_->parser.eager(false);
}

HttpParser::~HttpParser() = default;

StatusOr<bool> HttpParser::ReadHead(std::string& input) {
  auto& parser = beast_->parser;
  boost::system::error_code error;
  size_t used = parser.put(boost::asio::buffer(input), error);
  input.erase(0, used);
  if (error && error != http::error::need_more) return ParseError(error);
  if (!parser.is_header_done()) return false;

  const auto& message = parser.get();
  head_.method = std::string(View(message.method_string()));
  head_.target = std::string(View(message.target()));
  for (const auto& field : message) {
    head_.headers[std::string(View(field.name_string()))] = std::string(View(field.value()));
  }
  head_.http_1_1 = message.version() >= 11;
  head_.keep_alive = message.keep_alive();
  head_.has_body = !parser.is_done();
  head_.wants_upgrade = message.find(http::field::upgrade) != message.end();
  std::string_view expect = View(message[http::field::expect]);
  head_.expects_continue = SameText(expect, "100-continue");
  if (!expect.empty() && !head_.expects_continue) return HttpError(417, "unknown expectation");
  parser.eager(true);
  return true;
}

StatusOr<size_t> HttpParser::ReadBody(std::string& input, char* out, size_t size) {
  body_begun_ = true;
  auto& parser = beast_->parser;
  auto& body = parser.get().body();
  body.data = out;
  body.size = size;
  while (body.size == size && !parser.is_done() && !input.empty()) {
    boost::system::error_code error;
    size_t used = parser.put(boost::asio::buffer(input), error);
    input.erase(0, used);
    if (error == http::error::need_more) break;
    if (error && error != http::error::need_buffer) return ParseError(error);
  }
  return size - body.size;
}

bool HttpParser::done() const { return beast_->parser.is_done(); }

}  // namespace stasis::api
