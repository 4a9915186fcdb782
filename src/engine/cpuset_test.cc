#include "engine/cpuset.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(CpusetTest, ListsAreReadAsTheKernelWritesThem) {
  EXPECT_EQ(*ParseNumberList("0-2,7"), (std::set<int>{0, 1, 2, 7}));
  EXPECT_TRUE(ParseNumberList("")->empty());
  for (const char* text : {"1-42,,", "a", "-1", "3-1", "1-", "0,99999999999", "8192", " 1", "0-1-2"})
    EXPECT_EQ(ParseNumberList(text).status().code(), StatusCode::kInvalidArgument) << text;
}

TEST(CpusetTest, WhatTheMachineHasNotIsRefusedInDockersWords) {
  EXPECT_TRUE(CheckCpus("0-1", "0-3").ok());
  EXPECT_TRUE(CheckCpus("", "0-3").ok());
  EXPECT_TRUE(CheckCpus("9", "").ok());
  EXPECT_EQ(Message(CheckCpus("1-42,,", "0-1")),
            "Invalid value 1-42,, for cpuset cpus: invalid format: 1-42,,");
  EXPECT_EQ(Message(CheckCpus("0-4", "0-1")),
            "Requested CPUs are not available - requested 0-4, available: 0-1");
  EXPECT_EQ(Message(CheckMemoryNodes("1", "0")),
            "Requested memory nodes are not available - requested 1, available: 0");
}

}  // namespace
}  // namespace stasis::engine
