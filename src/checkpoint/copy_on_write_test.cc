// Checkpoints of real containers whose private memory is saved by us, restored by runc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/real_container_test.h"
#include "criu/processes.h"
#include "linux/mounts.h"

namespace stasis::checkpoint {
namespace {

class CopyOnWriteTest : public RealContainerTest {
 protected:
  CopyOnWriteTest() { count_in_memory_ = true; }
  Manifest ReadBack(const std::string& name) {
    auto manifest = ReadManifest(checkpoints_, *CheckpointName::Parse(name));
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    return manifest.ok() ? *manifest : Manifest{};
  }
  // Made copy on write; what it made is restored, goes on, and finds nothing wrong.
  void CheckpointAndRestore(const std::string& name) {
    auto result = Checkpoint(Plan(name));
    ASSERT_TRUE(result.ok()) << result.status();
    const Manifest manifest = ReadBack(name);
    EXPECT_EQ(manifest.freeze, "cow") << manifest.freeze_reason;
    EXPECT_GT(manifest.copy_us, 0u);
    EXPECT_TRUE(CountsOn());
    ASSERT_EQ(Restore(name), 0);
    EXPECT_TRUE(CountsOn());
    ExpectNothingWrong();
  }
  // Made with exit, of the memory of the processes themselves; restored, it goes on, and finds nothing wrong.
  void ExitAndRestore(const std::string& name) {
    auto result = Checkpoint(Plan(name, /*exit=*/true));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(State(), "stopped");
    const Manifest manifest = ReadBack(name);
    EXPECT_EQ(manifest.freeze, "direct") << manifest.freeze_reason;
    EXPECT_EQ(manifest.copy_us, 0u) << "nothing is copied";
    EXPECT_GT(manifest.memory_us, 0u);
    ASSERT_EQ(Restore(name), 0);
    EXPECT_TRUE(CountsOn());
    ExpectNothingWrong();
  }
  Status DisturbedExit(std::function<void()> at_memory) { return Disturbed(/*exit=*/true, at_memory); }
  // A checkpoint that `at_memory` disturbs as soon as some of the memory has been read.
  Status Disturbed(bool exit, std::function<void()> at_memory) {
    STASIS_RETURN_IF_ERROR(Call("prepare", ToJson(Plan("cp1", exit))).status());
    STASIS_RETURN_IF_ERROR(Call("freeze").status());
    const auto on_notice = [&](const std::string&, const Json& params) {
      if (at_memory && params.value("phase", "") == "memory") std::exchange(at_memory, nullptr)();
    };
    Status status =
        caller_->Call("finish", Json::object(), std::chrono::seconds(60), stop_.get_token(), on_notice)
            .status();
    EXPECT_FALSE(at_memory) << "its memory was not read";
    return status;
  }
  void ExpectNothingWrong() {
    auto wrong = ReadFile(bundle_ + "/rootfs/tmp/wrong");
    EXPECT_TRUE(absl::IsNotFound(wrong.status())) << (wrong.ok() ? *wrong : wrong.status().ToString());
  }
  std::vector<criu::Process> Tree() {
    auto tree = criu::ReadProcessTree(InitPid());
    return tree.ok() ? *tree : std::vector<criu::Process>{};
  }

  std::stop_source stop_;
};

#define STOP_IF_SKIPPED_OR_FAILED() \
  if (IsSkipped() || HasFatalFailure()) return

// Writes a generation into each page in turn, and finds the one before it there: memory that is younger or
// older than the registers is seen at once.
constexpr char kGenerations[] = R"(
def wrong(text): open('/tmp/wrong','a').write(text+'\n')
memory=bytearray(48<<20); generation=0
def round():
 global generation
 before,generation=generation,(generation+1)%251
 for page in range(0,len(memory),4096):
  if memory[page]!=before: wrong('page %d: %d, not %d'%(page,memory[page],before))
  memory[page]=generation
)";

TEST_F(CopyOnWriteTest, MemoryIsThatOfOneInstant) {
  Python(std::string(kGenerations) +
         "i=0\nwhile True:\n i+=1\n open('/dev/shm/n','w').write(str(i))\n round()\n");
  STOP_IF_SKIPPED_OR_FAILED();
  for (const char* name : {"cp1", "cp2", "cp3"}) CheckpointAndRestore(name);
}

// A process, its child and its threads, in step with each other.
constexpr char kProcesses[] = R"(
import mmap,threading
shared=mmap.mmap(-1,4096*4)
here,there=os.pipe(); back,forth=os.pipe()
child=os.fork()
if child==0:
 while True:
  at=os.read(here,8); round(); os.write(forth,at)
for _ in range(8): threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(int,1)],daemon=True).start()
i=0
while True:
 i+=1; os.write(there,b'%08d'%i); round()
 if os.read(back,8)!=b'%08d'%i: wrong('out of step')
 if int.from_bytes(shared[:8],'little')!=i-1: wrong('shared memory')
 shared[:8]=i.to_bytes(8,'little')
 open('/dev/shm/n','w').write(str(i))
)";

TEST_F(CopyOnWriteTest, AllProcessesAndThreadsAreOfThatInstant) {
  Python(std::string(kGenerations) + kProcesses);
  STOP_IF_SKIPPED_OR_FAILED();
  for (const char* name : {"cp1", "cp2"}) CheckpointAndRestore(name);
}

TEST_F(CopyOnWriteTest, WithExitTheyAreToo) {
  Python(std::string(kGenerations) + kProcesses);
  STOP_IF_SKIPPED_OR_FAILED();
  for (const char* name : {"cp1", "cp2"}) ExitAndRestore(name);
  CheckpointAndRestore("cp3");
}

TEST_F(CopyOnWriteTest, NoTwinIsLeftAndNobodyNotices) {
  Python(R"(
import signal
def wrong(text): open('/tmp/wrong','a').write(text+'\n')
signal.signal(signal.SIGCHLD,lambda *_: wrong('SIGCHLD'))
before=sorted(os.listdir('/proc/self/fd')); i=0
while True:
 i+=1
 try: os.waitpid(-1,os.WNOHANG); wrong('a child')
 except ChildProcessError: pass
 now=sorted(os.listdir('/proc/self/fd'))
 if now!=before: wrong('descriptors %s'%now)
 open('/dev/shm/n','w').write(str(i)); time.sleep(0.005)
)");
  STOP_IF_SKIPPED_OR_FAILED();
  for (int i = 0; i < 5; ++i) {
    auto result = Checkpoint(Plan("cp" + std::to_string(i)));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(ReadBack("cp" + std::to_string(i)).freeze, "cow");
    EXPECT_EQ(Tree().size(), 1u) << "no twin, no zombie";
  }
  EXPECT_TRUE(CountsOn());
  ExpectNothingWrong();
}

// Memory that a fork leaves out or clears, that is locked, that nobody may read between two rounds, and of
// huge pages where the host has any.
constexpr char kUnusualMappings[] = R"(
import ctypes,mmap
def wrong(text): open('/tmp/wrong','a').write(text+'\n')
libc=ctypes.CDLL(None,use_errno=True)
def address(area): return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(area)))
def private(more=0): return mmap.mmap(-1,8<<20,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS|more)
left_out=private(); left_out.madvise(mmap.MADV_DONTFORK)
wiped=private(); wiped.madvise(18)
locked=private(); libc.mlock(address(locked),8<<20)
hidden=private(); place=address(hidden)
areas=[left_out,wiped,locked,hidden]
try: areas.append(private(0x40000))
except OSError: pass
for area in areas: area[:]=b'\0'*len(area)
i=0
while True:
 libc.mprotect(place,8<<20,3)
 for area in areas:
  for page in range(0,len(area),65536):
   if int.from_bytes(area[page:page+8],'little')!=i: wrong('page %d'%page)
   area[page:page+8]=(i+1).to_bytes(8,'little')
 libc.mprotect(place,8<<20,0)
 i+=1; open('/dev/shm/n','w').write(str(i)); time.sleep(0.01)
)";

TEST_F(CopyOnWriteTest, UnusualMappingsAreSavedAllTheSame) {
  Python(kUnusualMappings);
  STOP_IF_SKIPPED_OR_FAILED();
  for (const char* name : {"cp1", "cp2"}) CheckpointAndRestore(name);
}

TEST_F(CopyOnWriteTest, WithExitUnusualMappingsAreSavedToo) {
  Python(kUnusualMappings);
  STOP_IF_SKIPPED_OR_FAILED();
  for (const char* name : {"cp1", "cp2"}) ExitAndRestore(name);
}

TEST_F(CopyOnWriteTest, APausedOneIsReadAsItStands) {
  Python(std::string(kGenerations) + kProcesses);
  STOP_IF_SKIPPED_OR_FAILED();
  for (const bool exit : {false, true}) {
    const std::string name = exit ? "cp2" : "cp1";
    ASSERT_EQ(Runc({"pause", id_}), 0);
    protocol::CheckpointPlan plan = Plan(name, exit);
    plan.paused = true;
    auto result = Checkpoint(plan);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(ReadBack(name).freeze, "direct") << ReadBack(name).freeze_reason;
    EXPECT_EQ(State(), exit ? "stopped" : "paused");
    if (!exit) {
      ASSERT_EQ(Runc({"resume", id_}), 0);
      EXPECT_TRUE(CountsOn());
    }
    ASSERT_EQ(Restore(name), 0);
    EXPECT_TRUE(CountsOn());
    ExpectNothingWrong();
  }
}

// Its processes cannot reap their dead copies then: the next checkpoint that finds them running has them do
// so.
TEST_F(CopyOnWriteTest, APauseWhileCopiesAreReadHarmsNoCheckpoint) {
  Python(std::string(kGenerations) + kProcesses);
  STOP_IF_SKIPPED_OR_FAILED();
  const size_t before = Tree().size();
  EXPECT_TRUE(Disturbed(/*exit=*/false, [&] { EXPECT_EQ(Runc({"pause", id_}), 0); }).ok());
  EXPECT_EQ(State(), "paused");
  protocol::CheckpointPlan plan = Plan("cp2");
  plan.paused = true;
  EXPECT_TRUE(Checkpoint(plan).ok());
  ASSERT_EQ(Runc({"resume", id_}), 0);
  EXPECT_TRUE(CountsOn());
  EXPECT_TRUE(Checkpoint(Plan("cp3")).ok());
  EXPECT_EQ(Tree().size(), before) << "no zombie";
  EXPECT_TRUE(CountsOn());
  ExpectNothingWrong();
}

// The memory is read while all stand still: whatever ends that, they run on.
TEST_F(CopyOnWriteTest, WithExitAKilledCriuLeavesTheContainerAsItWas) {
  Python(std::string(kGenerations) + kProcesses);
  STOP_IF_SKIPPED_OR_FAILED();
  for (int round = 0; round < 3; ++round) {
    const Status status = DisturbedExit([&] { EXPECT_EQ(::kill(CriuPid(), SIGKILL), 0); });
    EXPECT_THAT(Message(status), testing::HasSubstr("criu died after the dump"));
    EXPECT_EQ(status.code(), StatusCode::kInternal) << "it is not made again, plain";
    ExpectAsBefore();
    ExpectNothingWrong();
  }
  ExitAndRestore("cp2");
}

TEST_F(CopyOnWriteTest, WithExitAShimThatHangsUpLeavesTheContainerAsItWas) {
  Python(std::string(kGenerations) + kProcesses);
  STOP_IF_SKIPPED_OR_FAILED();
  EXPECT_FALSE(DisturbedExit([&] { stop_.request_stop(); }).ok());
  HangUp();
  ExpectAsBefore();
  ExpectNothingWrong();
  Serve();
  ExitAndRestore("cp2");
}

TEST_F(CopyOnWriteTest, WithExitAProcessThatDiesMeanwhileIsNotSavedAsEmpty) {
  Python(std::string(kGenerations) + kProcesses);
  STOP_IF_SKIPPED_OR_FAILED();
  const Status status = DisturbedExit([&] { EXPECT_EQ(::kill(Tree().back().pid, SIGKILL), 0); });
  EXPECT_EQ(status.code(), StatusCode::kAborted) << status;
  EXPECT_TRUE(ListDirectory(checkpoints_)->empty());
  EXPECT_FALSE(Exists(shim_ + "/" + protocol::kJournalFile));
}

TEST_F(CopyOnWriteTest, WithExitAFullDiskIsTheReasonAndTheContainerRunsOn) {
  Python(
      "import os\nmemory=os.urandom(32<<20); i=0\n"
      "while True: i+=1; open('/dev/shm/n','w').write(str(i)); time.sleep(0.005)\n");
  STOP_IF_SKIPPED_OR_FAILED();
  const std::string store = base_ + "/store";
  ASSERT_TRUE(MakeDirectories(store).ok());
  ASSERT_TRUE(Mount("tmpfs", store, "tmpfs", 0, "size=16m").ok());
  bool reached = false;
  EXPECT_EQ(DisturbedExit([&] { reached = true; }).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(reached);
  ExpectAsBefore();
  EXPECT_TRUE(ListDirectory(store)->empty());
  EXPECT_TRUE(Unmount(store, /*detach=*/true).ok());
}

TEST_F(CopyOnWriteTest, AContainerNearItsLimitsIsNotKilledByItsCheckpoint) {
  limits_ = {{"memory", {{"limit", 160 << 20}}}, {"pids", {{"limit", 12}}}};
  Python(R"(
import threading
def wrong(text): open('/tmp/wrong','a').write(text+'\n')
memory=bytearray(142<<20); i=0
for _ in range(10): threading.Thread(target=time.sleep,args=(1000,),daemon=True).start()
while True:
 i=i%250+1
 for page in range(0,len(memory),4096): memory[page]=i
 open('/dev/shm/n','w').write(str(i+int(time.time()*1000)%1000000*1000))
)");
  STOP_IF_SKIPPED_OR_FAILED();
  auto cgroup = Cgroup::Open("/stasis/" + id_);
  ASSERT_TRUE(cgroup.ok());
  const auto before = cgroup->Limits();
  ASSERT_GE(before.size(), 2u);
  for (const char* name : {"cp1", "cp2", "cp3"}) {
    auto result = Checkpoint(Plan(name));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(ReadBack(name).freeze, "cow") << ReadBack(name).freeze_reason;
    EXPECT_EQ(cgroup->OomKills(), 0u);
    const auto after = cgroup->Limits();
    ASSERT_EQ(after.size(), before.size());
    for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(after[i].value, before[i].value) << after[i].file;
  }
  EXPECT_EQ(State(), "running");
}

TEST_F(CopyOnWriteTest, PlainWhereItIsAskedFor) {
  Counter();
  STOP_IF_SKIPPED_OR_FAILED();
  protocol::CheckpointPlan plan = Plan("cp1");
  plan.request.freeze = protocol::kFreezePlain;
  auto result = Checkpoint(plan);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ReadBack("cp1").freeze, "plain");
  EXPECT_EQ(ReadBack("cp1").freeze_reason, "asked for");
  plan.request.name = "cp2";
  plan.request.exit = true;
  result = Checkpoint(plan);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ReadBack("cp2").freeze, "plain");
}

}  // namespace
}  // namespace stasis::checkpoint
