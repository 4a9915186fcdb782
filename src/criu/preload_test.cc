// What the library that is loaded into CRIU puts in the place of slow steps of a dump (preload/tmpfs.c),
// seen by programs that take the same steps as CRIU does.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "linux/files.h"
#include "linux/subprocess.h"

namespace stasis::criu {
namespace {

using testing::StartsWith;

constexpr char kPython[] = "/usr/bin/python3";

// All that tar keeps of a tree, a line each; times of directories too.
constexpr char kDescribe[] = R"(
import hashlib, os, stat, sys
os.chdir(sys.argv[1])
for directory, below, files in os.walk('.'):
    for name in ['.'] * (directory == '.') + below + files:
        path = os.path.join(directory, name)
        s = os.lstat(path)
        what = os.readlink(path) if stat.S_ISLNK(s.st_mode) else ''
        if stat.S_ISREG(s.st_mode): what = hashlib.sha256(open(path, 'rb').read()).hexdigest()
        links = 0 if stat.S_ISDIR(s.st_mode) else s.st_nlink
        print(repr(os.fsencode(path)), oct(s.st_mode), s.st_uid, s.st_gid, links, s.st_rdev, int(s.st_mtime), what)
)";

class PreloadTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!Exists(kPython)) GTEST_SKIP() << kPython << " is not there";
    auto temporary = TemporaryDirectory::Create("/tmp", "preload-");
    ASSERT_TRUE(temporary.ok()) << temporary.status();
    temporary_.emplace(*std::move(temporary));
    for (const char* directory : {"/tree", "/back"}) {
      ASSERT_TRUE(MakeDirectories(temporary_->path() + directory).ok());
    }
  }
  std::string Path(const std::string& name) { return temporary_->path() + "/" + name; }

  // Standard output; a failure of the program is one of the test.
  std::string Run(Command command) {
    command.env.merge(BaseEnvironment());
    auto result = stasis::Run(command, {.deadline = After(std::chrono::seconds(60))});
    if (!result.ok()) {
      ADD_FAILURE() << result.status();
      return "";
    }
    EXPECT_EQ(result->exit.ShellCode(), 0) << result->error_tail;
    return result->output;
  }
  std::string Python(const std::string& code, const std::string& argument = "") {
    return Run({.argv = {kPython, "-c", code, argument}, .env = {{"LD_PRELOAD", STASIS_PRELOAD}}});
  }

  // As criu/filesystems.c saves a tmpfs: by execvp, which env(1) calls as well.
  std::string Save() {
    auto tree = OpenDirectory(Path("tree"));
    auto image = OpenFile(Path("image"), O_RDWR | O_CREAT | O_TRUNC);
    EXPECT_TRUE(tree.ok() && image.ok());
    if (!tree.ok() || !image.ok()) return "";
    Run({.argv = {"/usr/bin/env", "tar", "--create", "--gzip", "--no-unquote", "--no-wildcards",
                  "--one-file-system", "--check-links", "--preserve-permissions", "--sparse",
                  "--numeric-owner", "--directory", "/proc/self/fd/0", "."},
         .env = {{"LD_PRELOAD", STASIS_PRELOAD}},
         .fds = {{0, tree->get()}, {1, image->get()}}});
    auto bytes = ReadFile(Path("image"));
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.ok() ? *bytes : "";
  }
  // And as it restores it.
  void ExpectItComesBack() {
    auto image = OpenFile(Path("image"), O_RDONLY);
    ASSERT_TRUE(image.ok()) << image.status();
    Run({.argv = {"/usr/bin/env", "tar", "--extract", "--gzip", "--no-unquote", "--no-wildcards",
                  "--directory", Path("back")},
         .env = {{"LD_PRELOAD", STASIS_PRELOAD}},
         .fds = {{0, image->get()}}});
    const std::string saved = Python(kDescribe, Path("tree"));
    EXPECT_THAT(saved, StartsWith("b'./.'"));
    EXPECT_EQ(saved, Python(kDescribe, Path("back")));
  }
  // The first block is one of stored bytes: deflate's type 0, which gzip itself does not choose for a header.
  static bool IsOurs(const std::string& image) { return image.size() > 10 && (image[10] & 6) == 0; }

  std::optional<TemporaryDirectory> temporary_;
};

TEST_F(PreloadTest, AnEmptyTmpfsIsSavedWithoutTar) {
  Python(
      "import os,sys; os.chmod(sys.argv[1],0o1777); os.chown(sys.argv[1],1000,2000); "
      "os.utime(sys.argv[1],(1,7))",
      Path("tree"));
  EXPECT_TRUE(IsOurs(Save()));
  ExpectItComesBack();
}

TEST_F(PreloadTest, WhatIsInATmpfsIsSavedWithoutTar) {
  Python(R"(
import os, socket, sys
os.chdir(sys.argv[1])
os.makedirs('a/b/c' + 'd' * 80, 0o711)
for name, size in (('empty', 0), ('small', 5), ('record', 512), ('block', 65535), ('large', 1 << 22 | 77)):
    open('a/' + name, 'wb').write(os.urandom(size))
open('a/\n\\ \377'.encode('latin1'), 'w').write('a name of any bytes')
os.chmod('a/small', 0o4750); os.chown('a/small', 2097151, 33)
os.utime('a/record', (1, 1234567890)); os.utime('a', (1, 0))
os.symlink('x' * 100, 'a/long link'); os.symlink('/', 'a/link'); os.lchown('a/link', 5, 6)
os.mkfifo('fifo', 0o600); os.mknod('null', 0o20666, os.makedev(1, 3)); os.mknod('disk', 0o60600, os.makedev(259, 1 << 19))
)",
         Path("tree"));
  EXPECT_TRUE(IsOurs(Save()));
  ExpectItComesBack();
}

TEST_F(PreloadTest, ASocketIsLeftOutAsByTar) {
  Python(
      "import os,socket,sys; os.chdir(sys.argv[1]); socket.socket(socket.AF_UNIX).bind('s'); open('f','w')",
      Path("tree"));
  EXPECT_TRUE(IsOurs(Save()));
  Run({.argv = {"/bin/rm", Path("tree/s")}});
  Run({.argv = {"/usr/bin/touch", "-d", "@1", Path("tree")}});
  EXPECT_TRUE(IsOurs(Save()));
  ExpectItComesBack();
}

// Each of them beside a file that was written before it was found.
TEST_F(PreloadTest, WhatIsNotPlainIsLeftToTar) {
  for (const char* make : {"os.link('file', 'other')", "open('x' * 99, 'w')", "os.mkdir('x' * 98)",
                           "os.truncate('file', 1 << 22)", "os.symlink('x' * 101, 'link')",
                           "os.chown('file', 2097152, 0)", "os.utime('file', (-1, -1))"}) {
    SCOPED_TRACE(make);
    Run({.argv = {"/bin/rm", "-rf", Path("tree"), Path("back")}});
    ASSERT_TRUE(MakeDirectories(Path("tree")).ok() && MakeDirectories(Path("back")).ok());
    Python("import os,sys; os.chdir(sys.argv[1]); open('file','wb').write(os.urandom(1<<18)); " +
               std::string(make),
           Path("tree"));
    EXPECT_FALSE(IsOurs(Save()));
    ExpectItComesBack();
  }
}

TEST_F(PreloadTest, AnotherTarIsThatTar) {
  EXPECT_THAT(Run({.argv = {"/usr/bin/env", "tar", "--create", "--gzip", "--version"},
                   .env = {{"LD_PRELOAD", STASIS_PRELOAD}}}),
              StartsWith("tar"));
}

}  // namespace
}  // namespace stasis::criu
