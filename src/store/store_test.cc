#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <mutex>

#include "store/store_test_support.h"
#include "store/usage.h"
#include "store/verifier.h"

namespace stasis::store {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string Text(size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i) + "\n";
  return text.substr(0, bytes);
}

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

TEST_F(StoreTest, ManyZerosMakeTheSameStreamAsTheirBytes) {
  for (const size_t before : {0, 5, 4096, 5000, 1 << 20, (1 << 20) + 1}) {
    for (const size_t count : {0, 1, 4096, 1 << 20, (1 << 20) + 4095, 5 << 20}) {
      const std::string first = Random(before / kPageBytes + 1, 1).substr(0, before), last = Random(1, 2);
      const StreamId by_bytes = Put(first + std::string(count, '\0') + last);
      auto writer = *Writer::Start(store_);
      ASSERT_TRUE(writer->Append(first).ok() && writer->AppendZeros(count).ok());
      EXPECT_EQ(PutBy(writer.get(), last), by_bytes) << before << " " << count;
    }
  }
}

TEST_F(StoreTest, ASinkGetsThePagesThatItWants) {
  std::string bytes = Random(3000, 7);
  bytes.replace(10 * kPageBytes, 3 * kPageBytes, 3 * kPageBytes, '\0');
  const StreamId stream = Put(bytes);
  auto finder = PageFinder::Open(store_);
  ASSERT_TRUE(finder.ok()) << finder.status();
  StreamReader reader(finder->get());
  const auto wanted = [](uint64_t offset) { return offset / kPageBytes % 7 != 0; };
  std::mutex mutex;
  std::string taken(bytes.size(), 'x');
  uint64_t zeros = 0;
  StreamSink sink = {.wants = wanted, .take = [&](uint64_t offset, std::string_view pages) {
                       std::lock_guard lock(mutex);
                       taken.replace(offset, pages.size(), pages);
                       return absl::OkStatus();
                     }};
  ASSERT_TRUE(reader.Read(stream, sink, nullptr, {}).ok());
  EXPECT_EQ(taken[11 * kPageBytes], 'x') << "zeros were not asked for";
  sink.take_zeros = [&](uint64_t offset, std::string_view pages) {
    zeros += pages.size();
    return sink.take(offset, pages);
  };
  ASSERT_TRUE(reader.Read(stream, sink, nullptr, {}).ok());
  EXPECT_EQ(zeros, 3 * kPageBytes);
  for (uint64_t at = 0; at < bytes.size(); at += kPageBytes) {
    const std::string page = wanted(at) ? bytes.substr(at, kPageBytes) : std::string(kPageBytes, 'x');
    ASSERT_TRUE(taken.compare(at, kPageBytes, page) == 0) << at / kPageBytes;
  }
  sink.take = [](uint64_t, std::string_view) { return Internal("full"); };
  EXPECT_EQ(Message(reader.Read(stream, sink, nullptr, {})), "full");
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
  std::string bad = good;
  bad.back() ^= 1;
  ASSERT_TRUE(WriteFileAtomically(PackPath(id), bad).ok());
  EXPECT_THAT(Message(Get(stream).status()), HasSubstr(PackName(id)));
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

class DamagedStoreTest : public StoreTest {
 protected:
  // In the midst of its first block.
  void Flip(PackId id) {
    const auto file = OpenFile(PackPath(id), O_RDWR);
    char byte = 0;
    ASSERT_TRUE(file.ok() && ::pread(file->get(), &byte, 1, 1000) == 1);
    byte ^= 1;
    ASSERT_EQ(::pwrite(file->get(), &byte, 1, 1000), 1);
  }

  // What Verifier says of the stream, and of how much damage.
  Status Verify(const StreamId& stream, size_t damage) {
    auto verifier = Verifier::Open(store_);
    if (!verifier.ok()) return verifier.status();
    STASIS_RETURN_IF_ERROR((*verifier)->ReadPacks(nullptr, {}));
    EXPECT_EQ((*verifier)->damage().size(), damage);
    return (*verifier)->CheckStream(stream, {});
  }
};

TEST_F(DamagedStoreTest, WhatAVerifierFoundDamagedIsStoredAnew) {
  const std::string bytes = Random(200, 1);
  const StreamId stream = Put(bytes);
  const PackId hurt = Packs().front();
  Flip(hurt);
  Put(bytes);
  EXPECT_EQ(new_pages_, 0u) << "nobody knows of it";
  EXPECT_TRUE(absl::IsDataLoss(Verify(stream, 1)));
  EXPECT_TRUE(absl::IsDataLoss(Get(stream).status()));
  // The same bytes are the same stream: with that the first one is whole again too.
  EXPECT_EQ(Put(bytes), stream);
  EXPECT_GT(new_pages_, 200u);
  EXPECT_TRUE(Get(stream).value_or("") == bytes);
  EXPECT_TRUE(Verify(stream, 1).ok());
  // Also for who has another index.
  ASSERT_TRUE(std::filesystem::remove(store_ + "/page-index"));
  EXPECT_TRUE(Get(stream).value_or("") == bytes);
  Put(bytes);
  EXPECT_EQ(new_pages_, 0u);
  // The damaged one is needed by nobody.
  const auto collected = Collect({stream});
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_EQ(collected->packs, 1u);
  EXPECT_FALSE(Exists(PackPath(hurt)));
  EXPECT_EQ(ListDirectory(PacksPath(store_))->size(), 1u) << "its mark is gone with it";
  EXPECT_TRUE(Verify(stream, 0).ok());
}

TEST_F(DamagedStoreTest, WhatIsWholeOfADamagedPackIsRead) {
  const std::string bytes = Random(200, 1);
  Put(bytes);
  Flip(Packs().front());
  const StreamId end = Put(bytes.substr(150 * kPageBytes));
  EXPECT_TRUE(Verify(end, 1).ok());
  EXPECT_TRUE(Get(end).value_or("") == bytes.substr(150 * kPageBytes));
}

TEST_F(DamagedStoreTest, OneThatIsWholeAgainIsCountedOn) {
  const std::string bytes = Random(200, 1);
  const StreamId stream = Put(bytes);
  Flip(Packs().front());
  EXPECT_FALSE(Verify(stream, 1).ok());
  Flip(Packs().front());
  EXPECT_TRUE(Verify(stream, 0).ok());
  Put(bytes);
  EXPECT_EQ(new_pages_, 0u);
  EXPECT_EQ(ListDirectory(PacksPath(store_))->size(), 1u);
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
  // One that cannot be walked does not hide the others.
  StreamId missing = first;
  missing.root[0] ^= 1;
  usage = MeasureUsage(store_, {{missing, second}, {second}}, {});
  ASSERT_TRUE(usage.ok()) << usage.status();
  EXPECT_TRUE(absl::IsDataLoss((*usage)[0].status)) << (*usage)[0].status;
  EXPECT_TRUE((*usage)[1].status.ok());
  EXPECT_NEAR(static_cast<double>((*usage)[1].stored_bytes), 1000.0 * kPageBytes, 40.0 * kPageBytes);
}

}  // namespace
}  // namespace stasis::store
