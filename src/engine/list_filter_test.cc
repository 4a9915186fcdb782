#include "engine/list_filter.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

class ListFilterTest : public testing::Test {
 protected:
  ListFilterTest()
      : record_{.id = *ContainerId::Parse("abc" + std::string(61, '0')),
                .name = "web1",
                .created = absl::FromUnixSeconds(100),
                .image_id = "sha256:" + std::string(64, 'e')} {
    record_.config.image = "busybox";
    record_.config.labels = {{"role", "front"}};
    record_.state.phase = Phase::kExited;
    record_.state.exit_code = 3;
  }
  bool Chosen(const backend::Filters& filters) const {
    return Matches(record_, filters, {.created = [](const std::string& name) {
                     return name == "old" ? absl::FromUnixSeconds(50) : absl::FromUnixSeconds(200);
                   }});
  }
  ContainerRecord record_;
};

TEST_F(ListFilterTest, EachNameMatchesWhatItSays) {
  EXPECT_TRUE(Chosen({}));
  EXPECT_TRUE(Chosen({{"id", {"abc"}}}));
  EXPECT_FALSE(Chosen({{"id", {"bc"}}}));
  EXPECT_TRUE(Chosen({{"name", {"eb"}}}));
  EXPECT_TRUE(Chosen({{"name", {"^/web1$"}}}));
  EXPECT_FALSE(Chosen({{"name", {"^web$"}}}));
  EXPECT_TRUE(Chosen({{"status", {"running", "exited"}}}));
  EXPECT_TRUE(Chosen({{"label", {"role=front", "role"}}}));
  EXPECT_FALSE(Chosen({{"label", {"role=front", "tier"}}}));
  EXPECT_TRUE(Chosen({{"ancestor", {"busybox:latest"}}}));
  EXPECT_TRUE(Chosen({{"exited", {"3"}}}));
  EXPECT_FALSE(Chosen({{"exited", {"0"}}}));
  EXPECT_TRUE(Chosen({{"since", {"old"}}, {"before", {"new"}}}));
  EXPECT_FALSE(Chosen({{"before", {"old"}}}));
}

TEST_F(ListFilterTest, NonsenseIsRefused) {
  EXPECT_FALSE(CheckListFilters({{"colour", {"red"}}}).ok());
  EXPECT_FALSE(CheckListFilters({{"status", {"sleeping"}}}).ok());
  EXPECT_FALSE(CheckListFilters({{"exited", {"x"}}}).ok());
  EXPECT_TRUE(CheckListFilters({{"status", {"paused"}}, {"exited", {"137"}}}).ok());
}

}  // namespace
}  // namespace stasis::engine
