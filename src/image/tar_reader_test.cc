#include "image/tar_reader.h"

#include "base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "image/archive_builder.h"

namespace stasis::image {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

StatusOr<std::vector<std::string>> Names(const std::string& bytes, Digest* digest = nullptr) {
  STASIS_ASSIGN_OR_RETURN(auto reader, TarReader::Open(BytesOf(bytes), {}));
  std::vector<std::string> names;
  TarEntry entry;
  while (true) {
    STASIS_ASSIGN_OR_RETURN(bool more, reader->Next(&entry));
    if (!more) break;
    names.push_back(entry.path);
  }
  STASIS_ASSIGN_OR_RETURN(Digest found, reader->Finish());
  if (digest) *digest = found;
  return names;
}

std::string Compress(const std::string& bytes, const char* filter) {
  std::string out(bytes.size() * 2 + 4096, '\0');
  size_t used = 0;
  archive* writer = archive_write_new();
  archive_write_set_format_raw(writer);
  archive_write_add_filter_by_name(writer, filter);
  archive_write_open_memory(writer, out.data(), out.size(), &used);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, S_IFREG);
  archive_write_header(writer, entry);
  archive_write_data(writer, bytes.data(), bytes.size());
  archive_entry_free(entry);
  archive_write_free(writer);
  return out.substr(0, used);
}

TEST(TarReaderTest, EveryCompressionGivesTheSameDigest) {
  std::vector<TestEntry> entries = {Dir("a"), File("a/b", std::string(100'000, 'x'))};
  std::string plain = MakeTar(entries);
  for (const char* filter : {"none", "gzip", "zstd", "bzip2", "xz"}) {
    Digest digest = Sha256Of("");
    std::string bytes = std::string(filter) == "none" ? plain : MakeTar(entries, filter);
    StatusOr<std::vector<std::string>> names = Names(bytes, &digest);
    ASSERT_TRUE(names.ok()) << filter << ": " << Message(names.status());
    EXPECT_THAT(*names, ElementsAre("a/", "a/b")) << filter;
    EXPECT_EQ(digest, Sha256Of(plain)) << filter;
  }
}

TEST(TarReaderTest, BytesBehindTheEndCountForTheDigest) {
  std::string bytes = MakeTar({File("a")}) + std::string(5000, '\0');
  Digest digest = Sha256Of("");
  ASSERT_TRUE(Names(bytes, &digest).ok());
  EXPECT_EQ(digest, Sha256Of(bytes));
}

// libarchive composes accents when the locale is UTF-8, and converts or drops bytes in others.
TEST(TarReaderTest, NoBytesAtAllAreAnArchiveWithoutEntries) {
  for (const std::string& bytes : {std::string(), Compress("", "gzip")}) {
    Digest digest = Sha256Of("x");
    StatusOr<std::vector<std::string>> names = Names(bytes, &digest);
    ASSERT_TRUE(names.ok()) << Message(names.status());
    EXPECT_THAT(*names, ElementsAre());
    EXPECT_EQ(digest, Sha256Of(""));
  }
}

TEST(TarReaderTest, NamesStayTheBytesTheyAre) {
  std::string composed = "\xc3\xa9", apart = "e\xcc\x81", not_utf8 = "\xff\xfe";
  const char* before = ::setlocale(LC_ALL, nullptr);
  std::string restore = before ? before : "C";
  for (const char* locale : {"C", "C.UTF-8"}) {
    ::setlocale(LC_ALL, locale);
    StatusOr<std::vector<std::string>> names =
        Names(MakeTar({File(composed), File(apart), File(not_utf8), File(std::string(150, 'x') + apart)}));
    ASSERT_TRUE(names.ok()) << Message(names.status());
    EXPECT_THAT(*names, ElementsAre(composed, apart, not_utf8, std::string(150, 'x') + apart)) << locale;
  }
  ::setlocale(LC_ALL, restore.c_str());
}

TEST(TarReaderTest, DamagedArchivesAreAClearError) {
  std::string good = MakeTar({File("a", std::string(20'000, 'x')), File("b")});
  EXPECT_FALSE(Names("no archive at all").ok());
  StatusOr<std::vector<std::string>> cut = Names(good.substr(0, 5000));
  EXPECT_EQ(cut.status().code(), StatusCode::kInvalidArgument) << Message(cut.status());
  std::string zipped = MakeTar({File("a", std::string(20'000, 'x'))}, "gzip");
  EXPECT_FALSE(Names(zipped.substr(0, zipped.size() / 2)).ok());
}

TEST(TarReaderTest, AHugeExtendedHeaderIsRefused) {
  StatusOr<std::vector<std::string>> names = Names(MakeTar({File(std::string(3 << 20, 'n'))}));
  EXPECT_EQ(names.status().code(), StatusCode::kInvalidArgument) << Message(names.status());
}

TEST(TarReaderTest, AnErrorOfTheInputComesThroughAsItIs) {
  std::string good = MakeTar({File("a", std::string(200'000, 'x'))});
  size_t given = 0;
  auto read = [&](char* out, size_t size) -> StatusOr<size_t> {
    if (given > 100'000) return Unavailable("the client went away");
    size_t count = std::min<size_t>(size, 50'000);
    good.copy(out, count, given);
    given += count;
    return count;
  };
  auto reader = TarReader::Open(read, {});
  ASSERT_TRUE(reader.ok());
  TarEntry entry;
  ASSERT_TRUE((*reader)->Next(&entry).ok());
  StatusOr<bool> next = (*reader)->Next(&entry);
  EXPECT_EQ(next.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(Message(next.status()), HasSubstr("the client went away"));
}

TEST(TarReaderTest, CompressionUponCompressionIsRefused) {
  std::string once = MakeTar({File("a")}, "gzip");
  EXPECT_TRUE(Names(once).ok());
  EXPECT_EQ(Message(Names(Compress(once, "gzip")).status()), "read archive: it is compressed more than once");
  EXPECT_EQ(Message(Names(Compress(once, "zstd")).status()), "read archive: it is compressed more than once");
}

TEST(TarReaderTest, WhatIsTooLargeUncompressedIsRefused) {
  std::string plain = MakeTar({File("a", std::string(1 << 20, '\0'))});
  for (const std::string& bytes : {plain, Compress(plain, "gzip")}) {
    auto whole = TarReader::Open(BytesOf(bytes), {}, plain.size());
    TarEntry entry;
    ASSERT_TRUE(whole.ok() && *(*whole)->Next(&entry));
    EXPECT_FALSE(*(*whole)->Next(&entry));
    EXPECT_TRUE((*whole)->Finish().ok());
    auto reader = TarReader::Open(BytesOf(bytes), {}, 1 << 20);
    ASSERT_TRUE(reader.ok() && *(*reader)->Next(&entry));
    StatusOr<bool> next = (*reader)->Next(&entry);
    EXPECT_EQ(next.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(next.status()), HasSubstr("more than 1048576 bytes"));
  }
}

// The input is all there, in one piece: only the uncompressed side can notice.
TEST(TarReaderTest, CancellationEndsWhatASmallInputBecomes) {
  std::string bomb = MakeTar({File("a", std::string(32 << 20, '\0'))}, "gzip");
  std::stop_source stop;
  auto reader = TarReader::Open(BytesOf(bomb, bomb.size()), stop.get_token());
  TarEntry entry;
  ASSERT_TRUE(reader.ok() && *(*reader)->Next(&entry));
  stop.request_stop();
  EXPECT_EQ((*reader)->Next(&entry).status().code(), StatusCode::kCancelled);
}

TEST(TarReaderTest, CancellationEndsIt) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(TarReader::Open(BytesOf(MakeTar({File("a")})), stop.get_token()).status().code(),
            StatusCode::kCancelled);
}

}  // namespace
}  // namespace stasis::image
