#include "linux/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "gtest/gtest.h"
#include "linux/files.h"
#include "linux/mounts.h"
#include "linux/subprocess.h"

namespace stasis {
namespace {

size_t MountsAt(const std::string& path) {
  auto mounts = *ReadMounts();
  return static_cast<size_t>(
      std::count_if(mounts.begin(), mounts.end(), [&](auto& entry) { return entry.mount_point == path; }));
}

class RootNamespaceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/tmp", "stasis-netns-test-");
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
    path_ = directory_->path() + "/ns";
    Status made = MakeNetworkNamespace(path_);
    if (made.code() == StatusCode::kPermissionDenied) GTEST_SKIP() << made;
    ASSERT_TRUE(made.ok()) << made;
    EXPECT_EQ(MountsAt(path_), 1u);
  }
  void TearDown() override {
    EXPECT_TRUE(RemoveNetworkNamespace(path_).ok());
    EXPECT_FALSE(Exists(path_));
    EXPECT_EQ(MountsAt(path_), 0u);
  }
  std::optional<TemporaryDirectory> directory_;
  std::string path_;
};

TEST_F(RootNamespaceTest, IsANewOneAndOursStays) {
  ino_t ours = *NamespaceInode(::getpid(), "net");
  auto pinned = NamespaceInode(path_);
  ASSERT_TRUE(pinned.ok()) << pinned.status();
  EXPECT_NE(*pinned, ours);
  EXPECT_EQ(*NamespaceInode(::getpid(), "net"), ours);
}

TEST_F(RootNamespaceTest, ItsLoopbackIsUp) {
  std::string flags;
  std::thread inside([&] {
    UniqueFd ns(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (::setns(ns.get(), CLONE_NEWNET) != 0) return;
    // /proc/self/net is of the process's first thread; a child of this one sees its own.
    auto shown = stasis::Run({.argv = {"/bin/cat", "/proc/self/net/dev", "/proc/self/net/if_inet6"}}, {});
    auto route = stasis::Run({.argv = {"/bin/cat", "/proc/self/net/fib_trie"}}, {});
    if (shown.ok() && route.ok()) flags = shown->output + route->output;
  });
  inside.join();
  EXPECT_NE(flags.find("lo:"), std::string::npos);
  EXPECT_NE(flags.find("127.0.0.1"), std::string::npos) << flags;
}

TEST_F(RootNamespaceTest, SysctlsAreWrittenInItAndNotInOurs) {
  const std::string file = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
  const std::string ours = *ReadFile(file);
  ASSERT_TRUE(WriteNetworkSysctls(path_, {{"net.ipv4.ip_unprivileged_port_start", "77"},
                                          {"net/ipv4/conf/lo/forwarding", "1"}})
                  .ok());
  std::string inside, forwarding;
  std::thread reader([&] {
    UniqueFd ns(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (::setns(ns.get(), CLONE_NEWNET) != 0) return;
    inside = ReadFile(file).value_or("");
    forwarding = ReadFile("/proc/sys/net/ipv4/conf/lo/forwarding").value_or("");
  });
  reader.join();
  EXPECT_EQ(inside, "77\n");
  EXPECT_EQ(forwarding, "1\n");
  EXPECT_EQ(*ReadFile(file), ours);
}

TEST_F(RootNamespaceTest, SysctlsThatAreNoneOfANetworkAreNamed) {
  for (const char* name :
       {"kernel.hostname", "net.nosuch", "net", "net/../kernel/hostname", "net.", "net/../../version"}) {
    const Status written = WriteNetworkSysctls(path_, {{name, "1"}});
    EXPECT_EQ(written.code(), StatusCode::kInvalidArgument) << name;
    EXPECT_NE(written.message().find(name), std::string::npos) << written;
  }
  EXPECT_EQ(WriteNetworkSysctls(path_, {{"net.ipv4.ip_unprivileged_port_start", "much"}}).code(),
            StatusCode::kInvalidArgument);
}

TEST_F(RootNamespaceTest, APathIsNotTakenTwice) {
  ino_t first = *NamespaceInode(path_);
  EXPECT_EQ(MakeNetworkNamespace(path_).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(*NamespaceInode(path_), first);
}

TEST_F(RootNamespaceTest, RemovingTwiceIsNoError) {
  EXPECT_TRUE(RemoveNetworkNamespace(path_).ok());
  EXPECT_TRUE(RemoveNetworkNamespace(path_).ok());
}

TEST_F(RootNamespaceTest, AFileThatPinsNothingIsToldApart) {
  std::string plain = directory_->path() + "/plain";
  ASSERT_TRUE(WriteFileAtomically(plain, "").ok());
  EXPECT_EQ(NamespaceInode(plain).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(NamespaceInode(directory_->path() + "/none").status().code(), StatusCode::kNotFound);
}

TEST(NamespaceTest, ADirectoryThatIsNotThereLeavesNothing) {
  EXPECT_EQ(MakeNetworkNamespace("/tmp/stasis-none/ns").code(), StatusCode::kNotFound);
}

TEST(NamespaceTest, ChildrenShareOurNamespaces) {
  auto child = Spawn({.argv = {"/bin/sleep", "1000"}});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(*NamespaceInode(child->process().pid(), "net"), *NamespaceInode(::getpid(), "net"));
  EXPECT_NE(*NamespaceInode(::getpid(), "net"), *NamespaceInode(::getpid(), "pid"));
}

}  // namespace
}  // namespace stasis
