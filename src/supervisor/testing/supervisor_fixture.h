// A supervisor in this process, with the fake shim, on a directory of its own; for tests.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "linux/files.h"
#include "supervisor/client.h"
#include "supervisor/event_log.h"
#include "supervisor/server.h"

namespace stasis::supervisor {

// Looks every 10 ms, for at most 20 s.
inline bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class SupervisorFixture : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/tmp", "supervisor-test-");
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = std::make_unique<TemporaryDirectory>(*std::move(directory));
    options_.state_directory = directory_->path() + "/run";
    options_.socket = directory_->path() + "/supervisor.sock";
    options_.programs = {STASIS_FAKE_SHIM, "/bin/true", "/bin/true", "/bin/true"};
    client_ = std::make_unique<Client>(options_.socket);
    StartServer();
  }

  void TearDown() override {
    if (server_) {  // so that no shim outlives the test
      auto state = client_->State({});
      if (state.ok()) {
        for (const auto& container : state->containers()) Kill(container.id()).IgnoreError();
      }
      EXPECT_TRUE(Eventually([&] { return Shims().empty(); }));
    }
    client_.reset();
    server_.reset();
  }

  void StartServer() {
    auto server = Server::Start(options_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // A bundle whose directory also steers the fake shim.
  std::string MakeBundle(const std::string& name) {
    std::string bundle = directory_->path() + "/bundle-" + name;
    EXPECT_TRUE(MakeDirectories(bundle).ok());
    Json spec = {{"process", {{"terminal", false}, {"args", {"sleep", "1"}}, {"cwd", "/"}}},
                 {"linux", {{"cgroupsPath", "/stasis-supervisor-test/" + name}}}};
    EXPECT_TRUE(WriteFileAtomically(bundle + "/config.json", DumpJson(spec)).ok());
    return bundle;
  }
  void Touch(const std::string& path) { EXPECT_TRUE(WriteFileAtomically(path, "").ok()); }

  types::CreateContainerRequest CreateRequest(const std::string& id) {
    types::CreateContainerRequest request;
    request.set_id(id);
    request.set_bundlepath(MakeBundle(id));
    return request;
  }

  Status Create(const std::string& id) { return client_->CreateContainer(CreateRequest(id)).status(); }

  Status Kill(const std::string& id, const std::string& process = "init", uint32_t signal = 9) {
    types::SignalRequest request;
    request.set_id(id);
    request.set_pid(process);
    request.set_signal(signal);
    return client_->Signal(request).status();
  }

  // The container as State shows it, or one without id.
  types::Container StateOf(const std::string& id) {
    types::StateRequest request;
    request.set_id(id);
    auto state = client_->State(request);
    return state.ok() ? state->containers(0) : types::Container();
  }

  Status Update(const std::string& id, const std::string& status) {
    types::UpdateContainerRequest request;
    request.set_id(id);
    request.set_status(status);
    return client_->UpdateContainer(request).status();
  }

  // All events recorded so far: "TYPE ID PID STATUS".
  std::vector<types::Event> StoredEvents(const std::string& id = "") {
    types::EventsRequest request;
    request.mutable_timestamp()->set_seconds(-62135596800);  // year 1, as old clients say "all"
    request.set_storedonly(true);
    request.set_id(id);
    std::vector<types::Event> events;
    auto stream = client_->Events(request);
    EXPECT_TRUE(stream.ok()) << stream.status();
    while (stream.ok()) {
      auto event = stream->Next({});
      if (!event.ok()) {
        EXPECT_EQ(event.status().code(), StatusCode::kOutOfRange) << event.status();
        break;
      }
      if (event->type() != "live") events.push_back(*event);
    }
    return events;
  }
  std::vector<std::string> EventTypes(const std::string& id) {
    std::vector<std::string> types;
    for (const auto& event : StoredEvents(id)) types.push_back(event.type() + " " + event.pid());
    return types;
  }

  std::vector<std::string> Shims() {
    return ListDirectory(options_.state_directory + "/shims").value_or(std::vector<std::string>());
  }

  std::unique_ptr<TemporaryDirectory> directory_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
};

}  // namespace stasis::supervisor
