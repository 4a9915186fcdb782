#include "engine/log_attributes.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(LogAttributesTest, TheLogOptionsNameWhatIsShown) {
  backend::ContainerConfig config;
  config.labels = {{"b", "two words"}, {"hidden", "x"}};
  config.env = {"A=1=1", "AB=2"};
  backend::HostConfig host;
  EXPECT_EQ(LogAttributes(config, host), " ");
  host.log_options = {{"labels", "b,none"}, {"env", "A,,NONE"}};
  EXPECT_EQ(LogAttributes(config, host), "A=1%3D1,b=two+words ");
}

}  // namespace
}  // namespace stasis::engine
