#include "engine/exec_table.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(ExecTableTest, AtTheContainersEndWhatRanIsKeptAndWhatNeverDidIsForgotten) {
  ExecTable table;
  table.Insert(std::make_shared<Exec>("ran", "c1", backend::ExecConfig{}));
  table.Insert(std::make_shared<Exec>("prepared", "c1", backend::ExecConfig{}));
  table.Insert(std::make_shared<Exec>("other", "c2", backend::ExecConfig{}));
  ASSERT_TRUE((*table.Find("ran"))->BeginRunning().ok());
  table.EndAll("c1");
  EXPECT_EQ((*table.Find("ran"))->Describe().exit_code, 137);
  EXPECT_EQ(Message(table.Find("prepared").status()), "No such exec instance: prepared");
  EXPECT_TRUE(table.Find("other").ok());
}

}  // namespace
}  // namespace stasis::engine
