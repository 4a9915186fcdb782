#include "engine/container_table.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

std::shared_ptr<Container> Make(const std::string& id, const std::string& name) {
  return std::make_shared<Container>(
      ContainerRecord{.id = *ContainerId::Parse(id + std::string(64 - id.size(), '0')), .name = name});
}

class ContainerTableTest : public testing::Test {
 protected:
  ContainerTableTest() {
    for (const auto& container : {Make("abc1", "web"), Make("abc2", "db"), Make("ff", "abc1")}) {
      EXPECT_TRUE(table_.ReserveName(container->name(), container->id()).ok());
      table_.Insert(container);
    }
  }
  std::string NameOf(const std::string& reference) {
    const auto container = table_.Find(reference);
    return container.ok() ? (*container)->name() : Message(container.status());
  }
  ContainerTable table_;
};

TEST_F(ContainerTableTest, FindsByIdNameAndPrefix) {
  EXPECT_EQ(NameOf("web"), "web");
  EXPECT_EQ(NameOf("/web"), "web");
  EXPECT_EQ(NameOf("abc2"), "db");
  EXPECT_EQ(NameOf("abc1" + std::string(60, '0')), "web");
}

TEST_F(ContainerTableTest, ANameWinsOverAPrefix) { EXPECT_EQ(NameOf("abc1"), "abc1"); }

TEST_F(ContainerTableTest, AmbiguousAndUnknownOnesAreTold) {
  EXPECT_EQ(NameOf("abc"), "Multiple IDs found with provided prefix: abc");
  EXPECT_EQ(NameOf("zzz"), "No such container: zzz");
  EXPECT_EQ(NameOf(""), "No such container: ");
}

TEST_F(ContainerTableTest, ATakenNameIsAConflictInDockersWords) {
  const ContainerId other = *ContainerId::Parse(std::string(64, 'e'));
  EXPECT_EQ(Message(table_.ReserveName("web", other)),
            "Conflict. The container name \"/web\" is already in use by container \"abc1" +
                std::string(60, '0') +
                "\". You have to remove (or rename) that container to be able to reuse that name.");
  table_.Erase(*ContainerId::Parse("abc1" + std::string(60, '0')), "web");
  EXPECT_TRUE(table_.ReserveName("web", other).ok());
}

}  // namespace
}  // namespace stasis::engine
