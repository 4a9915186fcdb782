#include "engine/resolv_conf.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

constexpr char kHost[] =
    "# by hand\nsearch example.org\nnameserver 127.0.0.1\nnameserver 192.0.2.1\noptions edns0\n";

TEST(ResolvConfTest, TheHostsOwnNetworkHasTheHostsFile) {
  EXPECT_EQ(MakeResolvConf(kHost, {}, false),
            "# by hand\nsearch example.org\noptions edns0\nnameserver 127.0.0.1\nnameserver 192.0.2.1\n");
}

TEST(ResolvConfTest, AnotherNetworkCannotReachTheHostsLoopback) {
  EXPECT_EQ(MakeResolvConf(kHost, {}, true),
            "# by hand\nsearch example.org\noptions edns0\nnameserver 192.0.2.1\n");
  EXPECT_EQ(MakeResolvConf("nameserver 127.0.0.53\nnameserver ::1\n", {}, true),
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
}

TEST(ResolvConfTest, WhatIsAskedForTakesTheHostsPlace) {
  backend::HostConfig wanted;
  wanted.dns = {"198.51.100.7"};
  wanted.dns_search = {"a.example", "b.example"};
  wanted.dns_options = {"ndots:2", "rotate"};
  EXPECT_EQ(MakeResolvConf(kHost, wanted, true),
            "search a.example b.example\n# by hand\nnameserver 198.51.100.7\noptions ndots:2 rotate\n");
  wanted = {};
  wanted.dns_search = {"."};
  EXPECT_EQ(MakeResolvConf("search x\nnameserver 192.0.2.1\n", wanted, true), "nameserver 192.0.2.1\n");
  wanted = {};
  wanted.dns = {"127.0.0.1"};  // asked for, so it is given
  EXPECT_EQ(MakeResolvConf("", wanted, true), "nameserver 127.0.0.1\n");
}

}  // namespace
}  // namespace stasis::engine
