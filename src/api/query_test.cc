#include "api/query.h"

#include "gtest/gtest.h"

namespace stasis::api {
namespace {

TEST(QueryTest, ParametersAreDecoded) {
  StatusOr<Query> query = Query::Parse("a=1&b=x%20y+z&&c&changes=CMD%20a&changes=ENV%20b=c&e=");
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->Text("a"), "1");
  EXPECT_EQ(query->Text("b"), "x y z");
  EXPECT_EQ(query->Text("c"), "");
  EXPECT_EQ(query->Text("missing"), "");
  EXPECT_EQ(query->All("changes"), (std::vector<std::string>{"CMD a", "ENV b=c"}));
  EXPECT_EQ(Query::Parse("a=%2F%2f")->Text("a"), "//");
}

TEST(QueryTest, BrokenEscapesAreRefused) {
  for (const char* raw : {"a=%", "a=%4", "a=%zz", "%4=1", "a=%00"}) {
    EXPECT_EQ(Query::Parse(raw).status().code(), StatusCode::kInvalidArgument) << raw;
  }
}

TEST(QueryTest, BooleansAreReadAsDockerReadsThem) {
  Query query = *Query::Parse("a=1&b=true&c=0&d=False&e=no&f=none&g=&h=yes&i=%20");
  for (const char* name : {"a", "b", "h"}) EXPECT_TRUE(query.Flag(name)) << name;
  for (const char* name : {"c", "d", "e", "f", "g", "i", "missing"}) EXPECT_FALSE(query.Flag(name)) << name;
}

TEST(QueryTest, IntegersAreChecked) {
  Query query = *Query::Parse("a=-1&b=1x&c=99999999999999999999&d=&e=70000");
  EXPECT_EQ(*query.Integer("a"), -1);
  EXPECT_EQ(*query.Integer("d"), std::nullopt);
  EXPECT_EQ(*query.Integer("missing", 0, 5), std::nullopt);
  EXPECT_FALSE(query.Integer("b").ok());
  EXPECT_FALSE(query.Integer("c").ok());
  EXPECT_FALSE(query.Integer("e", 0, 65535).ok());
}

}  // namespace
}  // namespace stasis::api
