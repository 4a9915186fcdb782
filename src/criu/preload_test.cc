// What the library that is loaded into CRIU puts in the place of slow steps of a dump (preload/tmpfs.c,
// preload/network.c, preload/kerndat.c), seen by programs that take the same steps as CRIU does.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <optional>

#include "linux/files.h"
#include "linux/subprocess.h"

namespace stasis::criu {
namespace {

using testing::EndsWith;
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

// As criu/filesystems.c saves a tmpfs.
constexpr char kSave[] = R"(
import fcntl, os, sys
os.chdir(sys.argv[1])
tree = os.open('tree', os.O_RDONLY)
fcntl.fcntl(tree, fcntl.F_SETFD, 0)
images = os.open('.', os.O_RDONLY)
image = os.open('tmpfs-dev-7.tar.gz.img', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=images)
child = os.fork()
if child == 0:
    os.dup2(tree, 0)
    os.dup2(image, 1)
    os.execvp('tar', ['tar', '--create', '--gzip', '--no-unquote', '--no-wildcards', '--one-file-system', '--check-links',
                      '--preserve-permissions', '--sparse', '--numeric-owner', '--directory', '/proc/self/fd/0', '.'])
assert os.waitpid(child, 0) == (child, 0)
os.rename('tmpfs-dev-7.tar.gz.img', 'image')
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
  std::string Python(const std::string& code, const std::string& argument = "",
                     std::map<std::string, std::string> environment = {}) {
    environment["LD_PRELOAD"] = STASIS_PRELOAD;
    return Run({.argv = {kPython, "-c", code, argument}, .env = environment});
  }

  std::string Save() {
    Python(kSave, temporary_->path());
    auto bytes = ReadFile(Path("image"));
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.ok() ? *bytes : "";
  }
  // And as it restores it, by the tar in `path`.
  void ExpectItComesBack(const std::string& path = "/usr/bin:/bin") {
    auto image = OpenFile(Path("image"), O_RDONLY);
    ASSERT_TRUE(image.ok()) << image.status();
    Run({.argv = {"/usr/bin/env", "tar", "--extract", "--gzip", "--no-unquote", "--no-wildcards",
                  "--directory", Path("back")},
         .env = {{"LD_PRELOAD", STASIS_PRELOAD}, {"PATH", path}},
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

TEST_F(PreloadTest, AnEmptyTmpfsComesBackWithoutTar) {
  Python(
      "import os,sys; os.chmod(sys.argv[1],0o2750); os.chown(sys.argv[1],7,8); os.utime(sys.argv[1],(1,9))",
      Path("tree"));
  Save();
  ExpectItComesBack("/nowhere");
}

TEST_F(PreloadTest, ADamagedArchiveOfNothingIsLeftToTar) {
  std::string archive = Save();
  archive[archive.size() - 8] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(Path("image"), archive).ok());
  auto image = OpenFile(Path("image"), O_RDONLY);
  ASSERT_TRUE(image.ok());
  const auto result = stasis::Run({.argv = {"/usr/bin/env", "tar", "--extract", "--gzip", "--no-unquote",
                                            "--no-wildcards", "--directory", Path("back")},
                                   .env = {{"LD_PRELOAD", STASIS_PRELOAD}, {"PATH", "/usr/bin:/bin"}},
                                   .fds = {{0, image->get()}}},
                                  {.deadline = After(std::chrono::seconds(60))});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NE(result->exit.ShellCode(), 0);
  EXPECT_THAT(result->error_tail, testing::HasSubstr("crc error"));
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

// CRIU's mount_detached_fs in a network namespace of its own, and then read_ns_sys_file.
// By the same PAGEMAP_SCAN CRIU asks of the processes it dumps, and of itself what the kernel knows.
TEST_F(PreloadTest, HiddenMemoryIsNotTakenForWhatTheKernelHas) {
  const std::string told = Python(R"(
import ctypes, os, struct
L = ctypes.CDLL(None)
regions = ctypes.create_string_buffer(24)
PRESENT, UNKNOWN = 1 << 3, 1 << 40
def scan(process, categories):
    end = 0x7ffffffff000
    arguments = struct.pack('12Q', 96, 0, 0, end, 0, ctypes.addressof(regions), 1, 0, 0, 0, PRESENT, categories)
    pagemap = os.open(f'/proc/{process}/pagemap', os.O_RDONLY)
    return L.ioctl(pagemap, ctypes.c_ulong(0xc0606610), ctypes.create_string_buffer(arguments))
print(scan('self', PRESENT), scan('self', UNKNOWN), scan(os.getppid(), PRESENT), scan(os.getppid(), UNKNOWN))
)",
                                  "", {{"STASIS_SHOWN_MEMORY", "/dev/null"}});
  if (told == "-1 -1 0 0\n") GTEST_SKIP() << "this kernel has no PAGEMAP_SCAN";
  EXPECT_EQ(told, "1 -1 0 0\n");
}

TEST_F(PreloadTest, TheSysfsOfANetworkNamespaceIsMountedWhenItIsRead) {
  EXPECT_EQ(Python(R"(
import ctypes, errno, os
L = ctypes.CDLL(None)
def mount():
    context = L.syscall(430, b'sysfs', 0)
    assert L.syscall(431, context, 6, None, None, 0) == 0
    mounted = L.syscall(432, context, 0, 0)
    try: os.read(context, 1)
    except OSError as error: assert error.errno == errno.ENODATA, 'CRIU would log an error'
    os.close(context)
    return mounted
def is_directory(f): return os.stat(f).st_mode & 0o40000 != 0
assert L.unshare(0x40000000) == 0
mounted = mount()
print(is_directory(mounted), end=' ')
file = L.openat64(mounted, b'class/net/lo/operstate', 0)
print(is_directory(mounted), os.read(file, 100).decode().strip(), os.listdir(L.openat64(mounted, b'class/net', 0)))
os.close(mounted)
mounted = mount()
os.dup2(os.open('/', os.O_RDONLY), mounted)  # another file has the number now
print(L.openat64(mounted, b'no such file', 0), os.path.samestat(os.stat(mounted), os.stat('/')))
)"),
            "False True down ['lo']\n-1 True\n");
}

TEST_F(PreloadTest, TrackedConnectionsAreToldWhereThereAreAny) {
  const std::string told = Python(R"(
import ctypes, socket, struct
assert ctypes.CDLL(None).unshare(0x40000000) == 0
def attribute(kind, data): return struct.pack('HH', len(data) + 4, kind) + data + bytes(-len(data) % 4)
def nested(kind, *parts): return attribute(kind | 0x8000, b''.join(parts))
def tuple(kind, source, target):
    return nested(kind, nested(1, attribute(1, b'\x7f\0\0\1'), attribute(2, b'\x7f\0\0\1')),
                  nested(2, attribute(1, b'\x11'), attribute(2, struct.pack('!H', source)),
                         attribute(3, struct.pack('!H', target))))
def ask(message, flags, family=0, *attributes):
    try: netfilter = socket.socket(16, 3, 12)
    except OSError: return 'refused'
    body = struct.pack('BBH', family, 0, 0) + b''.join(attributes)
    netfilter.sendmsg([struct.pack('IHHII', 16 + len(body), 0x100 | message, 1 | flags, 24, 0) + body], [], 0, (0, 0))
    count = 0
    while True:
        answer = netfilter.recv(65536)
        while answer:
            size, kind = struct.unpack_from('IH', answer)
            if kind in (2, 3):
                error = struct.unpack_from('i', answer, 16)[0]
                return error if error else count
            count += 1
            answer = answer[(size + 3) & ~3:]
GET, NEW, DUMP, MAKE = 1, 0, 0x300, 0x604
print(ask(GET, DUMP))
print(ask(NEW, MAKE, 2, tuple(1, 1000, 2000), tuple(2, 2000, 1000), attribute(7, struct.pack('!I', 100))))
print(ask(GET, DUMP))
)");
  if (told != "0\n0\n1\n") {
    EXPECT_THAT(told, testing::Not(EndsWith("\n0\n0\n")));
    GTEST_SKIP() << "connections cannot be tracked here: " << told;
  }
}

// As criu/kerndat.c does it: reads what is there, else writes what it has learnt, made aside and renamed.
constexpr char kKerndat[] = R"(
import ctypes, os, sys
libc = ctypes.CDLL(None)
def look():
    try: file = os.open('/run/criu.kdat', os.O_RDONLY)
    except FileNotFoundError: return None
    return os.read(file, 1 << 20)
def keep(learnt):
    file = os.open('/run/criu.kdat.tmp', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    statfs = ctypes.create_string_buffer(256)
    assert libc.fstatfs64(file, statfs) == 0 and statfs.raw[:4] == (0x01021994).to_bytes(4, 'little'), 'a tmpfs'
    os.write(file, learnt)
    os.close(file)
    os.rename('/run/criu.kdat.tmp', '/run/criu.kdat')
)";

class KerndatTest : public PreloadTest {
 protected:
  std::string Kerndat(const std::string& code) {
    return Python(kKerndat + code, "", {{"STASIS_KERNDAT", Path("kept")}});
  }
};

TEST_F(KerndatTest, WhatCriuHasLearntIsKeptOnAnyFileSystem) {
  EXPECT_EQ(Kerndat("print(look()); keep(b'learnt'); print(look())"), "None\nb'learnt'\n");
  EXPECT_EQ(Kerndat("print(look())"), "b'learnt'\n") << "by another CRIU";
  EXPECT_FALSE(Exists(Path("kept.new")));
  EXPECT_EQ(Kerndat("os.unlink('/run/criu.kdat'); print(look())"), "None\n") << "it was stale to CRIU";
  EXPECT_FALSE(Exists(Path("kept")));
}

TEST_F(KerndatTest, WhatIsDamagedIsProbedAgain) {
  Kerndat("keep(b'learnt')");
  const auto good = ReadFile(Path("kept"));
  ASSERT_TRUE(good.ok()) << good.status();
  std::string changed = *good;
  changed.back() ^= 1;
  for (const std::string& damaged : {changed, good->substr(0, good->size() - 1), std::string()}) {
    ASSERT_TRUE(WriteFileAtomically(Path("kept"), damaged).ok());
    EXPECT_EQ(Kerndat("print(look()); print(os.path.exists('" + Path("kept") + "'))"), "None\nFalse\n");
    EXPECT_EQ(Kerndat("keep(b'learnt'); print(look())"), "b'learnt'\n");
  }
}

TEST_F(KerndatTest, WhatAnotherBootOrKernelHasTaughtIsNotBelieved) {
  Kerndat("keep(b'learnt')");
  EXPECT_THAT(*ReadFile(Path("kept")), StartsWith("kerndat 1, boot "));
  // A copy of the program is another program.
  const std::string copy = Path("python");
  Run({.argv = {"/bin/cp", "-L", kPython, copy}});
  EXPECT_EQ(Run({.argv = {copy, "-c", std::string(kKerndat) + "print(look()); keep(b'more'); print(look())"},
                 .env = {{"LD_PRELOAD", STASIS_PRELOAD}, {"STASIS_KERNDAT", Path("kept")}}}),
            "None\nb'more'\n");
}

TEST_F(KerndatTest, AKilledWriterLeavesNothingInTheWay) {
  Kerndat("os.open('/run/criu.kdat.tmp', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)");  // no further
  ASSERT_TRUE(WriteFileAtomically(Path("kept.new"), "half").ok());
  EXPECT_EQ(Kerndat("print(look()); keep(b'learnt'); print(look())"), "None\nb'learnt'\n");
  EXPECT_FALSE(Exists(Path("kept.new")));
}

TEST_F(KerndatTest, ALinkInItsPlaceIsNotFollowed) {
  ASSERT_TRUE(WriteFileAtomically(Path("tree/victim"), "victim").ok());
  ASSERT_EQ(::symlink(Path("tree/victim").c_str(), Path("kept").c_str()), 0);
  ASSERT_EQ(::symlink(Path("tree/victim").c_str(), Path("kept.new").c_str()), 0);
  EXPECT_EQ(Kerndat("print(look()); keep(b'learnt')"), "None\n");
  EXPECT_EQ(*ReadFile(Path("tree/victim")), "victim");
}

// As CRIU makes the images of two processes and of what they share.
constexpr char kImages[] = R"(
import os, sys
images = os.open(sys.argv[1], os.O_RDONLY)
for name in ('pstree.img', 'core-7.img', 'mm-7.img', 'pagemap-7.img', 'pages-1.img', 'fs-7.img', 'ids-7.img', 'fdinfo-2.img',
             'pagemap-shmem-5.img', 'pages-2.img', 'tmpfs-dev-3.tar.gz.img', 'core-x.img', 'mm-7.img.bak'):
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=images))
)";

class TaskImagesTest : public PreloadTest {
 protected:
  void MakeImages(std::map<std::string, std::string> environment) {
    environment["STASIS_TASK_IMAGES"] = Path("back");
    Python(kImages, Path("tree"), environment);
  }
  std::vector<std::string> In(const std::string& directory) {
    return ListDirectory(Path(directory)).value_or(std::vector<std::string>());
  }
};

TEST_F(TaskImagesTest, SmallImagesOfEachProcessAreMadeInTheirOwnDirectory) {
  ASSERT_TRUE(WriteFileAtomically(Path("shown"), "").ok());
  MakeImages({{"STASIS_SHOWN_MEMORY", Path("shown")}});
  EXPECT_THAT(In("back"), testing::ElementsAre("core-7.img", "fdinfo-2.img", "fs-7.img", "ids-7.img",
                                               "mm-7.img", "pagemap-7.img", "pages-1.img"));
  EXPECT_THAT(In("tree"), testing::ElementsAre("core-x.img", "mm-7.img.bak", "pagemap-shmem-5.img",
                                               "pages-2.img", "pstree.img", "tmpfs-dev-3.tar.gz.img"));
}

TEST_F(TaskImagesTest, MemoryThatIsNotHiddenIsNoSmallImage) {
  MakeImages({});
  EXPECT_THAT(In("tree"), testing::Contains("pages-1.img"));
  EXPECT_THAT(In("back"), testing::Contains("pagemap-7.img"));
}

// As criu/mount.c reads a mount that has others below it.
TEST_F(PreloadTest, AMountIsReadWithoutBeingMountedElsewhere) {
  ASSERT_TRUE(WriteFileAtomically(Path("tree/file"), "content").ok());
  EXPECT_EQ(Python(R"(
import ctypes, os, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
place = tempfile.mkdtemp(prefix='cr-tmpfs.', dir='/tmp')
assert libc.mount(sys.argv[1].encode(), place.encode(), None, 4096, None) == 0, ctypes.get_errno()
print(place in open('/proc/self/mounts').read())
opened = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
assert libc.umount2(place.encode(), 2) == 0
os.rmdir(place)
print(os.listdir(opened), os.fstat(opened).st_ino == os.stat(sys.argv[1]).st_ino)
)",
                   Path("tree")),
            "False\n['file'] True\n");
}

}  // namespace
}  // namespace stasis::criu
