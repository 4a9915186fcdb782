#include "base/json.h"

#include "gtest/gtest.h"

namespace stasis {
namespace {

TEST(JsonTest, MalformedDeepAndTrailingTextIsRefused) {
  for (const char* bad : {"", "{", "{}x", "[1,]", "nul"}) EXPECT_FALSE(ParseJson(bad).ok()) << bad;
  EXPECT_FALSE(ParseJson(std::string(10000, '[') + std::string(10000, ']')).ok());
  EXPECT_TRUE(ParseJson(R"({"a":[1,2,{"b":null}]})").ok());
  EXPECT_TRUE(ParseJson("[\"" + std::string(10000, '[') + "\\\"\"]").ok())
      << "brackets in a string do not nest";
}

TEST(JsonTest, ReaderNamesTheFieldOfAWrongType) {
  Json body = *ParseJson(R"({"Memory":"lots","Binds":null,"Pids":-1})");
  std::vector<std::string> binds = {"kept"};
  int64_t memory = 7;
  uint32_t pids = 9;
  JsonReader reader(body, "HostConfig");
  reader.Get("Binds", &binds);
  EXPECT_TRUE(reader.status().ok());
  EXPECT_EQ(binds.size(), 1u);
  reader.Get("Memory", &memory);
  reader.Get("Pids", &pids);
  EXPECT_EQ(Message(reader.status()), "HostConfig.Memory: want an integer, got string");
  EXPECT_EQ(memory, 7);
  EXPECT_EQ(pids, 9u);
}

TEST(JsonTest, DumpSurvivesBytesThatAreNotUtf8) { EXPECT_EQ(DumpJson(Json("a\xff")), "\"a\xEF\xBF\xBD\""); }

}  // namespace
}  // namespace stasis
