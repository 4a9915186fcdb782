// Copy-on-write checkpoints of real containers, restored by runc.
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/real_container_test.h"
#include "criu/processes.h"

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
  void ExpectNothingWrong() {
    auto wrong = ReadFile(bundle_ + "/rootfs/tmp/wrong");
    EXPECT_TRUE(absl::IsNotFound(wrong.status())) << (wrong.ok() ? *wrong : wrong.status().ToString());
  }
  std::vector<criu::Process> Tree() {
    auto tree = criu::ReadProcessTree(InitPid());
    return tree.ok() ? *tree : std::vector<criu::Process>{};
  }
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

TEST_F(CopyOnWriteTest, AllProcessesAndThreadsAreOfThatInstant) {
  Python(std::string(kGenerations) + R"(
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
)");
  STOP_IF_SKIPPED_OR_FAILED();
  for (const char* name : {"cp1", "cp2"}) CheckpointAndRestore(name);
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

TEST_F(CopyOnWriteTest, WhatAForkLeavesOutIsSavedAllTheSame) {
  Python(R"(
import mmap
def wrong(text): open('/tmp/wrong','a').write(text+'\n')
out=mmap.mmap(-1,8<<20,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS); out.madvise(mmap.MADV_DONTFORK)
wiped=mmap.mmap(-1,8<<20,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS); wiped.madvise(18)
fds=[out,wiped]; i=0
for area in fds: area[:]=b'\0'*len(area)
while True:
 for area in fds:
  for page in range(0,len(area),65536):
   if int.from_bytes(area[page:page+8],'little')!=i: wrong('page %d'%page)
   area[page:page+8]=(i+1).to_bytes(8,'little')
 i+=1; open('/dev/shm/n','w').write(str(i))
)");
  STOP_IF_SKIPPED_OR_FAILED();
  for (const char* name : {"cp1", "cp2"}) CheckpointAndRestore(name);
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
  result = Checkpoint(Plan("cp2", /*exit=*/true));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ReadBack("cp2").freeze, "plain");
}

}  // namespace
}  // namespace stasis::checkpoint
