#include "engine/host.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(HostTest, IsReadFromThisMachine) {
  const auto host = ReadHost();
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_GT(host->cpus, 0);
  EXPECT_GT(host->memory, 0);
  EXPECT_GT(host->limits.kernel_major, 4);
  EXPECT_FALSE(host->kernel.empty());
}

TEST(OperatingSystemNameTest, IsThePrettyName) {
  EXPECT_EQ(OperatingSystemName("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
  EXPECT_EQ(OperatingSystemName(""), "Linux");
}

}  // namespace
}  // namespace stasis::engine
