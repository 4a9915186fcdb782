#include "store/collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "store/store_test_support.h"

namespace stasis::store {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

using CollectorTest = StoreTest;

TEST_F(CollectorTest, GarbageIsCollected) {
  const std::string kept = Random(1000, 1);
  const StreamId first = Put(kept);
  Put(Random(3000, 2));
  // Little of this pack is needed: it is made anew.
  const std::string part = Random(10, 3);
  Put(part + Random(2000, 4));
  const StreamId third = Put(part);
  const uint64_t before = *DiskUsage(PacksPath(store_));
  auto collected = Collect({first, third});
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_EQ(collected->packs, 2u);
  EXPECT_GE(collected->bytes, 4900 * kPageBytes);
  EXPECT_LE(*DiskUsage(PacksPath(store_)), before - 4900 * kPageBytes);
  EXPECT_TRUE(*Get(first) == kept);
  EXPECT_TRUE(*Get(third) == part);
  collected = Collect({first, third});
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_EQ(collected->packs, 0u);
}

TEST_F(CollectorTest, AnEmptyStoreThatNobodyHasOpenIsRemoved) {
  {
    auto writer = Writer::Start(store_);
    ASSERT_TRUE(writer.ok());
    PutBy(writer->get(), Random(10, 1));
    ASSERT_TRUE(RemoveEmptyStore(store_).ok());
    EXPECT_TRUE(Exists(store_));
  }
  ASSERT_TRUE(RemoveEmptyStore(store_).ok());
  EXPECT_FALSE(Exists(store_));
  const StreamId stream = Put(Random(10, 1));
  ASSERT_TRUE(RemoveEmptyStore(store_).ok());
  EXPECT_TRUE(Get(stream).ok());
  ASSERT_TRUE(Collect({}).ok());
  EXPECT_FALSE(Exists(store_));
}

TEST_F(CollectorTest, AnotherStoresPacksAreNotReachedThroughALink) {
  const StreamId stream = Put(Random(100, 1));
  const std::string stranger = temporary_->path() + "/stranger";
  const auto refused = [&] {
    EXPECT_FALSE(CollectGarbage(stranger, [] { return std::vector<StreamId>(); }, {}).ok());
    EXPECT_FALSE(Writer::Start(stranger).ok());
    RemoveEmptyStore(stranger).IgnoreError();
    EXPECT_THAT(Packs(), SizeIs(1));
    EXPECT_TRUE(Get(stream).ok());
  };
  ASSERT_TRUE(MakeDirectories(stranger).ok());
  ASSERT_EQ(::symlink(PacksPath(store_).c_str(), PacksPath(stranger).c_str()), 0);
  refused();
  ASSERT_TRUE(RemoveTree(stranger).ok());
  ASSERT_EQ(::symlink(store_.c_str(), stranger.c_str()), 0);
  refused();
  const std::string elsewhere = temporary_->path() + "/elsewhere";
  ASSERT_TRUE(MakeDirectories(elsewhere).ok());
  ASSERT_EQ(::unlink(stranger.c_str()), 0);
  ASSERT_EQ(::symlink(elsewhere.c_str(), stranger.c_str()), 0);
  refused();
  EXPECT_THAT(*ListDirectory(elsewhere), IsEmpty());
}

TEST_F(CollectorTest, WhatIsNoStoresIsNotRemovedWithIt) {
  ASSERT_TRUE(MakeDirectories(store_ + "/theirs").ok());
  ASSERT_TRUE(WriteFileAtomically(store_ + "/theirs/file", "x").ok());
  ASSERT_TRUE(RemoveEmptyStore(store_).ok());
  const StreamId stream = Put(Random(10, 1));
  ASSERT_TRUE(MakeDirectories(PacksPath(store_)).ok());
  ASSERT_TRUE(WriteFileAtomically(PackPath(1) + ".saved", "x").ok());
  EXPECT_TRUE(Get(stream).ok());
  ASSERT_TRUE(Collect({}).ok());
  EXPECT_TRUE(Exists(store_ + "/theirs/file"));
  EXPECT_TRUE(Exists(PackPath(1) + ".saved"));
  EXPECT_FALSE(Exists(store_ + "/page-index"));
  EXPECT_TRUE(Get(Put(Random(10, 2))).ok());
}

TEST_F(CollectorTest, ManyPacksAreCollectedWithFewFiles) {
  const auto make = [&](unsigned seed) {
    auto writer = Writer::Start(store_);
    PutBy(writer->get(), Random(1, seed));
    ASSERT_TRUE((*writer)->Commit().ok());
  };
  const std::string kept = Random(2, 1);
  const StreamId stream = Put(kept);
  for (unsigned i = 0; i < 500; ++i) make(100 + i);
  struct rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  struct rlimit few = limit;
  few.rlim_cur = 450;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const auto collected = Collect({stream});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_EQ(collected->packs, 500u);
  EXPECT_THAT(Packs(), SizeIs(1));
  EXPECT_TRUE(*Get(stream) == kept);
}

TEST_F(CollectorTest, ADamagedPackKeepsNoOtherFromBeingCollected) {
  const std::string part = Random(200, 1);
  Put(part + Random(2000, 2));
  const PackId damaged = Packs().front();
  const StreamId hurt = Put(part);
  const std::string other = Random(200, 3);
  Put(other + Random(2000, 4));
  const StreamId whole = Put(other);
  {
    const UniqueFd file = *OpenFile(PackPath(damaged), O_RDWR);
    ASSERT_EQ(::pwrite(file.get(), "damage", 6, 16 + 64 * kPageBytes + 100), 6);
  }
  const auto collected = Collect({hurt, whole});
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_GE(collected->bytes, 1500 * kPageBytes);
  EXPECT_TRUE(Exists(PackPath(damaged)));
  EXPECT_TRUE(absl::IsDataLoss(Get(hurt).status()));
  EXPECT_TRUE(*Get(whole) == other);
}

TEST_F(CollectorTest, AFullDiskGetsItsSpaceBack) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_TRUE(MakeDirectories(store_).ok());
  ASSERT_EQ(::mount("tmpfs", store_.c_str(), "tmpfs", 0, "size=32m"), 0) << std::strerror(errno);
  const std::string directory = store_;
  const absl::Cleanup unmount = [&] { ::umount2(directory.c_str(), MNT_DETACH); };
  store_ += "/store";
  const std::string kept = Random(100, 1);
  const StreamId stream = Put(kept);
  const std::string part = Random(700, 2);
  Put(part + Random(1500, 3));
  const StreamId some = Put(part);
  Put(Random(2000, 4));
  const UniqueFd filler = *OpenFile(directory + "/filler", O_WRONLY | O_CREAT, 0600);
  while (::write(filler.get(), kept.data(), kPageBytes) > 0) {
  }
  auto collected = Collect({stream, some});
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_GE(collected->bytes, 2000 * kPageBytes);
  EXPECT_TRUE(*Get(stream) == kept);
  EXPECT_TRUE(*Get(some) == part);
  // With the room that this has made.
  collected = Collect({stream, some});
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_TRUE(*Get(some) == part);
  EXPECT_LE(*DiskUsage(PacksPath(store_)), 1100 * kPageBytes);
}

TEST_F(CollectorTest, MemoryThatLooksLikeANodeHidesNothingFromTheCollector) {
  // The memory of one program is the nodes of another's: the same page is both.
  const std::string bytes = Random(3000, 1);
  std::string nodes;
  TreeBuilder tree([&](const char* node) -> StatusOr<PageHash> {
    nodes.append(node, kPageBytes);
    return PageHasher().Hash(node);
  });
  PageHasher hasher;
  for (size_t at = 0; at < bytes.size(); at += kPageBytes)
    ASSERT_TRUE(tree.Add(hasher.Hash(&bytes[at])).ok());
  ASSERT_TRUE(tree.Finish(bytes.size()).ok());
  const StreamId imitation = Put(nodes);
  const StreamId stream = Put(bytes);
  ASSERT_TRUE(Collect({imitation, stream}).ok());
  EXPECT_TRUE(*Get(stream) == bytes);
  EXPECT_TRUE(*Get(imitation) == nodes);
}

TEST_F(CollectorTest, NothingIsCollectedWhileAStreamCannotBeWalked) {
  const StreamId stream = Put(Random(1000, 1));
  Put(Random(1000, 2));
  StreamId missing = stream;
  missing.root[0] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(Collect({stream, missing}).status()));
  EXPECT_THAT(Packs(), SizeIs(2));
}

TEST_F(CollectorTest, TheCollectorLeavesWhatAWriterUses) {
  const std::string shared = Random(1000, 1);
  Put(shared);  // nobody needs it
  auto writer = Writer::Start(store_);
  ASSERT_TRUE(writer.ok());
  const StreamId stream = PutBy(writer->get(), shared + Random(1000, 2));
  EXPECT_LE((*writer)->new_pages(), 1100u);
  auto collected = Collect({});
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_EQ(collected->packs, 0u);
  ASSERT_TRUE((*writer)->Commit().ok());
  ASSERT_TRUE(Collect({}).ok());
  EXPECT_TRUE(Get(stream).ok());
  writer->reset();
  ASSERT_TRUE(Collect({stream}).ok());
  EXPECT_TRUE(Get(stream).ok());
}

TEST_F(CollectorTest, WhatIsPublishedDuringACollectionStays) {
  const std::string shared = Random(1000, 1);
  Put(shared);
  StreamId published;
  int asked = 0;
  auto collected = CollectGarbage(store_,
                                  [&] {
                                    std::vector<StreamId> streams;
                                    if (++asked == 1) {
                                      published =
                                          Put(shared);  // after the collector's look, before its claims
                                    } else {
                                      streams.push_back(published);
                                    }
                                    return streams;
                                  },
                                  {});
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_TRUE(*Get(published) == shared);
}

TEST_F(CollectorTest, ManyWritersAndACollectorAtOnce) {
  std::mutex mutex;
  std::vector<StreamId> published;
  std::atomic<bool> over = false;
  std::jthread collector([&] {
    while (!over) {
      auto collected = CollectGarbage(store_,
                                      [&] {
                                        std::lock_guard lock(mutex);
                                        return published;
                                      },
                                      {});
      EXPECT_TRUE(collected.ok()) << collected.status();
    }
  });
  std::vector<std::jthread> writers;
  for (unsigned thread = 0; thread < 3; ++thread) {
    writers.emplace_back([&, thread] {
      for (unsigned round = 0; round < 8; ++round) {
        auto writer = Writer::Start(store_);
        ASSERT_TRUE(writer.ok()) << writer.status();
        // Some pages are everybody's, some nobody's for long.
        const StreamId stream =
            PutBy(writer->get(), Random(200, round / 3) + Random(100, 100 * thread + round));
        ASSERT_TRUE((*writer)->Commit().ok());
        std::lock_guard lock(mutex);
        published.push_back(stream);
        if (round % 3 == 1) published.erase(published.begin());
      }
    });
  }
  writers.clear();
  over = true;
  collector.join();
  for (const StreamId& stream : published) {
    auto back = Get(stream);
    EXPECT_TRUE(back.ok()) << back.status();
  }
}

}  // namespace
}  // namespace stasis::store
