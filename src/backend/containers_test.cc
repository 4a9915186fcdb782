#include "backend/containers.h"

#include "gtest/gtest.h"

namespace stasis::backend {
namespace {

TEST(FiltersTest, BothFormsAreRead) {
  EXPECT_TRUE(FiltersFromJson("")->empty());
  EXPECT_TRUE(FiltersFromJson("{}")->empty());
  EXPECT_EQ(FiltersFromJson(R"({"label":["a=b","c"]})")->at("label"), (std::vector<std::string>{"a=b", "c"}));
  EXPECT_EQ(FiltersFromJson(R"({"label":{"a":true,"b":false}})")->at("label"),
            (std::vector<std::string>{"a"}));
  EXPECT_TRUE(FiltersFromJson(R"({"label":[]})")->empty());
}

TEST(FiltersTest, AnythingElseIsRefused) {
  for (const char* text :
       {"x", "[]", "1", R"({"a":1})", R"({"a":[1]})", R"({"a":{"b":1}})", R"({"a":"b"})", "{} {}"}) {
    EXPECT_EQ(FiltersFromJson(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace stasis::backend
