#include "base/json_error.h"

#include "base/json.h"
#include "gtest/gtest.h"

namespace stasis {
namespace {

TEST(JsonErrorTest, FaultsAreToldAsGoTellsThem) {
  for (auto [text, error] : std::initializer_list<std::pair<std::string, std::string>>{
           {"{invalid", "invalid character 'i' looking for beginning of object key string"},
           {"{\"a\":1,}", "invalid character '}' looking for beginning of object key string"},
           {"{\"a\" 1}", "invalid character '1' after object key"},
           {"{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"},
           {"{\"a\":}", "invalid character '}' looking for beginning of value"},
           {"[1 2]", "invalid character '2' after array element"},
           {"[1,]", "invalid character ']' looking for beginning of value"},
           {"\"a\nb\"", "invalid character '\\n' in string literal"},
           {"\"\\x\"", "invalid character 'x' in string escape code"},
           {"\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"},
           {"-a", "invalid character 'a' in numeric literal"},
           {"[1.]", "invalid character ']' after decimal point in numeric literal"},
           {"[1e+]", "invalid character ']' in exponent of numeric literal"},
           {"nothing", "invalid character 'o' in literal null (expecting 'u')"},
           {"'", "invalid character '\\'' looking for beginning of value"},
           {"{\"a\":", "unexpected EOF"},
           {"\"ab\\", "unexpected EOF"},
           {"tru", "unexpected EOF"},
           {"{} x", "unexpected content after JSON"}}) {
    EXPECT_EQ(DescribeJsonError(text), error) << text;
    EXPECT_EQ(Message(ParseJson(text).status()), error) << text;
  }
  for (const char* text : {"{}", " [1, -2.5e-3, \"\\u00e9\\\"\\\\\", {\"a\": [true, false, null]}] "}) {
    EXPECT_EQ(DescribeJsonError(text), "") << text;
    EXPECT_TRUE(ParseJson(text).ok()) << text;
  }
}

}  // namespace
}  // namespace stasis
