#include "network/network_namespaces.h"

#include <unistd.h>

#include "gtest/gtest.h"
#include "linux/files.h"
#include "linux/namespaces.h"

namespace stasis::network {
namespace {

TEST(ParseModeTest, KnowsTheModesOfThisRelease) {
  for (const char* own : {"", "default", "bridge", "none"}) EXPECT_EQ(ParseMode(own)->kind, ModeKind::kOwn);
  EXPECT_EQ(ParseMode("host")->kind, ModeKind::kHost);
  EXPECT_EQ(ParseMode("container:web")->container, "web");
}

TEST(ParseModeTest, OtherNetworksAreRefused) {
  EXPECT_EQ(ParseMode("backend").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseMode("container:").status().code(), StatusCode::kInvalidArgument);
}

TEST(NetworkNamespacesTest, ANamespaceIsMadeOnceAndRemoved) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  auto directory = TemporaryDirectory::Create("/tmp", "stasis-netns-");
  ASSERT_TRUE(directory.ok());
  auto namespaces = NetworkNamespaces::Open(directory->path() + "/netns");
  ASSERT_TRUE(namespaces.ok()) << namespaces.status();
  const ContainerId id = *ContainerId::Parse(std::string(64, 'a'));
  const ContainerId other = *ContainerId::Parse(std::string(64, 'b'));

  const Status made = namespaces->Ensure(id);
  if (GetErrno(made) == EPERM) GTEST_SKIP() << "this machine makes no network namespaces: " << made;
  ASSERT_TRUE(made.ok()) << made;
  const ino_t first = *NamespaceInode(namespaces->PathOf(id));
  EXPECT_NE(first, *NamespaceInode(::getpid(), "net"));
  ASSERT_TRUE(namespaces->Ensure(id).ok());
  EXPECT_EQ(*NamespaceInode(namespaces->PathOf(id)), first);

  ASSERT_TRUE(namespaces->Ensure(other).ok());
  ASSERT_TRUE(namespaces->RemoveOthers([&](const ContainerId& one) { return one == id; }).ok());
  EXPECT_FALSE(Exists(namespaces->PathOf(other)));
  EXPECT_TRUE(namespaces->Remove(id).ok());
  EXPECT_FALSE(Exists(namespaces->PathOf(id)));
  EXPECT_TRUE(namespaces->Remove(id).ok());
}

TEST(NetworkNamespacesTest, OneThatDoesNotGetItsSysctlsIsNotLeft) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  auto directory = TemporaryDirectory::Create("/tmp", "stasis-netns-");
  ASSERT_TRUE(directory.ok());
  auto namespaces = NetworkNamespaces::Open(directory->path());
  const ContainerId id = *ContainerId::Parse(std::string(64, 'a'));
  const Status made = namespaces->Ensure(id, {{"net.ipv4.nosuch", "1"}});
  if (GetErrno(made) == EPERM) GTEST_SKIP() << "this machine makes no network namespaces: " << made;
  EXPECT_EQ(made.code(), StatusCode::kInvalidArgument) << made;
  EXPECT_FALSE(Exists(namespaces->PathOf(id)));
}

TEST(NetworkNamespacesTest, AFileWithoutItsMountIsReplaced) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  auto directory = TemporaryDirectory::Create("/tmp", "stasis-netns-");
  ASSERT_TRUE(directory.ok());
  auto namespaces = NetworkNamespaces::Open(directory->path());
  const ContainerId id = *ContainerId::Parse(std::string(64, 'a'));
  ASSERT_TRUE(WriteFileAtomically(namespaces->PathOf(id), "").ok());
  const Status made = namespaces->Ensure(id);
  if (GetErrno(made) == EPERM) GTEST_SKIP() << "this machine makes no network namespaces: " << made;
  ASSERT_TRUE(made.ok()) << made;
  EXPECT_TRUE(NamespaceInode(namespaces->PathOf(id)).ok());
  EXPECT_TRUE(namespaces->Remove(id).ok());
}

}  // namespace
}  // namespace stasis::network
