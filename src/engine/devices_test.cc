#include "engine/devices.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(HostDeviceTest, IsReadFromItsNode) {
  const auto device = HostDevice({"/dev/null", "/dev/nothing", "r"});
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->path, "/dev/nothing");
  EXPECT_EQ(device->type, 'c');
  EXPECT_EQ(device->major, 1);
  EXPECT_EQ(device->minor, 3);
  EXPECT_EQ(device->access, "r");
}

TEST(HostDeviceTest, WhatIsNoDeviceIsRefused) {
  EXPECT_FALSE(HostDevice({"/etc/passwd", "", ""}).ok());
  EXPECT_FALSE(HostDevice({"/no/such/device", "", ""}).ok());
}

TEST(AllHostDevicesTest, HasNoTerminals) {
  for (const auto& device : AllHostDevices()) {
    EXPECT_NE(device.path, "/dev/null");
    EXPECT_NE(device.path.rfind("/dev/pts/", 0), 0u) << device.path;
  }
}

}  // namespace
}  // namespace stasis::engine
