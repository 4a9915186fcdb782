// Checkpoints of real containers, made over the wire that the shim uses and restored by runc.
#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mount.h>

#include <future>

#include "checkpoint/real_container_test.h"
#include "linux/mounts.h"

namespace stasis::checkpoint {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::StartsWith;

class CheckpointTest : public RealContainerTest {
 protected:
  // The verdict of a checkpoint that must fail, and leave all as it was.
  std::string Verdict(const protocol::CheckpointPlan& plan) {
    auto result = Checkpoint(plan);
    EXPECT_FALSE(result.ok());
    ExpectAsBefore();
    return Message(result.status());
  }
  Manifest ReadBack(const std::string& name) {
    auto manifest = ReadManifest(checkpoints_, *CheckpointName::Parse(name));
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    return manifest.ok() ? *manifest : Manifest{};
  }
};

#define STOP_IF_SKIPPED_OR_FAILED() \
  if (IsSkipped() || HasFatalFailure()) return

TEST_F(CheckpointTest, LeftRunningItRunsOnAndTheCheckpointCanBeRestored) {
  count_in_memory_ = true;
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  int before = Number();
  auto result = Checkpoint(Plan("cp1"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(State(), "running");
  EXPECT_EQ(FreezerState(), "thawed");
  EXPECT_TRUE(CountsOn());
  EXPECT_EQ(*ListDirectory(checkpoints_), std::vector<std::string>{"cp1"});
  EXPECT_EQ(*ListDirectory(shim_), std::vector<std::string>{"config.json"})
      << "no journal, no work directory";

  Manifest manifest = ReadBack("cp1");
  EXPECT_EQ(manifest.frozen_us, (*result)["frozen_us"].get<uint64_t>());
  EXPECT_GE(manifest.frozen_us, manifest.dump_us);
  EXPECT_GT(manifest.bytes, 4096u);
  EXPECT_EQ(manifest.container_id, id_);
  EXPECT_EQ(manifest.network_namespace, "own");
  EXPECT_THAT(manifest.criu_version, StartsWith("4."));
  ASSERT_GE(manifest.processes.size(), 1u);
  EXPECT_EQ(manifest.processes[0].pid, 1);
  EXPECT_THAT(manifest.processes[0].command, StartsWith("/bin/sh -c"));

  ASSERT_EQ(Restore("cp1"), 0);
  EXPECT_TRUE(CountsOn());
  EXPECT_GT(Number(), before) << "back in time, but not to before the checkpoint";
}

TEST_F(CheckpointTest, WithExitItIsKilledAndCountsOnFromTheVeryNumber) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  auto result = Checkpoint(Plan("cp1", /*exit=*/true));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(State(), "stopped");
  int last = Number();
  EXPECT_TRUE(ReadBack("cp1").exit);
  for (int round = 0; round < 2; ++round) {  // as often as one likes
    ASSERT_TRUE(WriteFileAtomically(bundle_ + "/rootfs/tmp/n", std::to_string(last), 0644).ok());
    ASSERT_EQ(Restore("cp1"), 0);
    EXPECT_TRUE(CountsOn());
    EXPECT_LT(Number(), last + 1000) << "it does not begin anew, nor run ahead";
  }
}

TEST_F(CheckpointTest, ARestoredContainerCanBeCheckpointedAgain) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  for (int generation = 1; generation <= 3; ++generation) {
    std::string name = "cp" + std::to_string(generation);
    auto result = Checkpoint(Plan(name, /*exit=*/true));
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(Restore(name), 0) << name;
    EXPECT_TRUE(CountsOn());
  }
}

TEST_F(CheckpointTest, APausedContainerStaysPaused) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  ASSERT_EQ(Runc({"pause", id_}), 0);
  protocol::CheckpointPlan plan = Plan("cp1");
  plan.paused = true;
  auto result = Checkpoint(plan);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(FreezerState(), "frozen");
  EXPECT_TRUE(ReadBack("cp1").paused);

  plan.request.name = "cp2";
  ASSERT_TRUE(Call("prepare", ToJson(plan)).ok());
  ASSERT_TRUE(Call("freeze").ok());
  ASSERT_TRUE(Call("cancel").ok());
  EXPECT_EQ(FreezerState(), "frozen") << "a failed one leaves it paused as well";
  ASSERT_EQ(Runc({"resume", id_}), 0);
  EXPECT_TRUE(CountsOn());
}

TEST_F(CheckpointTest, ProcessesOfAnotherUserAreSaved) {
  MakeBundle({"/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.02; done"}, false,
             [](Json& spec) {
               spec["process"]["user"] = {{"uid", 1000}, {"gid", 1000}};
             });
  Start();
  STOP_IF_SKIPPED_OR_FAILED();
  auto result = Checkpoint(Plan("cp1", /*exit=*/true));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ReadBack("cp1").processes[0].user, 1000u);
  ASSERT_EQ(Restore("cp1"), 0);
  EXPECT_TRUE(CountsOn());
}

TEST_F(CheckpointTest, ProcessesBesideTheTreeRunOn) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  ASSERT_EQ(Runc({"exec", "--detach", id_, "/bin/sleep", "1000"}), 0);
  protocol::CheckpointPlan plan = Plan("cp1");
  plan.exec_processes = {"e1 (/bin/sleep 1000)"};
  auto result = Checkpoint(plan);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Runc({"exec", id_, "/bin/sh", "-c", "pidof sleep || true"}), 0);
  EXPECT_EQ(ReadBack("cp1").exec_processes, plan.exec_processes);
  EXPECT_EQ(ReadBack("cp1").warnings,
            std::vector<std::string>{"\"/bin/sleep 1000\" was started by exec, beside the container's own "
                                     "processes: it is not in the checkpoint"});
  EXPECT_TRUE(CountsOn());
}

TEST_F(CheckpointTest, EstablishedConnectionsLocksDeletedFilesSharedMemoryAndTimeComeBack) {
  Python(R"(
server=socket.socket(); server.bind(('127.0.0.1',7000)); server.listen()
client=socket.create_connection(('127.0.0.1',7000)); peer,_=server.accept()
ghost=open('/tmp/ghost','w+b'); ghost.write(b'x'*(8<<20)); ghost.flush(); os.unlink('/tmp/ghost')
import fcntl; lock=open('/tmp/lock','w'); fcntl.flock(lock,2)
shared=open('/dev/shm/a','w'); shared.write('kept'); shared.flush()
read,write=os.pipe(); os.write(write,b'waiting')
i=0; clock=time.monotonic()
while True:
 before,clock=clock,time.monotonic(); assert before<=clock
 i+=1; client.sendall(b'%d'%i); assert peer.recv(100)==b'%d'%i
 assert os.pread(ghost.fileno(),1,8<<19)==b'x' and open('/dev/shm/a').read()=='kept'
 open('/tmp/n','w').write(str(i)); time.sleep(0.02)
)");
  STOP_IF_SKIPPED_OR_FAILED();
  auto result = Checkpoint(Plan("cp1", /*exit=*/true));
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(Restore("cp1"), 0);
  EXPECT_TRUE(CountsOn());
}

// A hard link makes CRIU's tar save /dev/shm; /dev is saved without it (criu/preload/tmpfs.c).
TEST_F(CheckpointTest, WhatIsInMemoryFileSystemsComesBackAndMaskedDirectoriesStayMasked) {
  Python(R"(
import errno,hashlib,stat
def make(top,linked):
 os.makedirs(top+'/a/b',0o755)
 for name,size in (('empty',0),('small',5),('large',3<<20)):
  open(top+'/a/'+name,'wb').write(os.urandom(size))
 os.chmod(top+'/a/small',0o4750); os.chown(top+'/a/large',1000,2000); os.utime(top+'/a/empty',(1,2))
 os.symlink('/nowhere',top+'/a/link'); os.mkfifo(top+'/a/fifo',0o600); os.mknod(top+'/a/null',0o20640,os.makedev(1,3))
 if linked: os.link(top+'/a/small',top+'/a/b/hard')
 os.chown(top+'/a/b',5,6)
def look(top):
 seen=[]
 for directory,below,files in os.walk(top):
  for name in below+files:
   path=directory+'/'+name; s=os.lstat(path)
   what=os.readlink(path) if stat.S_ISLNK(s.st_mode) else hashlib.sha256(open(path,'rb').read()).hexdigest() if stat.S_ISREG(s.st_mode) else ''
   seen.append((path,s.st_mode,s.st_uid,s.st_gid,s.st_nlink,s.st_rdev,int(s.st_mtime),what))
 return sorted(seen)
make('/dev/shm',True); make('/dev/made',False)
def masked():
 for path in ('/sys/firmware','/proc/acpi'):
  if not os.path.exists(path): continue
  if os.listdir(path) or not os.statvfs(path).f_flag&os.ST_RDONLY: return False
  try: os.mkdir(path+'/new'); return False
  except OSError as error:
   if error.errno!=errno.EROFS: return False
 return True
before=look('/dev/shm'),look('/dev/made')
i=0
while True:
 assert (look('/dev/shm'),look('/dev/made'))==before and masked()
 i+=1; open('/tmp/n','w').write(str(i)); time.sleep(0.02)
)");
  STOP_IF_SKIPPED_OR_FAILED();
  for (const char* name : {"cp1", "cp2"}) {
    auto result = Checkpoint(Plan(name, /*exit=*/true));
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(Restore(name), 0);
    EXPECT_TRUE(CountsOn());
  }
}

TEST_F(CheckpointTest, WatchedFilesOnOverlayfsComeBack) {
  for (const char* directory : {"/lower", "/upper", "/work", "/mounted"}) {
    ASSERT_TRUE(MakeDirectories(base_ + directory).ok());
  }
  ASSERT_TRUE(MakeDirectories(base_ + "/lower/watched/here", 0755).ok());
  std::string layers = "lowerdir=" + base_ + "/lower,upperdir=" + base_ + "/upper,workdir=" + base_ + "/work";
  std::string root = bundle_ + "/rootfs";
  if (Status status = Mount("overlay", root, "overlay", 0, layers); !status.ok()) GTEST_SKIP() << status;
  Python(R"(
fd=L.inotify_init1(2048); assert L.inotify_add_watch(fd,b'/watched/here',0x100)>0
)");
  if (!IsSkipped() && !HasFatalFailure()) {
    auto result = Checkpoint(Plan("cp1", /*exit=*/true));
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(Restore("cp1"), 0);
    EXPECT_TRUE(CountsOn());
  }
  Runc({"delete", "--force", id_});
  EXPECT_TRUE(Unmount(root, /*detach=*/true).ok());
}

TEST_F(CheckpointTest, WhatCannotBeSavedIsNamedBeforeTheFreeze) {
  Python(R"(
parameters=(ctypes.c_char*120)(); ring=L.syscall(425,4,parameters)
if ring<0: open('/tmp/refused','w')
)");
  STOP_IF_SKIPPED_OR_FAILED();
  if (Exists(bundle_ + "/rootfs/tmp/refused")) GTEST_SKIP() << "io_uring is refused here";
  EXPECT_THAT(Verdict(Plan("cp1")), StartsWith("process 1 (python3) holds an io_uring instance"));
}

TEST_F(CheckpointTest, AUserfaultfdIsNamed) {
  Python("fd=L.syscall(323,1)\nif fd<0: open('/tmp/refused','w')\n");
  STOP_IF_SKIPPED_OR_FAILED();
  if (Exists(bundle_ + "/rootfs/tmp/refused")) GTEST_SKIP() << "userfaultfd is refused here";
  EXPECT_THAT(Verdict(Plan("cp1")), StartsWith("process 1 (python3) holds a userfaultfd"));
}

TEST_F(CheckpointTest, ANestedPidNamespaceIsNamed) {
  Python("subprocess.Popen(['/bin/unshare','-p','-f','/bin/sleep','1000']); time.sleep(0.5)\n");
  STOP_IF_SKIPPED_OR_FAILED();
  std::string verdict = Verdict(Plan("cp1"));
  EXPECT_THAT(verdict, HasSubstr("(sleep) runs in a pid namespace of its own"));
}

TEST_F(CheckpointTest, AnOpenDeviceIsNamed) {
  Python(R"(
os.mknod('/tmp/fuse',0o20600,os.makedev(10,229))
try: device=open('/tmp/fuse','r+b',0)
except OSError: open('/tmp/refused','w')
)");
  STOP_IF_SKIPPED_OR_FAILED();
  if (Exists(bundle_ + "/rootfs/tmp/refused")) GTEST_SKIP() << "/dev/fuse cannot be opened here";
  EXPECT_THAT(Verdict(Plan("cp1")), StartsWith("process 1 (python3) has the device /tmp/fuse (10:229) open"));
}

TEST_F(CheckpointTest, ATracedProcessIsNamed) {
  Python("child=os.fork()\nif child==0: time.sleep(1000)\nassert L.ptrace(0x4206,child,0,0)==0\n");
  STOP_IF_SKIPPED_OR_FAILED();
  EXPECT_THAT(Verdict(Plan("cp1")), HasSubstr("is traced by process 1 (python3)"));
}

TEST_F(CheckpointTest, WithoutTcpAConnectionIsTheReason) {
  Python(R"(
server=socket.socket(); server.bind(('127.0.0.1',7000)); server.listen()
client=socket.create_connection(('127.0.0.1',7000)); peer,_=server.accept()
)");
  STOP_IF_SKIPPED_OR_FAILED();
  protocol::CheckpointPlan plan = Plan("cp1");
  plan.request.tcp = false;
  EXPECT_THAT(Verdict(plan), StartsWith("process 1 (python3) has an established TCP connection"));
}

TEST_F(CheckpointTest, ANameThatIsAPathIsRefused) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  protocol::CheckpointPlan plan = Plan("cp1");
  plan.request.name = "../escape";
  EXPECT_TRUE(absl::IsInvalidArgument(Call("prepare", ToJson(plan)).status()));
  ExpectAsBefore();
}

TEST_F(CheckpointTest, ANameInUseIsRefused) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  ASSERT_TRUE(MakeDirectories(checkpoints_ + "/cp1").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Call("prepare", ToJson(Plan("cp1"))).status()));
  EXPECT_EQ(*ListDirectory(checkpoints_), std::vector<std::string>{"cp1"});
  EXPECT_TRUE(CountsOn());
}

TEST_F(CheckpointTest, AFreezeThatLastsTooLongEnds) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  protocol::CheckpointPlan plan = Plan("cp1");
  plan.request.frozen_limit_ms = 1;
  auto result = Checkpoint(plan);
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status())) << result.status();
  ExpectAsBefore();
}

TEST_F(CheckpointTest, AShimThatDoesNotFinishDoesNotHoldTheContainer) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  protocol::CheckpointPlan plan = Plan("cp1");
  plan.request.frozen_limit_ms = 5000;
  ASSERT_TRUE(Call("prepare", ToJson(plan)).ok());
  ASSERT_TRUE(Call("freeze").ok());
  int frozen_at = Number();
  EXPECT_TRUE(CountsOn()) << "after the limit";
  EXPECT_GE(Number(), frozen_at);
  EXPECT_TRUE(absl::IsFailedPrecondition(Call("finish").status()));
  ExpectAsBefore();
}

TEST_F(CheckpointTest, AShimThatHangsUpAtAnyStageCancels) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  for (int verbs = 1; verbs <= 2; ++verbs) {
    ASSERT_TRUE(Call("prepare", ToJson(Plan("cp1", /*exit=*/verbs == 2))).ok());
    if (verbs == 2) {
      ASSERT_TRUE(Call("freeze").ok());
    }
    HangUp();
    ExpectAsBefore();
    Serve();
  }
  // In the midst of the dump.
  ASSERT_TRUE(Call("prepare", ToJson(Plan("cp1"))).ok());
  std::stop_source stop;
  auto freeze = std::async(std::launch::async, [&] {
    return caller_->Call("freeze", Json::object(), std::chrono::seconds(60), stop.get_token());
  });
  freeze.wait_for(milliseconds(30));
  stop.request_stop();
  static_cast<void>(freeze.get());
  HangUp();
  ExpectAsBefore();
}

TEST_F(CheckpointTest, AKilledCriuLeavesTheContainerAsItWas) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  for (int round = 0; round < 6; ++round) {
    ASSERT_TRUE(Call("prepare", ToJson(Plan("cp1", /*exit=*/round % 2 == 1))).ok());
    pid_t criu = CriuPid();
    ASSERT_GT(criu, 1);
    auto freeze = std::async(std::launch::async, [&] { return Call("freeze"); });
    freeze.wait_for(milliseconds(20 * round));
    ASSERT_EQ(::kill(criu, SIGKILL), 0);
    // Killed before its end the freeze fails, killed after it the finish.
    Status status = freeze.get().status();
    if (status.ok()) status = Call("finish").status();
    EXPECT_THAT(Message(status), HasSubstr("criu")) << "round " << round;
    if (State() == "stopped") {
      // A moment of CRIU's own: it had changed the registers of a task (docs/adr/0002). Nothing is left even
      // so.
      EXPECT_TRUE(ListDirectory(checkpoints_)->empty());
      EXPECT_FALSE(Exists(shim_ + "/" + protocol::kJournalFile));
      return;
    }
    ExpectAsBefore();
  }
}

TEST_F(CheckpointTest, AFullDiskIsTheReasonAndNothingIsLeft) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  ASSERT_TRUE(MakeDirectories(checkpoints_).ok());
  ASSERT_TRUE(Mount("tmpfs", checkpoints_, "tmpfs", 0, "size=100k").ok());
  auto result = Checkpoint(Plan("cp1"));
  EXPECT_EQ(result.status().code(), StatusCode::kResourceExhausted) << result.status();
  ExpectAsBefore();
  EXPECT_TRUE(Unmount(checkpoints_, /*detach=*/true).ok());
}

TEST_F(CheckpointTest, VerbsOutOfOrderAreRefused) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  EXPECT_TRUE(absl::IsFailedPrecondition(Call("freeze").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Call("finish").status()));
  EXPECT_TRUE(absl::IsUnimplemented(Call("explode").status()));
  EXPECT_TRUE(Call("cancel").ok()) << "nothing is under way: nothing to do";
  ASSERT_TRUE(Call("prepare", ToJson(Plan("cp1"))).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Call("prepare", ToJson(Plan("cp2"))).status()));
  EXPECT_FALSE(Call("finish").ok()) << "nothing was frozen";
  ExpectAsBefore();
}

}  // namespace
}  // namespace stasis::checkpoint
