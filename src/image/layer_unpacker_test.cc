#include "image/layer_unpacker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "image/archive_builder.h"
#include "linux/files.h"

namespace stasis::image {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LayerUnpackerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: owners, device nodes, trusted attributes";
    auto directory = TemporaryDirectory::Create(::testing::TempDir(), "layer-");
    ASSERT_TRUE(directory.ok()) << Message(directory.status());
    directory_.emplace(*std::move(directory));
    ASSERT_EQ(::mkdir(Path("layer").c_str(), 0755), 0);
  }

  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }
  std::string In(const std::string& name) const { return Path("layer/" + name); }

  StatusOr<uint64_t> Unpack(const std::vector<TestEntry>& entries, const UnpackLimits& limits = {},
                            std::stop_token cancel = {}) {
    STASIS_ASSIGN_OR_RETURN(auto tar, TarReader::Open(BytesOf(MakeTar(entries)), cancel));
    STASIS_ASSIGN_OR_RETURN(UniqueFd root, OpenDirectory(Path("layer")));
    return UnpackLayer(*tar, root.get(), limits, cancel);
  }

  void ExpectRefused(const std::vector<TestEntry>& entries, const std::string& message) {
    StatusOr<uint64_t> size = Unpack(entries);
    EXPECT_EQ(size.status().code(), StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(Message(size.status()), HasSubstr(message));
  }

  struct stat Stat(const std::string& name) const {
    struct stat info = {};
    EXPECT_EQ(::lstat(In(name).c_str(), &info), 0) << name;
    return info;
  }

  std::string Attribute(const std::string& name, const std::string& attribute) const {
    char value[256];
    ssize_t size = ::lgetxattr(In(name).c_str(), attribute.c_str(), value, sizeof value);
    return size < 0 ? "none" : std::string(value, static_cast<size_t>(size));
  }

  std::optional<TemporaryDirectory> directory_;
};

TEST_F(LayerUnpackerTest, OwnersModesTimesAndContentAreKept) {
  std::vector<TestEntry> entries = {Dir("./", 0711), Dir("./d", 0555), File("./d/f", "hello", 04755),
                                    Symlink("./d/s", "/etc/passwd"), Hardlink("./h", "./d/f")};
  entries[2].uid = 33;
  entries[2].gid = 4'000'000'000;
  StatusOr<uint64_t> size = Unpack(entries);
  ASSERT_TRUE(size.ok()) << Message(size.status());
  EXPECT_EQ(*size, 5u);
  EXPECT_EQ(Stat(".").st_mode & 07777, 0711u);
  EXPECT_EQ(Stat("d").st_mode & 07777, 0555u);
  EXPECT_EQ(Stat("d").st_mtime, 1'000'000);
  EXPECT_EQ(Stat("d/f").st_mode & 07777, 04755u);
  EXPECT_EQ(Stat("d/f").st_uid, 33u);
  EXPECT_EQ(Stat("d/f").st_gid, 4'000'000'000u);
  EXPECT_EQ(Stat("d/f").st_mtime, 1'000'000);
  EXPECT_EQ(Stat("h").st_ino, Stat("d/f").st_ino);
  EXPECT_EQ(*ReadFile(In("h")), "hello");
  EXPECT_TRUE(S_ISLNK(Stat("d/s").st_mode));
}

TEST_F(LayerUnpackerTest, HolesStayHoles) {
  constexpr size_t kSize = 8 << 20;
  TestEntry file = File("sparse", std::string(kSize, '\0'));
  file.content.replace(1 << 20, 5, "hello");
  file.data = {{1 << 20, 4096}};
  StatusOr<uint64_t> size = Unpack({file, File("after", "x")});
  ASSERT_TRUE(size.ok()) << Message(size.status());
  EXPECT_EQ(*size, kSize + 1);
  EXPECT_TRUE(*ReadFile(In("sparse")) == file.content);
  EXPECT_LT(Stat("sparse").st_blocks * 512, 1 << 20);
  EXPECT_EQ(*ReadFile(In("after")), "x");
}

TEST_F(LayerUnpackerTest, DevicesAndPipesAreMade) {
  TestEntry null = File("null");
  null.mode = S_IFCHR | 0666;
  null.major = 1;
  null.minor = 3;
  TestEntry pipe = File("pipe");
  pipe.mode = S_IFIFO | 0600;
  ASSERT_TRUE(Unpack({null, pipe}).ok());
  EXPECT_TRUE(S_ISCHR(Stat("null").st_mode));
  EXPECT_EQ(Stat("null").st_rdev, makedev(1, 3));
  EXPECT_EQ(Stat("null").st_mode & 0777, 0666u);
  EXPECT_TRUE(S_ISFIFO(Stat("pipe").st_mode));
}

TEST_F(LayerUnpackerTest, WhiteoutsBecomeOverlayfsOwn) {
  ASSERT_TRUE(Unpack({Dir("etc"), File("etc/.wh.passwd"), Dir("var"), File("var/.wh..wh..opq"),
                      File(".wh..wh.plnk"), File("new/.wh.old")})
                  .ok());
  EXPECT_TRUE(S_ISCHR(Stat("etc/passwd").st_mode));
  EXPECT_EQ(Stat("etc/passwd").st_rdev, 0u);
  EXPECT_EQ(Attribute("var", "trusted.overlay.opaque"), "y");
  EXPECT_TRUE(S_ISCHR(Stat("new/old").st_mode));
  EXPECT_THAT(*ListDirectory(Path("layer")), ElementsAre("etc", "new", "var"));
}

TEST_F(LayerUnpackerTest, AWhiteoutAndADirectoryOfOneNameMakeItOpaqueInEitherOrder) {
  ASSERT_TRUE(Unpack({File(".wh.a"), Dir("a"), Dir("b"), File(".wh.b"), File("c"), File(".wh.c")}).ok());
  EXPECT_EQ(Attribute("a", "trusted.overlay.opaque"), "y");
  EXPECT_EQ(Attribute("b", "trusted.overlay.opaque"), "y");
  EXPECT_TRUE(S_ISREG(Stat("c").st_mode));
}

TEST_F(LayerUnpackerTest, CapabilitiesAndUserAttributesAreKeptOthersAreNot) {
  TestEntry file = File("ping", "x", 0755);
  file.uid = 7;
  std::string capability("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                         20);
  file.xattrs = {{"security.capability", capability}, {"user.note", "n"}, {"trusted.overlay.redirect", "/x"}};
  TestEntry directory = Dir("d");
  directory.xattrs = {{"trusted.overlay.opaque", "y"}};
  ASSERT_TRUE(Unpack({file, directory}).ok());
  EXPECT_EQ(Attribute("ping", "security.capability"), capability);
  EXPECT_EQ(Attribute("ping", "user.note"), "n");
  EXPECT_EQ(Attribute("ping", "trusted.overlay.redirect"), "none");
  EXPECT_EQ(Attribute("d", "trusted.overlay.opaque"), "none");
}

TEST_F(LayerUnpackerTest, ManyMissingParentsAreMadeInNoTime) {
  std::string path;
  for (int i = 0; i < 2000; ++i) path += "d/";
  const absl::Time begun = absl::Now();
  ASSERT_TRUE(Unpack({File(path + "f", "x"), Symlink("link", "d/d"), File("link/e/f", "y")}).ok());
  EXPECT_LT(absl::Now() - begun, absl::Seconds(20));  // over a minute when each was looked up from the root
  EXPECT_EQ(*ReadFile(In("d/d/e/f")), "y");
  EXPECT_EQ(Stat("d/d/d").st_mode & 07777, 0755u);
}

TEST_F(LayerUnpackerTest, LaterEntriesReplaceEarlierOnes) {
  ASSERT_TRUE(Unpack({Dir("a"), File("a/x"), File("a", "now a file"), File("b"), Dir("b"), File("b/y"),
                      Symlink("c", "b"), File("c", "mine"), Dir("d"), File("d/kept"), Dir("d", 0700)})
                  .ok());
  EXPECT_EQ(*ReadFile(In("a")), "now a file");
  EXPECT_TRUE(Exists(In("b/y")));
  EXPECT_EQ(*ReadFile(In("c")), "mine");
  EXPECT_FALSE(Exists(In("b/mine")));
  EXPECT_TRUE(Exists(In("d/kept")));
  EXPECT_EQ(Stat("d").st_mode & 0777, 0700u);
}

TEST_F(LayerUnpackerTest, NamesThatLeadOutAreRefused) {
  ExpectRefused({File("/etc/passwd")}, "absolute path refused: /etc/passwd");
  ExpectRefused({File("../escaped")}, "path with .. refused: ../escaped");
  ExpectRefused({File("a/../../escaped")}, "path with .. refused");
  ExpectRefused({File("a/..")}, "path with .. refused");
  ExpectRefused({File(std::string(300, 'n'))}, "longer than 255");
  ExpectRefused({File(".wh...")}, "a whiteout of nothing");
  ExpectRefused({File(".wh.")}, "a whiteout of nothing");
  EXPECT_FALSE(Exists(Path("escaped")));
}

TEST_F(LayerUnpackerTest, LinksNeverLeadAnEntryOut) {
  ASSERT_EQ(::mkdir(Path("outside").c_str(), 0755), 0);
  // Within the layer they are followed as the container would: here to the layer's own directory.
  StatusOr<uint64_t> size = Unpack({Dir("real"), Symlink("in", "/real"), File("in/f", "x"),
                                    Symlink("out", Path("outside")), Symlink("up", "../../../outside")});
  ASSERT_TRUE(size.ok()) << Message(size.status());
  EXPECT_EQ(*ReadFile(In("real/f")), "x");
  EXPECT_FALSE(Unpack({Symlink("o", Path("outside")), File("o/f", "x")}).ok());
  EXPECT_FALSE(Unpack({Symlink("u", "../outside"), File("u/f", "x")}).ok());
  // A file over a link replaces the link and leaves its target alone.
  ASSERT_TRUE(WriteFileAtomically(Path("outside/victim"), "safe").ok());
  ASSERT_TRUE(Unpack({Symlink("v", Path("outside/victim")), File("v", "pwned")}).ok());
  EXPECT_EQ(*ReadFile(Path("outside/victim")), "safe");
  EXPECT_THAT(*ListDirectory(Path("outside")), ElementsAre("victim"));
}

TEST_F(LayerUnpackerTest, HardLinksStayInTheLayer) {
  ASSERT_TRUE(WriteFileAtomically(Path("secret"), "s").ok());
  ExpectRefused({Hardlink("h", "../secret")}, "path with .. refused");
  ExpectRefused({Hardlink("h", Path("secret"))}, "not in the layer");
  ExpectRefused({Symlink("l", "../../.."), Hardlink("h", "l/secret")}, "not in the layer");
  ExpectRefused({Hardlink("h", "nothing")}, "not in the layer");
  // A hard link to a symbolic link is a link to the link itself.
  ASSERT_TRUE(Unpack({Symlink("s", Path("secret")), Hardlink("h2", "s")}).ok());
  EXPECT_TRUE(S_ISLNK(Stat("h2").st_mode));
  ASSERT_TRUE(Unpack({File("a", "x"), Hardlink("b", "/a")}).ok());
  EXPECT_EQ(Stat("b").st_ino, Stat("a").st_ino);
}

TEST_F(LayerUnpackerTest, CapsEndArchivesThatNeverEnd) {
  UnpackLimits limits;
  limits.entries = 3;
  EXPECT_THAT(Message(Unpack({File("a"), File("b"), File("c"), File("d")}, limits).status()),
              HasSubstr("too many entries"));
  limits = {};
  limits.names = 5;
  EXPECT_TRUE(Unpack({Dir("a"), Dir("a/b"), Dir("a"), Dir("a/b")}, limits).ok());
  EXPECT_THAT(Message(Unpack({Dir("a"), Dir("a/b"), Dir("cd")}, limits).status()),
              HasSubstr("too many directories"));
  limits = {};
  limits.bytes = 100;
  EXPECT_THAT(
      Message(Unpack({File("a", std::string(60, 'x')), File("b", std::string(60, 'x'))}, limits).status()),
      HasSubstr("too large: b"));
}

TEST_F(LayerUnpackerTest, OwnersOutOfRangeAreRefused) {
  TestEntry file = File("a");
  file.uid = int64_t{1} << 33;
  EXPECT_FALSE(Unpack({file}).ok());
}

}  // namespace
}  // namespace stasis::image
