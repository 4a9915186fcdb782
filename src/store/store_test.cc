#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "linux/files.h"
#include "store/collector.h"
#include "store/stream_reader.h"
#include "store/usage.h"
#include "store/verifier.h"
#include "store/writer.h"

namespace stasis::store {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string Random(size_t pages, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(pages * kPageBytes, '\0');
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

std::string Text(size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i) + "\n";
  return text.substr(0, bytes);
}

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::Create("/tmp", "store-test-");
    ASSERT_TRUE(made.ok()) << made.status();
    temporary_.emplace(*std::move(made));
    store_ = temporary_->path() + "/store";
  }

  StreamId Put(std::string_view bytes) {
    auto writer = Writer::Start(store_);
    EXPECT_TRUE(writer.ok()) << writer.status();
    const StreamId stream = PutBy(writer->get(), bytes);
    const Status committed = (*writer)->Commit();
    EXPECT_TRUE(committed.ok()) << committed;
    stored_ = (*writer)->stored_bytes();
    new_pages_ = (*writer)->new_pages();
    return stream;
  }

  static StreamId PutBy(Writer* writer, std::string_view bytes) {
    Status added = writer->Append(bytes);
    EXPECT_TRUE(added.ok()) << added;
    auto stream = writer->EndStream();
    EXPECT_TRUE(stream.ok()) << stream.status();
    return stream.ok() ? *stream : StreamId{};
  }

  StatusOr<std::string> Get(const StreamId& stream) {
    auto finder = PageFinder::Open(store_);
    if (!finder.ok()) return finder.status();
    const std::string path = temporary_->path() + "/out";
    std::filesystem::remove(path);
    auto file = OpenFile(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!file.ok()) return file.status();
    STASIS_RETURN_IF_ERROR(ReadStream(finder->get(), stream, file->get(), nullptr, {}));
    return ReadFile(path, 1 << 30);
  }

  StatusOr<Collected> Collect(std::vector<StreamId> keep) {
    return CollectGarbage(store_, [keep] { return keep; }, {});
  }

  std::vector<PackId> Packs() { return *ListPacks(store_); }
  std::string PackPath(PackId id) { return PacksPath(store_) + "/" + PackName(id); }

  std::optional<TemporaryDirectory> temporary_;
  std::string store_;
  uint64_t stored_ = 0;
  uint64_t new_pages_ = 0;
};

TEST_F(StoreTest, GivesBackWhatWasPutIn) {
  const std::string zeros(3 * kPageBytes, '\0');
  for (const std::string& bytes :
       {std::string(), std::string("x"), std::string(kPageBytes, 'a'), std::string(kPageBytes + 1, 'a'),
        Random(1, 1), Random(300, 2), Text(5'000'000), zeros, zeros + "x",
        Random(2, 3) + zeros + Random(2, 4), Random(2000, 5) + zeros}) {
    const StreamId stream = Put(bytes);
    EXPECT_EQ(stream.size, bytes.size());
    auto back = Get(stream);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(*back == bytes) << bytes.size();
  }
}

TEST_F(StoreTest, ZerosCostNothing) {
  const StreamId stream = Put(std::string(64 << 20, '\0'));
  EXPECT_LE(new_pages_, 10u);  // nodes
  EXPECT_LE(stored_, 16384u);
  auto back = Get(stream);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->size(), 64u << 20);
  struct stat info;
  ASSERT_EQ(::stat((temporary_->path() + "/out").c_str(), &info), 0);
  EXPECT_LE(info.st_blocks, 64);  // holes
}

TEST_F(StoreTest, EqualPagesAreKeptOnce) {
  const std::string bytes = Random(1000, 1);
  const StreamId first = Put(bytes);
  EXPECT_EQ(Put(bytes), first);
  EXPECT_EQ(new_pages_, 0u);
  EXPECT_THAT(Packs(), SizeIs(1));
  // Twice within one stream too.
  Put(Random(500, 2) + Random(500, 2));
  EXPECT_LE(new_pages_, 500u + 20);
}

TEST_F(StoreTest, AnInsertionMakesNewOnlyWhatIsAroundIt) {
  const std::string bytes = Random(5000, 1);
  Put(bytes);
  const std::string inserted =
      bytes.substr(0, 1000 * kPageBytes) + Random(1, 2) + bytes.substr(1000 * kPageBytes);
  Put(inserted);
  EXPECT_LE(new_pages_, 1u + 8);  // and nodes: not one of each 55 pages behind it
}

TEST_F(StoreTest, OnePageInAHundredCostsLittle) {
  std::string bytes = Random(10000, 1);
  Put(bytes);
  const uint64_t all = stored_;
  for (size_t page = 0; page < 10000; page += 100) bytes[page * kPageBytes] ^= 1;
  Put(bytes);
  EXPECT_LE(stored_, all * 4 / 100);
}

TEST_F(StoreTest, WritesMorePacksThanOne) {
  const std::string bytes = Random(kMaxPackPages + 1000, 1);
  const StreamId stream = Put(bytes);
  EXPECT_THAT(Packs(), SizeIs(2));
  auto back = Get(stream);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(*back == bytes);
}

TEST_F(StoreTest, WithoutACommitNothingIsLeft) {
  const StreamId kept = Put(Random(100, 1));
  {
    auto writer = Writer::Start(store_);
    ASSERT_TRUE(writer.ok());
    PutBy(writer->get(), Random(kMaxPackPages + 100, 2));
    EXPECT_THAT(Packs(), SizeIs(1));  // a full one waits for the commit too
    EXPECT_THAT(*ListDirectory(PacksPath(store_)), SizeIs(3));
  }
  EXPECT_THAT(Packs(), SizeIs(1));
  EXPECT_THAT(*ListDirectory(PacksPath(store_)), SizeIs(1));
  EXPECT_TRUE(Get(kept).ok());
}

TEST_F(StoreTest, TheIndexMayBeLostOrDamaged) {
  const std::string bytes = Random(300, 1);
  const StreamId stream = Put(bytes);
  const std::string index = store_ + "/page-index";
  std::filesystem::remove(index);
  EXPECT_TRUE(Get(stream).ok());
  ASSERT_TRUE(WriteFileAtomically(index, "garbage").ok());
  EXPECT_TRUE(Get(stream).ok());
  // Of the right form, and lying: all hints lead to page 3 of a pack that there is or is not.
  std::string text = *ReadFile(index);
  for (size_t at = 64; at + 16 <= text.size(); at += 16) {
    uint64_t location = uint64_t{at % 32 == 0 ? Packs().front() : 77} << 32 | 3;
    std::memcpy(text.data() + at, &location, 8);
  }
  ASSERT_TRUE(WriteFileAtomically(index, text).ok());
  auto back = Get(stream);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(*back == bytes);
}

TEST_F(StoreTest, AnyFlippedBitIsFound) {
  const StreamId stream = Put(Random(70, 1) + Text(100'000));
  const PackId id = Packs().front();
  const std::string good = *ReadFile(PackPath(id));
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    // The beginning and the end bit by bit, and what is between at random.
    size_t bit = random() % (good.size() * 8);
    if (round < 128) bit = static_cast<size_t>(round);
    if (round >= 128 && round < 256) bit = good.size() * 8 - static_cast<size_t>(round - 127);
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    ASSERT_TRUE(WriteFileAtomically(PackPath(id), bad).ok());
    auto verifier = Verifier::Open(store_);
    ASSERT_TRUE(verifier.ok()) << verifier.status();
    ASSERT_TRUE((*verifier)->ReadPacks(nullptr, {}).ok());
    ASSERT_THAT((*verifier)->damage(), SizeIs(1)) << "bit " << bit;
    EXPECT_THAT((*verifier)->damage().front(), HasSubstr(PackName(id)));
  }
  ASSERT_TRUE(WriteFileAtomically(PackPath(id), good).ok());
  auto verifier = Verifier::Open(store_);
  ASSERT_TRUE((*verifier)->ReadPacks(nullptr, {}).ok());
  EXPECT_THAT((*verifier)->damage(), IsEmpty());
  EXPECT_TRUE((*verifier)->CheckStream(stream, {}).ok());
}

TEST_F(StoreTest, DamageHurtsTheStreamsThatNeedIt) {
  const StreamId hurt = Put(Random(100, 1));
  const PackId id = Packs().front();
  const StreamId whole = Put(Random(100, 2));
  std::string bytes = *ReadFile(PackPath(id));
  bytes[5000] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(PackPath(id), bytes).ok());
  auto verifier = Verifier::Open(store_);
  ASSERT_TRUE((*verifier)->ReadPacks(nullptr, {}).ok());
  EXPECT_TRUE(absl::IsDataLoss((*verifier)->CheckStream(hurt, {})));
  EXPECT_TRUE((*verifier)->CheckStream(whole, {}).ok());
  EXPECT_TRUE(absl::IsDataLoss(Get(hurt).status()));
  EXPECT_TRUE(Get(whole).ok());
}

TEST_F(StoreTest, AStreamThatIsNoTreeIsRefused) {
  StreamId stream = Put(Random(1000, 1));
  for (StreamId bad :
       {StreamId{stream.size, 0, stream.root}, StreamId{stream.size, 1, stream.root},
        StreamId{stream.size + kPageBytes, stream.depth, stream.root},
        StreamId{stream.size - kPageBytes, stream.depth, stream.root},
        StreamId{stream.size, stream.depth + 1, stream.root},
        StreamId{stream.size, 4'000'000'000, stream.root}, StreamId{stream.size, stream.depth, PageHash{}},
        StreamId{stream.size, stream.depth, ZeroPage()}}) {
    EXPECT_TRUE(absl::IsDataLoss(Get(bad).status())) << bad.size << " " << bad.depth;
  }
}

TEST_F(StoreTest, GarbageIsCollected) {
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

TEST_F(StoreTest, AnEmptyStoreThatNobodyHasOpenIsRemoved) {
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

TEST_F(StoreTest, AnotherStoresPacksAreNotReachedThroughALink) {
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

TEST_F(StoreTest, WhatIsNoStoresIsNotRemovedWithIt) {
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

TEST_F(StoreTest, ManyPacksAreCollectedWithFewFiles) {
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

TEST_F(StoreTest, ADamagedPackKeepsNoOtherFromBeingCollected) {
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

TEST_F(StoreTest, AFullDiskGetsItsSpaceBack) {
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

TEST_F(StoreTest, AStreamThatIsThereIsAdoptedAndStays) {
  const StreamId stream = Put(Random(3000, 1));
  StreamId missing = stream;
  missing.root[0] ^= 1;
  auto writer = Writer::Start(store_);
  ASSERT_TRUE(writer.ok());
  EXPECT_FALSE(*(*writer)->Adopt(missing));
  EXPECT_TRUE(*(*writer)->Adopt({}));
  ASSERT_TRUE(*(*writer)->Adopt(stream));
  ASSERT_TRUE(Collect({}).ok());
  EXPECT_TRUE(Get(stream).ok()) << "nobody names it, but the writer keeps it";
  writer->reset();
  ASSERT_TRUE(Collect({}).ok());
  writer = Writer::Start(store_);
  EXPECT_FALSE(*(*writer)->Adopt(stream));
}

TEST_F(StoreTest, UsageTellsWhatADeletionGivesBack) {
  const std::string shared = Random(1000, 1);
  const StreamId first = Put(shared + Random(500, 2));
  const StreamId second = Put(shared);
  auto usage = MeasureUsage(store_, {{first}, {second}}, {});
  ASSERT_TRUE(usage.ok()) << usage.status();
  EXPECT_NEAR(static_cast<double>((*usage)[0].stored_bytes), 1500.0 * kPageBytes, 60.0 * kPageBytes);
  EXPECT_NEAR(static_cast<double>((*usage)[0].own_bytes), 500.0 * kPageBytes, 30.0 * kPageBytes);
  EXPECT_NEAR(static_cast<double>((*usage)[1].stored_bytes), 1000.0 * kPageBytes, 40.0 * kPageBytes);
  EXPECT_LE((*usage)[1].own_bytes, 10 * kPageBytes);  // nodes at its end
}

TEST_F(StoreTest, MemoryThatLooksLikeANodeHidesNothingFromTheCollector) {
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

TEST_F(StoreTest, NothingIsCollectedWhileAStreamCannotBeWalked) {
  const StreamId stream = Put(Random(1000, 1));
  Put(Random(1000, 2));
  StreamId missing = stream;
  missing.root[0] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(Collect({stream, missing}).status()));
  EXPECT_THAT(Packs(), SizeIs(2));
}

TEST_F(StoreTest, TheCollectorLeavesWhatAWriterUses) {
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

TEST_F(StoreTest, WhatIsPublishedDuringACollectionStays) {
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

TEST_F(StoreTest, ManyWritersAndACollectorAtOnce) {
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
