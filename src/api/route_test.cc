#include "api/route.h"

#include <sstream>

#include "api/routes.h"
#include "gtest/gtest.h"

namespace stasis::api {
namespace {

Route Make(const char* method, const char* pattern) {
  return {method, pattern, [](Request&, Response&) { return absl::OkStatus(); }, pattern, "test"};
}

RouteTable Table() {
  return *RouteTable::Create({Make("GET", "/info"), Make("GET", "/images/json"),
                              Make("GET", "/images/{name...}/json"), Make("DELETE", "/images/{name...}"),
                              Make("GET", "/containers/{id}/json"),
                              Make("POST", "/containers/{id}/checkpoints"),
                              Make("DELETE", "/containers/{id}/checkpoints/{checkpoint}")});
}

Request To(const char* method, const char* path) {
  Request request;
  request.method = method;
  request.path = path;
  return request;
}

// The pattern that matched, or the error's message, or "allowed: ...".
std::string Match(const char* method, const char* path) {
  Request request = To(method, path);
  static const RouteTable kTable = Table();
  StatusOr<RouteTable::Match> match = kTable.Find(request);
  if (!match.ok()) return Message(match.status());
  return match->route ? match->route->pattern : "allowed: " + match->allowed;
}

TEST(RouteTableTest, PathsMatchWithAndWithoutVersion) {
  EXPECT_EQ(Match("GET", "/info"), "/info");
  EXPECT_EQ(Match("GET", "/v1.22/info"), "/info");
  EXPECT_EQ(Match("GET", "/v1.47/containers/abc/json"), "/containers/{id}/json");
  EXPECT_EQ(Match("GET", "/images/json"), "/images/json");
  EXPECT_EQ(Match("GET", "/images/a/json"), "/images/{name...}/json");
  EXPECT_EQ(Match("GET", "/images/host/a/b:1/json"), "/images/{name...}/json");
  EXPECT_EQ(Match("DELETE", "/images/json/json"), "/images/{name...}");
}

TEST(RouteTableTest, UnknownPathsAndMethodsAreToldApart) {
  for (const char* path : {"/", "", "/x", "/v1.47", "/v1.47/", "/info/", "//info", "/containers//json",
                           "/images/", "/vx.1/info", "/v1/info", "/v1.4.7/info", "*"}) {
    EXPECT_EQ(Match("GET", path), "page not found") << path;
  }
  EXPECT_EQ(Match("POST", "/info"), "allowed: GET");
  EXPECT_EQ(Match("GET", "/v1.99/nothing"), "page not found");
}

TEST(RouteTableTest, VersionsOutOfRangeGetDockersWords) {
  EXPECT_EQ(Match("GET", "/v1.99/info"),
            "client version 1.99 is too new. Maximum supported API version is 1.47");
  EXPECT_EQ(Match("GET", "/v2.0/info"),
            "client version 2.0 is too new. Maximum supported API version is 1.47");
  EXPECT_EQ(
      Match("GET", "/v1.1/info"),
      "client version 1.1 is too old. Minimum supported API version is 1.22, please upgrade your client to a "
      "newer version");
}

TEST(RouteTableTest, NamesInThePathAreDecoded) {
  RouteTable table = Table();
  Request request = To("DELETE", "/v1.30/containers/a%2fb/checkpoints/c%20d");
  ASSERT_TRUE(table.Find(request).ok());
  EXPECT_EQ(request.Value("id"), "a/b");
  EXPECT_EQ(request.Value("checkpoint"), "c d");
  EXPECT_EQ(request.minor_version, 30);
  Request image = To("GET", "/images/a/b%3A1/json");
  ASSERT_TRUE(table.Find(image).ok());
  EXPECT_EQ(image.Value("name"), "a/b:1");
  Request broken = To("GET", "/containers/%zz/json");
  EXPECT_EQ(table.Find(broken).status().code(), StatusCode::kInvalidArgument);
}

TEST(RouteTableTest, ASlashAtTheEndIsAPatternOfItsOwn) {
  StatusOr<RouteTable> table =
      RouteTable::Create({Make("GET", "/a"), Make("GET", "/a/"), Make("GET", "/a/{id}")});
  ASSERT_TRUE(table.ok()) << table.status();
  for (const char* path : {"/a", "/a/", "/a/{id}"}) {
    Request request = To("GET", path);
    StatusOr<RouteTable::Match> match = table->Find(request);
    ASSERT_TRUE(match.ok() && match->route) << path;
    EXPECT_EQ(match->route->pattern, path);
  }
}

TEST(RouteTableTest, MistakesInTheTableAreRefused) {
  EXPECT_FALSE(RouteTable::Create({Make("GET", "/a"), Make("GET", "/a")}).ok());
  for (const char* pattern : {"a", "/", "/a//", "//a", "/{x...}/{y...}", "/a{b"}) {
    EXPECT_FALSE(RouteTable::Create({Make("GET", pattern)}).ok()) << pattern;
  }
}

TEST(EngineRoutesTest, TheWholeTableIsSoundAndCanBeListedWithoutAnEngine) {
  std::vector<Route> routes = EngineRoutes({});
  std::ostringstream out;
  PrintRoutes(routes, out);
  EXPECT_NE(out.str().find("POST    /containers/{id}/checkpoints "), std::string::npos) << out.str();
  for (const Route& route : routes) EXPECT_FALSE(route.description.empty()) << route.pattern;
  EXPECT_TRUE(RouteTable::Create(std::move(routes)).ok());
}

}  // namespace
}  // namespace stasis::api
