// For tests: a server on a socket of its own, and a client that speaks raw bytes to it.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "api/fake_engine.h"
#include "api/routes.h"
#include "api/server.h"
#include "gtest/gtest.h"

namespace stasis::api {

class RawClient {
 public:
  explicit RawClient(const std::string& path) {
    StatusOr<UniqueFd> socket = ConnectUnix(path);
    EXPECT_TRUE(socket.ok()) << socket.status();
    if (socket.ok()) socket_ = *std::move(socket);
  }
  // False: the server has closed.
  bool Send(std::string_view bytes) {
    return SendExactly(socket_.get(), bytes, After(std::chrono::seconds(10)), {}).ok();
  }
  void HalfClose() { ::shutdown(socket_.get(), SHUT_WR); }
  void Close() { socket_.reset(); }
  int fd() const { return socket_.get(); }

  // Reads until `end` has come (it included), or the stream's end, or ten seconds.
  std::string ReadUntil(std::string_view end) {
    size_t found;
    while ((found = got_.find(end)) == got_.npos && ReadMore()) {
    }
    size_t size = found == got_.npos ? got_.size() : found + end.size();
    std::string taken = got_.substr(0, size);
    got_.erase(0, size);
    return taken;
  }
  // One answer with its body, by its Content-Length.
  std::string ReadAnswer() {
    std::string answer = ReadUntil("\r\n\r\n");
    size_t at = answer.find("Content-Length: ");
    if (at == answer.npos) return answer;
    size_t size = std::stoul(answer.substr(at + 16));
    while (got_.size() < size && ReadMore()) {
    }
    answer += got_.substr(0, size);
    got_.erase(0, size);
    return answer;
  }
  // All until the end of the stream. Sets `reset` where that was an error, or did not come in ten seconds.
  std::string ReadAll() {
    while (ReadMore()) {
    }
    return std::exchange(got_, {});
  }
  bool reset = false;

 private:
  bool ReadMore() {
    pollfd polled = {socket_.get(), POLLIN, 0};
    char buffer[65536];
    if (::poll(&polled, 1, 10000) <= 0) return reset = true, false;
    ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (count < 0) reset = true;
    if (count <= 0) return false;
    got_.append(buffer, static_cast<size_t>(count));
    return true;
  }

  UniqueFd socket_;
  std::string got_;
};

class ServerTest : public testing::Test {
 protected:
  ~ServerTest() override {
    StopServer();
    std::filesystem::remove_all(directory_);
  }

  // `extra` routes beside the engine's.
  void Start(Limits limits = {}, std::vector<Route> extra = {}) {
    char pattern[] = "/tmp/stasis-api-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    path_ = directory_ + "/s";
    StatusOr<UnixListener> listener = UnixListener::Listen(path_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    ServerOptions options;
    options.listeners.push_back(*std::move(listener));
    options.routes = EngineRoutes({&engine_, &engine_, &engine_, &engine_, &engine_});
    for (Route& route : extra) options.routes.push_back(std::move(route));
    options.version = "9.9";
    options.limits = limits;
    StatusOr<std::unique_ptr<Server>> server = Server::Create(std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    thread_ = std::jthread([this](std::stop_token stop) { EXPECT_TRUE(server_->Run(stop).ok()); });
  }
  // Returns once every thread of the server has ended.
  void StopServer() {
    if (!thread_.joinable()) return;
    thread_.request_stop();
    thread_.join();
  }

  RawClient Connect() { return RawClient(path_); }
  std::string Ask(std::string_view request) {
    RawClient client(path_);
    client.Send(request);
    return client.ReadAnswer();
  }
  std::string Get(const std::string& path) { return Ask("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"); }
  std::string Post(const std::string& path, const std::string& body,
                   const std::string& type = "application/json") {
    return Ask("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + type +
               "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }

  FakeEngine engine_;
  std::string directory_;
  std::string path_;
  std::unique_ptr<Server> server_;
  std::jthread thread_;
};

}  // namespace stasis::api
