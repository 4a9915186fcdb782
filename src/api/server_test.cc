// The HTTP layer, by raw bytes over a real socket.
#include "api/server.h"

#include "api/test_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::api {
namespace {

using std::chrono::seconds;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(ServerTest, PingIsAnsweredWithDockersHeaders) {
  Start();
  std::string answer = Get("/_ping");
  EXPECT_THAT(
      answer,
      AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith("\r\n\r\nOK"), HasSubstr("Api-Version: 1.47\r\n"),
            HasSubstr("Ostype: linux\r\n"), HasSubstr("Docker-Experimental: true\r\n"),
            HasSubstr("Server: Stasis/9.9 (linux)\r\n"), HasSubstr("Cache-Control: no-cache")));
  RawClient client = Connect();
  client.Send("HEAD /_ping HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.ReadAll(), AllOf(HasSubstr("Content-Length: 2\r\n"), EndsWith("\r\n\r\n")));
  EXPECT_FALSE(client.reset);
}

TEST_F(ServerTest, OneConnectionServesManyRequests) {
  Start();
  RawClient client = Connect();
  for (int i = 0; i < 3; ++i) {
    client.Send("GET /_ping HTTP/1.1\r\n\r\n");
    EXPECT_THAT(client.ReadAnswer(), HasSubstr("keep-alive"));
  }
  client.Send(
      "GET /_ping HTTP/1.1\r\n\r\nGET /info HTTP/1.1\r\n\r\nGET /_ping HTTP/1.1\r\nConnection: "
      "close\r\n\r\n");
  EXPECT_THAT(client.ReadAnswer(), EndsWith("OK"));
  EXPECT_THAT(client.ReadAnswer(), HasSubstr("\"ID\":\"fake\""));
  EXPECT_THAT(client.ReadAll(), EndsWith("OK"));
}

TEST_F(ServerTest, OldHttpIsAnsweredAndClosed) {
  Start();
  RawClient client = Connect();
  client.Send("GET /events?until=1 HTTP/1.0\r\n\r\n");
  std::string all = client.ReadAll();
  EXPECT_THAT(all, AllOf(HasSubstr("Connection: close"), Not(HasSubstr("chunked")), EndsWith("}\n")));
}

TEST_F(ServerTest, WhoIsStillSendingABodyThatNobodyReadsIsAnswered) {
  Start();
  for (int i = 0; i < 20; ++i) {
    RawClient client = Connect();
    ASSERT_TRUE(client.Send("POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n"));
    ASSERT_TRUE(client.Send(std::string(2000000, 'x'))) << "cut off after " << i;
    EXPECT_THAT(client.ReadAll(), HasSubstr("docker build is not implemented"));
    EXPECT_FALSE(client.reset);
  }
}

TEST_F(ServerTest, AHeadIsAnsweredWithoutABody) {
  Start();
  EXPECT_THAT(Ask("HEAD /containers/c1/archive?path=/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 501 "), Not(HasSubstr("message"))));
}

TEST_F(ServerTest, ErrorsHaveDockersCodesAndShape) {
  Start();
  EXPECT_THAT(Get("/nothing"),
              AllOf(StartsWith("HTTP/1.1 404 "), EndsWith("{\"message\":\"page not found\"}\n"),
                    HasSubstr("Content-Type: application/json")));
  EXPECT_THAT(Post("/info", "{}"), AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET\r\n")));
  EXPECT_THAT(Get("/v1.99/info"),
              AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("client version 1.99 is too new")));
  EXPECT_THAT(Get("/v1.1/info"),
              AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("client version 1.1 is too old")));
  EXPECT_THAT(Get("/networks/x"), AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("network x not found")));
  EXPECT_THAT(Post("/networks/create", "{}"),
              AllOf(StartsWith("HTTP/1.1 501 "), HasSubstr("docker network is not implemented")));
  EXPECT_THAT(Post("/images/create?fromImage=busybox", ""), StartsWith("HTTP/1.1 501 "));
  EXPECT_THAT(Get("/containers/c9/json"),
              AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("No such container: c9")));
  EXPECT_THAT(Get("/containers/json?limit=x"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Get("/containers/json?filters=%7B"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Get("/events?since=yesterday"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Get("/containers/c1/logs"), HasSubstr("you must choose at least one stream"));
  EXPECT_THAT(Post("/containers/c1/resize?h=1", ""), StartsWith("HTTP/1.1 400 "));
}

TEST_F(ServerTest, WhatThereIsNoneOfIsListedAsEmptyAndNotRefused) {
  Start();
  EXPECT_THAT(Get("/volumes"), EndsWith("{\"Volumes\":[],\"Warnings\":null}\n"));
  EXPECT_THAT(Get("/volumes/v"), AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("get v: no such volume")));
  EXPECT_THAT(Ask("DELETE /volumes/v?force=1 HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(Ask("DELETE /volumes/v HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Get("/plugins"), EndsWith("\r\n\r\n[]\n"));
  for (const char* path : {"/swarm", "/nodes", "/services", "/tasks/t", "/secrets", "/configs/c"}) {
    EXPECT_THAT(Get(path),
                AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("This node is not a swarm manager. Use "
                                                             "\\\"docker swarm init\\\" or")))
        << path;
  }
  EXPECT_THAT(Post("/swarm/leave", ""), HasSubstr("This node is not part of a swarm"));
}

TEST_F(ServerTest, TheThreeNetworksAreListedFilteredAndInspected) {
  Start();
  const auto names = [&](const std::string& path) {
    const std::string answer = Get(path);
    std::string found;
    for (const char* name : {"bridge", "host", "none"}) {
      if (answer.find(std::string("\"Name\":\"") + name) != answer.npos) found += std::string(name) + " ";
    }
    return answer.starts_with("HTTP/1.1 200 ") ? found : answer;
  };
  EXPECT_EQ(names("/networks"), "bridge host none ");
  EXPECT_EQ(names("/v1.22/networks/"), "bridge host none ");
  EXPECT_EQ(names("/networks?filters={%22name%22:[%22o%22]}"), "host none ");
  EXPECT_EQ(names("/networks?filters={%22driver%22:[%22host%22],%22type%22:{%22builtin%22:true}}"), "host ");
  EXPECT_EQ(names("/networks?filters={%22label%22:[%22com.docker.compose.project=x%22]}"), "");
  EXPECT_THAT(names("/networks?filters={%22nosuch%22:[%22x%22]}"), StartsWith("HTTP/1.1 400 "));
  const std::string host = Get("/networks/host");
  EXPECT_THAT(host, AllOf(HasSubstr("\"Driver\":\"host\""), HasSubstr("\"Config\":[]"),
                          HasSubstr("{\"" + FakeEngine::Id() + "\":{")));
  const std::string id = host.substr(host.find("\"Id\":\"") + 6, 12);
  EXPECT_THAT(Get("/networks/" + id), HasSubstr("\"Name\":\"host\""));
  EXPECT_THAT(
      Ask("DELETE /networks/host HTTP/1.1\r\n\r\n"),
      AllOf(StartsWith("HTTP/1.1 403 "), HasSubstr("host is a pre-defined network and cannot be removed")));
}

TEST_F(ServerTest, OptionsAreAnsweredOnEveryPath) {
  Start();
  for (const char* path : {"/containers/json", "/v1.40/nothing", "/"}) {
    EXPECT_THAT(Ask(std::string("OPTIONS ") + path + " HTTP/1.1\r\n\r\n"),
                AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("\r\n\r\n")))
        << path;
  }
}

TEST_F(ServerTest, OldClientsReadSecurityOptionsWithoutNames) {
  Start();
  EXPECT_THAT(Get("/v1.24/info"), HasSubstr("\"SecurityOptions\":[\"seccomp\"]"));
  EXPECT_THAT(Get("/v1.25/info"), HasSubstr("\"SecurityOptions\":[\"name=seccomp"));
}

TEST_F(ServerTest, LogsTakeDetailsAndATailThatIsNoNumber) {
  Start();
  const auto ask = [&](const std::string& query) {
    Get("/containers/c1/logs?stdout=1" + query);
    return engine_.logs_asked.get();
  };
  EXPECT_EQ(ask("&tail=random").tail, -1);
  EXPECT_EQ(ask("&tail=all").tail, -1);
  EXPECT_EQ(ask("&tail=7").tail, 7);
  EXPECT_FALSE(ask("").details);
  EXPECT_TRUE(ask("&details=1").details);
}

TEST_F(ServerTest, OldClientsFindWhatImagesHadThen) {
  Start();
  EXPECT_THAT(Get("/v1.38/images/img/json"), HasSubstr("\"ContainerConfig\":{"));
  EXPECT_THAT(Get("/v1.44/images/img/json"), HasSubstr("\"ContainerConfig\":{"));
  EXPECT_THAT(Get("/v1.45/images/img/json"), Not(HasSubstr("ContainerConfig")));
  EXPECT_THAT(Get("/v1.43/images/img/json"), HasSubstr("\"VirtualSize\":1234"));
  EXPECT_THAT(Get("/v1.43/images/json"), HasSubstr("\"VirtualSize\":1234"));
  EXPECT_THAT(Get("/images/json"), Not(HasSubstr("VirtualSize")));
}

TEST_F(ServerTest, ALogThatNobodyKeepsIsAnErrorAndNoStream) {
  engine_.keeps_log = false;
  Start();
  EXPECT_THAT(Get("/containers/c1/logs?stdout=1"),
              AllOf(StartsWith("HTTP/1.1 501 "),
                    EndsWith("{\"message\":\"configured logging driver does not support reading\"}\n")));
  EXPECT_THAT(Get("/containers/c9/logs?stdout=1"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(ServerTest, UnreadableRequestsAreAnsweredAndClosed) {
  Limits limits;
  limits.header_bytes = 4096;
  limits.header_time = seconds(1);
  Start(limits);
  for (const char* bytes :
       {"\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"}) {
    RawClient client = Connect();
    client.Send(bytes);
    EXPECT_THAT(client.ReadAll(), AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("Connection: close")))
        << bytes;
  }
  RawClient large = Connect();
  large.Send("GET / HTTP/1.1\r\nA: " + std::string(10000, 'a'));
  EXPECT_THAT(large.ReadAll(), StartsWith("HTTP/1.1 431 "));
  RawClient slow = Connect();
  slow.Send("GET / HTTP");
  EXPECT_THAT(slow.ReadAll(), StartsWith("HTTP/1.1 408 "));
  RawClient expecting = Connect();
  expecting.Send("GET / HTTP/1.1\r\nExpect: miracles\r\n\r\n");
  EXPECT_THAT(expecting.ReadAll(), StartsWith("HTTP/1.1 417 "));
}

TEST_F(ServerTest, IdleConnectionsAreClosedQuietly) {
  Limits limits;
  limits.idle_time = seconds(1);
  Start(limits);
  RawClient client = Connect();
  EXPECT_EQ(client.ReadAll(), "");
  EXPECT_FALSE(client.reset);
}

TEST_F(ServerTest, JsonBodiesAreChecked) {
  Limits limits;
  limits.json_bytes = 1000;
  Start(limits);
  EXPECT_THAT(Post("/containers/create", "{}", "text/plain"),
              AllOf(StartsWith("HTTP/1.1 400 "),
                    HasSubstr("unsupported Content-Type header (text/plain): must be 'application/json'")));
  EXPECT_THAT(Post("/containers/create", "{\"Image\":"),
              AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("invalid JSON: unexpected EOF")));
  EXPECT_THAT(Post("/containers/create", "{invalid"),
              HasSubstr("invalid JSON: invalid character 'i' looking for beginning of object key string"));
  EXPECT_THAT(Post("/containers/create", "{} {}"),
              HasSubstr("{\"message\":\"unexpected content after JSON\"}"));
  EXPECT_THAT(Post("/containers/create", ""), HasSubstr("got EOF while reading request body"));
  EXPECT_THAT(Post("/containers/create", "null"), HasSubstr("Config cannot be empty"));
  EXPECT_THAT(Post("/containers/create", "[]"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Post("/containers/create", "{\"Tty\":1}"), HasSubstr("Config.Tty: want a boolean, got number"));
  EXPECT_THAT(Post("/containers/create", std::string(1001, ' ')), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(Post("/containers/create?name=n", "{\"Image\":\"i\"}", "Application/JSON; charset=utf-8"),
              StartsWith("HTTP/1.1 201 "));
  EXPECT_EQ(engine_.created.get().name, "n");
  EXPECT_EQ(engine_.created.get().config.image, "i");
}

TEST_F(ServerTest, ABodyNobodyWantedDoesNotBecomeARequest) {
  Start();
  RawClient client = Connect();
  client.Send(
      "POST /containers/c1/start?checkpoint=cp&checkpoint-dir=/d HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_THAT(client.ReadAnswer(), AllOf(StartsWith("HTTP/1.1 204 "), Not(HasSubstr("Content-Length"))));
  EXPECT_EQ(engine_.started_from.get(), "cp@/d");
  client.Send("POST /containers/c9/pause HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}");
  EXPECT_THAT(client.ReadAnswer(), AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("Connection: close")));
  EXPECT_EQ(client.ReadAll(), "");
}

TEST_F(ServerTest, AStreamInAnswerToAnUnwantedBodyKeepsTheConnectionOrSaysThatItEnds) {
  engine_.exit_now.Open();
  Start();
  const std::string wait = "POST /containers/c1/wait HTTP/1.1\r\nContent-Length: 2\r\n\r\n";
  RawClient whole = Connect();
  whole.Send(wait + "{}");
  EXPECT_THAT(whole.ReadUntil("\r\n0\r\n\r\n"),
              AllOf(HasSubstr("StatusCode"), Not(HasSubstr("Connection: close"))));
  whole.Send("GET /_ping HTTP/1.1\r\n\r\n");
  EXPECT_THAT(whole.ReadAnswer(), EndsWith("OK"));
  RawClient late = Connect();
  late.Send(wait + "{");
  EXPECT_THAT(late.ReadAll(), AllOf(HasSubstr("Connection: close\r\n"), EndsWith("\r\n0\r\n\r\n")));
}

TEST_F(ServerTest, ExpectContinueIsAnsweredOnlyWhenTheBodyIsWanted) {
  Start();
  RawClient client = Connect();
  client.Send("POST /images/load HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("abc");
  EXPECT_THAT(client.ReadUntil("\r\n0\r\n\r\n"), HasSubstr("Loaded image: 3\\n"));
  client.Send("POST /nothing HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(client.ReadAnswer(), StartsWith("HTTP/1.1 404 "));
}

TEST_F(ServerTest, UploadsAreStreamedAndAnsweredWhileTheyCome) {
  Start();
  RawClient client = Connect();
  client.Send("POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  EXPECT_THAT(client.ReadUntil("first bytes"), StartsWith("HTTP/1.1 200 "));
  std::string chunk = "100000\r\n" + std::string(0x100000, 'z') + "\r\n";
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(client.Send(chunk));
  client.Send("0\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n0\r\n\r\n"),
              HasSubstr("Loaded image: " + std::to_string(3 + 32 * 0x100000)));
  // The connection goes on.
  client.Send("GET /_ping HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.ReadAnswer(), EndsWith("OK"));
}

TEST_F(ServerTest, AFailureInTheMiddleOfAStreamIsToldInIt) {
  Start();
  RawClient client = Connect();
  client.Send("POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  client.ReadUntil("first bytes");
  client.Send("6\r\nPOISON\r\n");
  EXPECT_THAT(client.ReadAll(),
              AllOf(HasSubstr("\"errorDetail\":{\"message\":\"bad archive\"}"), EndsWith("\r\n0\r\n\r\n")));
  EXPECT_FALSE(client.reset);
}

TEST_F(ServerTest, MalformedChunksAndVanishedUploadersEndTheUpload) {
  Start();
  RawClient malformed = Connect();
  malformed.Send("POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
  EXPECT_THAT(malformed.ReadAll(), StartsWith("HTTP/1.1 400 "));
  RawClient vanished = Connect();
  vanished.Send("POST /images/load HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\nabc");
  vanished.Close();
  EXPECT_TRUE(engine_.load_failed.WaitBriefly());
}

TEST_F(ServerTest, ALongCallIsCancelledWhenItsClientLeavesAndDelaysNobody) {
  Start();
  RawClient client = Connect();
  client.Send(
      "POST /containers/c1/checkpoints HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: "
      "38\r\n\r\n"
      "{\"CheckpointID\":\"cp1\",\"Exit\":true}    ");
  ASSERT_TRUE(engine_.checkpoint_begun.WaitBriefly());
  EXPECT_TRUE(engine_.checkpoint.get().exit);
  EXPECT_THAT(Get("/containers/c1/json"), StartsWith("HTTP/1.1 200 "));
  client.Close();
  EXPECT_TRUE(engine_.checkpoint_cancelled.WaitBriefly());
}

TEST_F(ServerTest, AStopGoesOnWhenItsClientLeaves) {
  Start();
  RawClient stopper = Connect();
  stopper.Send("POST /containers/c1/stop?t=30 HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(engine_.stop_begun.WaitBriefly());
  stopper.Close();
  // The server has seen that once it has seen the same of a client that leaves after it.
  RawClient other = Connect();
  other.Send(
      "POST /containers/c1/checkpoints HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: "
      "2\r\n\r\n{}");
  ASSERT_TRUE(engine_.checkpoint_begun.WaitBriefly());
  other.Close();
  ASSERT_TRUE(engine_.checkpoint_cancelled.WaitBriefly());
  engine_.stop_may_end.Open();
  EXPECT_TRUE(engine_.stop_ended.WaitBriefly());
}

TEST_F(ServerTest, AHalfClosedClientStillGetsItsAnswer) {
  Start();
  RawClient client = Connect();
  client.Send(
      "POST /containers/c1/checkpoints HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: "
      "22\r\n\r\n"
      "{\"CheckpointID\":\"cp1\"}");
  client.HalfClose();
  ASSERT_TRUE(engine_.checkpoint_begun.WaitBriefly());
  engine_.checkpoint_may_end.Open();
  EXPECT_THAT(client.ReadAnswer(), StartsWith("HTTP/1.1 201 "));
}

TEST_F(ServerTest, ACheckpointsAnswerHasABodyWhereThereAreWarnings) {
  Start();
  engine_.checkpoint_may_end.Open();
  const std::string body = "{\"CheckpointID\":\"cp1\"}";
  EXPECT_THAT(Post("/containers/c1/checkpoints", body), Not(HasSubstr("Warnings")));
  engine_.checkpoint_warnings = std::vector<std::string>{"it is lost"};
  EXPECT_THAT(Post("/containers/c1/checkpoints", body),
              AllOf(StartsWith("HTTP/1.1 201 "), EndsWith("\r\n\r\n{\"Warnings\":[\"it is lost\"]}\n")));
}

TEST_F(ServerTest, CheckpointsAreListedAndDeleted) {
  Start();
  EXPECT_THAT(Get("/containers/c1/checkpoints"), EndsWith("[{\"Name\":\"cp1\"},{\"Name\":\"cp2\"}]\n"));
  EXPECT_THAT(Get("/containers/c1/checkpoints?dir=/empty"), EndsWith("\r\n\r\n[]\n"));
  EXPECT_THAT(Ask("DELETE /containers/c1/checkpoints/cp1 HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(Ask("DELETE /containers/c1/checkpoints/cp9 HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Get("/containers/c1/checkpoints/cp1/json"), EndsWith("{\"Name\":\"cp1\"}\n"));
}

TEST_F(ServerTest, FilesThatDifferAreListedAsDockersChanges) {
  Start();
  EXPECT_THAT(Get("/containers/c1/checkpoints/cp1/diff?to=cp2&dir=/d"),
              EndsWith("[{\"Kind\":0,\"Path\":\"/cp1\"},{\"Kind\":1,\"Path\":\"/cp2\"},"
                       "{\"Kind\":2,\"Path\":\"/d\"}]\n"));
  EXPECT_THAT(Get("/containers/c1/checkpoints/bare/diff"), StartsWith("HTTP/1.1 409 "));
  EXPECT_THAT(Get("/containers/c1/checkpoints/cp1/diff?since-image=1"), HasSubstr("/of-image"));
}

TEST_F(ServerTest, LongWorkTellsItsProgressWhereThatIsAskedFor) {
  Start();
  const auto verify = [&](const std::string& query) {
    RawClient client = Connect();
    client.Send("POST /checkpoints/verify?" + query + " HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    return client.ReadUntil("0\r\n\r\n");
  };
  const std::string slow = verify("dir=/slow&progress=1");
  EXPECT_THAT(
      slow,
      HasSubstr("{\"progress\":{\"bytes\":5,\"bytes_per_second\":2,\"phase\":\"packs\",\"total\":10}}\n"));
  EXPECT_THAT(slow, HasSubstr("{\"result\":{\"Bytes\":4096,"));
  EXPECT_THAT(verify("dir=/broken&progress=1"), HasSubstr("{\"error\":\"it broke\"}\n"));
  EXPECT_THAT(Post("/checkpoints/verify?dir=/quick&progress=1", ""), HasSubstr("\r\n\r\n{\"Bytes\":4096,"));
}

TEST_F(ServerTest, TheProcessesOfACheckpointComeLineByLine) {
  Start();
  const auto get = [&](const std::string& query) {
    RawClient client = Connect();
    client.Send("GET /containers/c1/checkpoints/cp1/processes?" + query + " HTTP/1.1\r\n\r\n");
    return client.ReadUntil("0\r\n\r\n");
  };
  const std::string all = get("files=1");
  EXPECT_THAT(all, HasSubstr("{\"files\":true,\"memory\":false,\"pid\":1}\n"));
  EXPECT_THAT(all, HasSubstr("\"pid\":7}\n"));
  const std::string one = get("memory=1&pid=7");
  EXPECT_THAT(one, HasSubstr("{\"files\":false,\"memory\":true,\"pid\":7}\n"));
  EXPECT_THAT(one, Not(HasSubstr("\"pid\":1")));
  EXPECT_THAT(Get("/containers/c1/checkpoints/cp9/processes"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Get("/containers/c1/checkpoints/cp1/processes?pid=-1"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(get("pid=8"), AllOf(StartsWith("HTTP/1.1 200 "), Not(HasSubstr("\"pid\""))));
}

TEST_F(ServerTest, CheckpointsOfAStoreAreListedAndCarriedWithoutAContainer) {
  Start();
  EXPECT_THAT(Get("/checkpoints"),
              AllOf(HasSubstr("\"ContainerName\":\"c1\""), HasSubstr("\"FilesOnly\":true"),
                    HasSubstr("\"Created\":\"0001-01-01T00:00:00Z\"")));
  EXPECT_THAT(Get("/checkpoints?dir=/none"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Get("/checkpoints/cp1/json?dir=/d"), EndsWith("{\"In\":\"/d\",\"Name\":\"cp1\"}\n"));
  const auto export_of = [&](const std::string& path) {
    RawClient client = Connect();
    client.Send("GET " + path + " HTTP/1.1\r\n\r\n");
    return client.ReadUntil("0\r\n\r\n");
  };
  EXPECT_THAT(export_of("/containers/c1/checkpoints/cp1/export"), HasSubstr("\r\nc1/cp1/\r\n"));
  EXPECT_THAT(export_of("/checkpoints/cp1/export?dir=/d"), HasSubstr("\r\n/cp1//d\r\n"));
  EXPECT_THAT(Get("/checkpoints/cp9/export?dir=/d"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Post("/checkpoints/import?container=c1&name=n&dir=/d", "bytes"),
              AllOf(StartsWith("HTTP/1.1 201 "), EndsWith("{\"Name\":\"c1/n//d/bytes\"}\n")));
}

TEST_F(ServerTest, ARestoreTellsWhatItReplacedWhereThatIsAskedForAndIsUndone) {
  Start();
  EXPECT_THAT(Post("/containers/c1/start?checkpoint=cp1", ""), StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(Post("/containers/c1/start?checkpoint=cp1&report=1", ""),
              AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("{\"FilesKept\":\"before\"}\n")));
  EXPECT_THAT(Post("/containers/c1/undo", ""), EndsWith("{\"Kept\":\"kept\",\"Restored\":\"last\"}\n"));
  EXPECT_THAT(Post("/containers/c1/undo?checkpoint=x", ""), HasSubstr("\"Restored\":\"x\""));
  EXPECT_THAT(Post("/containers/c9/undo", ""), StartsWith("HTTP/1.1 404 "));
}

TEST_F(ServerTest, WaitSendsItsHeaderWhenTheWaitBegins) {
  Start();
  RawClient client = Connect();
  client.Send("POST /containers/c1/wait?condition=next-exit HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  engine_.exit_now.Open();
  EXPECT_THAT(client.ReadUntil("0\r\n\r\n"), HasSubstr("{\"StatusCode\":7}"));
  EXPECT_THAT(Post("/containers/c1/wait?condition=boredom", ""), StartsWith("HTTP/1.1 400 "));
}

TEST_F(ServerTest, MoreConnectionsThanTheLimitAreRefused) {
  Limits limits;
  limits.connections = 2;
  Start(limits);
  RawClient first = Connect();
  first.Send("GET /_ping HTTP/1.1\r\n\r\n");
  first.ReadAnswer();
  RawClient second = Connect();
  second.Send("GET /_ping HTTP/1.1\r\n\r\n");
  second.ReadAnswer();
  RawClient third = Connect();
  EXPECT_THAT(third.ReadAll(), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("too many connections")));
}

TEST_F(ServerTest, AClientThatDoesNotReadItsAnswerIsGivenUp) {
  Limits limits;
  limits.write_pause = seconds(1);
  Gate given_up;
  Route large{"GET", "/large",
              [&](Request&, Response& response) {
                Status status = response.Whole(200, "", std::string(8 << 20, 'x'));
                if (status.code() == StatusCode::kDeadlineExceeded) given_up.Open();
                return status;
              },
              "", "test"};
  Start(limits, {large});
  RawClient client = Connect();
  client.Send("GET /large HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(given_up.WaitBriefly());
  StopServer();
}

TEST_F(ServerTest, AnExceptionCostsOneRequest) {
  Route throwing{"GET", "/throw", [](Request&, Response&) -> Status { throw std::bad_alloc(); }, "", "test"};
  Route silent{"GET", "/silent", [](Request&, Response&) { return absl::OkStatus(); }, "", "test"};
  Start({}, {throwing, silent});
  EXPECT_THAT(Get("/throw"), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(Get("/silent"), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(Get("/_ping"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ServerTest, AStreamThatFailsIsCutOff) {
  Route failing{"GET", "/cut",
                [](Request&, Response& response) -> Status {
                  STASIS_RETURN_IF_ERROR(response.StartStream(200, "text/plain"));
                  STASIS_RETURN_IF_ERROR(response.Write("half"));
                  return Internal("no more");
                },
                "", "test"};
  Start({}, {failing});
  RawClient client = Connect();
  client.Send("GET /cut HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.ReadAll(), EndsWith("4\r\nhalf\r\n"));
}

TEST_F(ServerTest, AStoppingServerEndsStreamsAndIdleConnectionsAndFinishesCalls) {
  Start();
  RawClient idle = Connect();
  RawClient events = Connect();
  events.Send("GET /events HTTP/1.1\r\n\r\n");
  events.ReadUntil("start");
  RawClient logs = Connect();
  logs.Send("GET /containers/c1/logs?follow=1&stdout=1 HTTP/1.1\r\n\r\n");  // never read: its writer waits
  RawClient upload = Connect();
  upload.Send("POST /images/load HTTP/1.1\r\nContent-Length: 1000\r\n\r\nx");
  upload.ReadUntil("first bytes");
  RawClient call = Connect();
  call.Send(
      "POST /containers/c1/checkpoints HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: "
      "2\r\n\r\n{}");
  ASSERT_TRUE(engine_.checkpoint_begun.WaitBriefly());
  thread_.request_stop();
  EXPECT_EQ(idle.ReadAll(), "");
  EXPECT_TRUE(engine_.load_failed.WaitBriefly());
  EXPECT_THAT(events.ReadAll(), Not(EndsWith("0\r\n\r\n")));
  engine_.checkpoint_may_end.Open();
  EXPECT_THAT(call.ReadAll(), StartsWith("HTTP/1.1 201 "));
  thread_.join();
  thread_ = std::jthread();
}

TEST_F(ServerTest, AStoppingServerCancelsCallsAfterTheGrace) {
  Limits limits;
  limits.stop_grace = seconds(1);
  Start(limits);
  RawClient call = Connect();
  call.Send(
      "POST /containers/c1/checkpoints HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: "
      "2\r\n\r\n{}");
  ASSERT_TRUE(engine_.checkpoint_begun.WaitBriefly());
  StopServer();
  EXPECT_TRUE(engine_.checkpoint_cancelled.WaitBriefly());
}

TEST_F(ServerTest, NoBytesBringItDown) {
  Start();
  const std::string valid =
      "POST /v1.47/containers/create?name=a%20b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\n{\"a\":\r\n3\r\n1} \r\n0\r\n\r\n";
  unsigned seed = 1;
  auto random = [&seed] { return seed = seed * 1103515245 + 12345, seed >> 16 & 0x7fff; };
  for (int i = 0; i < 400; ++i) {
    std::string bytes = valid.substr(0, random() % valid.size() + 1);
    for (unsigned n = random() % 4; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    RawClient client = Connect();
    client.Send(bytes);
    if (i % 2) client.HalfClose();
    if (i % 3) client.Close();
  }
  EXPECT_THAT(Get("/_ping"), StartsWith("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace stasis::api
