// The trials of the injection: programs that would notice, and tracers that die at any moment.
#include "checkpoint/injection.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <optional>
#include <random>
#include <thread>

#include "linux/files.h"
#include "linux/interrupted_wait.h"
#include "linux/memory_mapping.h"
#include "linux/proc.h"
#include "linux/process_handle.h"
#include "linux/wait_clock.h"

namespace stasis::checkpoint {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr uint64_t kOptions = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACESYSGOOD;
const Deadline kLong = kNoDeadline;

// What a program of a test tells: shared with it.
struct Shared {
  std::atomic<uint64_t> rounds;
  std::atomic<uint64_t> wrong;  // what it saw that must not be
  std::atomic<uint64_t> ended;  // waits
};

// A program in a process of its own, killed at the end.
class Program {
 public:
  explicit Program(const std::function<void(Shared*)>& run) {
    shared_ = static_cast<Shared*>(
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    run(shared_);
    ::_exit(0);
  }
  ~Program() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::munmap(shared_, sizeof(Shared));
  }
  pid_t pid() const { return pid_; }
  Shared* shared() { return shared_; }
  bool Ended() const { return ProcessHandle::Open(pid_)->Ended(); }
  bool GoesOn() { return Reaches(shared_->rounds + 3); }
  bool Reaches(uint64_t rounds) {
    for (const Deadline limit = After(milliseconds(10000)); steady_clock::now() < limit;) {
      if (shared_->rounds >= rounds) return true;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
  }

 private:
  Shared* shared_ = nullptr;
  pid_t pid_ = 0;
};

// Sums in registers, in vector registers and on the stack, with system calls in between.
void Compute(Shared* shared) {
  for (uint64_t round = 1;; ++round) {
    uint64_t sum = 0;
    double real = 0;
    for (uint64_t i = 0; i < 2000; ++i) {
      sum += i * round;
      real += 0.5;
    }
    if (sum != 1999000 * round || real != 1000.0) ++shared->wrong;
    if (::syscall(SYS_getppid) <= 0) ++shared->wrong;
    shared->rounds = round;
  }
}

StatusOr<TracedThread> Seize(pid_t pid) {
  STASIS_ASSIGN_OR_RETURN(TracedThread thread, TracedThread::Seize(pid, kOptions));
  STASIS_RETURN_IF_ERROR(thread.Interrupt());
  STASIS_RETURN_IF_ERROR(thread.AwaitHalt(kLong));
  return thread;
}

// One whose waits go on.
StatusOr<TracedThread> SeizeWaiting(pid_t pid) {
  const std::optional<BegunWait> wait = WaitClock().Look(pid);
  STASIS_ASSIGN_OR_RETURN(TracedThread thread, Seize(pid));
  STASIS_RETURN_IF_ERROR(
      thread.GoOnWaiting(wait && wait->WasStopped() ? std::optional(wait->began) : std::nullopt));
  return thread;
}

// One call in the program, from the seizing to the letting go.
StatusOr<int64_t> CallOnce(pid_t pid, const SystemCall& call) {
  STASIS_ASSIGN_OR_RETURN(TracedThread thread, SeizeWaiting(pid));
  STASIS_ASSIGN_OR_RETURN(Injection injection, Injection::Prepare(pid));
  STASIS_RETURN_IF_ERROR(injection.Settle(thread));
  STASIS_ASSIGN_OR_RETURN(const int64_t result, injection.Call(thread, call, kLong));
  STASIS_RETURN_IF_ERROR(thread.Detach());
  return result;
}

// A twin made and ended, as a checkpoint does.
Status CloneOnce(pid_t pid) {
  STASIS_ASSIGN_OR_RETURN(TracedThread thread, SeizeWaiting(pid));
  STASIS_ASSIGN_OR_RETURN(Injection injection, Injection::Prepare(pid));
  STASIS_RETURN_IF_ERROR(injection.Settle(thread));
  STASIS_ASSIGN_OR_RETURN(Injection::Twin twin, injection.Clone(thread, kLong));
  STASIS_RETURN_IF_ERROR(thread.Detach());
  STASIS_ASSIGN_OR_RETURN(Injection of_twin, Injection::Prepare(twin.thread.id()));
  STASIS_RETURN_IF_ERROR(of_twin.Call(twin.thread, {.number = SYS_setsid}, kLong).status());
  const auto number = static_cast<uint64_t>(twin.inside);
  ::kill(twin.thread.id(), SIGKILL);
  while (twin.thread.AwaitStop(kLong).ok()) twin.thread.Continue().IgnoreError();
  STASIS_ASSIGN_OR_RETURN(
      const int64_t reaped,
      CallOnce(pid,
               {.number = SYS_wait4, .arguments = {number, 0, static_cast<uint64_t>(__WALL) | WNOHANG, 0}}));
  return reaped == static_cast<int64_t>(number) ? absl::OkStatus() : Internal("the twin was not reaped");
}

class InjectionTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(BlockChildSignals().ok()); }
};

TEST_F(InjectionTest, TheCallIsMadeAndTheProgramGoesOn) {
  Program program(Compute);
  for (int i = 0; i < 200; ++i) {
    auto result = CallOnce(program.pid(), {.number = SYS_getpid});
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(*result, program.pid());
  }
  EXPECT_TRUE(program.GoesOn());
  EXPECT_EQ(program.shared()->wrong, 0u);
}

TEST_F(InjectionTest, ATwinIsReapedAndLeavesNoTrace) {
  Program program(Compute);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(CloneOnce(program.pid()).ok());
  EXPECT_TRUE(program.GoesOn());
  EXPECT_EQ(program.shared()->wrong, 0u);
}

// Of all that is free behind its vdso the program keeps the place that was used last.
Status LeaveOnePlace(pid_t pid) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<MemoryMapping> mappings, ReadMemoryMappings(pid));
  STASIS_ASSIGN_OR_RETURN(const UniqueFd memory, OpenFile(ProcPath(pid, "mem"), O_WRONLY));
  for (const MemoryMapping& mapping : mappings) {
    if (mapping.name == "[vdso]")
      return WriteAllAt(memory.get(), "x", mapping.range.end - STASIS_TIMES_LEFT_SIZE - 1);
  }
  return NotFound("a vdso");
}

TEST_F(InjectionTest, ATwinNeedsNoPlaceOfItsOwn) {
  Program program(Compute);
  ASSERT_TRUE(CloneOnce(program.pid()).ok());
  ASSERT_TRUE(LeaveOnePlace(program.pid()).ok());
  const Status again = CloneOnce(program.pid());
  EXPECT_TRUE(again.ok()) << again;
  EXPECT_TRUE(program.GoesOn());
}

// rounds: how often a wait was as long as asked for.
void Wait(Shared* shared, const std::function<int(int)>& wait) {
  for (;;) {
    constexpr int kMs = 300;
    const auto began = steady_clock::now();
    const int result = wait(kMs);
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - began).count();
    if (result != 0 || took < kMs - 1 || took > 2 * kMs) ++shared->wrong;
    ++shared->rounds;
  }
}

TEST_F(InjectionTest, WaitsEndInTime) {
  const std::function<int(int)> waits[] = {
      [](int ms) {
        const timespec time = {0, ms * 1'000'000L};
        return ::nanosleep(&time, nullptr);
      },
      [](int ms) { return ::poll(nullptr, 0, ms); },
      [](int ms) {
        std::atomic<int> never = 0;
        const timespec time = {0, ms * 1'000'000L};
        return ::syscall(SYS_futex, &never, 0 /*FUTEX_WAIT*/, 0, &time, nullptr, 0) == -1 &&
                       errno == ETIMEDOUT
                   ? 0
                   : -1;
      },
      // These the kernel ends with EINTR whenever they are stopped.
      [](int ms) {
        static const int epoll = ::epoll_create1(0);
        epoll_event event;
        return ::epoll_wait(epoll, &event, 1, ms);
      },
      [](int ms) {
        sigset_t set;
        ::sigemptyset(&set);
        ::sigaddset(&set, SIGUSR2);
        ::sigprocmask(SIG_BLOCK, &set, nullptr);
        const timespec time = {0, ms * 1'000'000L};
        return ::sigtimedwait(&set, nullptr, &time) == -1 && errno == EAGAIN ? 0 : -1;
      },
  };
  for (const auto& wait : waits) {
    Program program([&](Shared* shared) { Wait(shared, wait); });
    for (int i = 0; i < 30; ++i) {
      ASSERT_TRUE(CloneOnce(program.pid()).ok());
      std::this_thread::sleep_for(milliseconds(40));
    }
    EXPECT_TRUE(program.GoesOn());
    EXPECT_EQ(program.shared()->wrong, 0u);
  }
}

// Waits without end for signals that are sent to it: each ends the wait.
void AwaitSignals(Shared* shared) {
  static Shared* told;
  told = shared;
  struct sigaction action = {};
  action.sa_handler = [](int) { ++told->rounds; };
  ::sigaction(SIGUSR1, &action, nullptr);
  const int epoll = ::epoll_create1(0);
  for (uint64_t before = 0;; before = shared->rounds) {
    epoll_event event;
    if (::epoll_wait(epoll, &event, 1, -1) != -1 || errno != EINTR || shared->rounds == before)
      ++shared->wrong;
    shared->ended = shared->rounds.load();
  }
}

TEST_F(InjectionTest, AWaitThatASignalEndsInTheMidstOfACallIsEnded) {
  Program program(AwaitSignals);
  std::this_thread::sleep_for(milliseconds(50));
  for (uint64_t i = 1; i <= 50; ++i) {
    {
      auto thread = SeizeWaiting(program.pid());
      ASSERT_TRUE(thread.ok()) << thread.status();
      auto injection = Injection::Prepare(program.pid());
      ASSERT_TRUE(injection.ok()) << injection.status();
      ::kill(program.pid(), SIGUSR1);
      ASSERT_TRUE(injection->Call(*thread, {.number = SYS_getpid}, kLong).ok());
    }
    ASSERT_TRUE(program.Reaches(i));
    for (const Deadline limit = After(milliseconds(5000)); program.shared()->ended < i;) {
      ASSERT_LT(steady_clock::now(), limit) << "the handler has run, and the wait goes on";
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  EXPECT_EQ(program.shared()->wrong, 0u);
}

// Runs in a restartable sequence that only its abort ends.
void Sequences(Shared* shared) {
  auto* area = reinterpret_cast<struct rseq*>(static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
  for (;; ++shared->rounds) {
    asm volatile goto(R"(
      .pushsection __rseq_cs, "aw"
      .balign 32
    3: .long 0, 0
      .quad 1f, 2f - 1f, 4f
      .popsection
      lea 3b(%%rip), %%rax
      mov %%rax, %[sequence]
    1: pause
      jmp 1b
    2:
      .pushsection .text.rseq_abort, "ax"
      .byte 0x0f, 0xb9, 0x3d
      .long 0x53053053
    4: jmp %l[aborted]
      .popsection
    )"
                      :
                      : [sequence] "m"(area->rseq_cs)
                      : "rax", "memory", "cc"
                      : aborted);
  aborted:;
  }
}

TEST_F(InjectionTest, ARestartableSequenceIsAborted) {
  if (__rseq_size == 0) GTEST_SKIP() << "this libc or kernel has no rseq";
  Program program(Sequences);
  ASSERT_TRUE(program.GoesOn());
  for (int i = 0; i < 50; ++i) {
    const uint64_t before = program.shared()->rounds;
    ASSERT_TRUE(CallOnce(program.pid(), {.number = SYS_getpid}).ok());
    ASSERT_TRUE(program.Reaches(before + 1)) << "it was never aborted";
  }
}

// Signals while it computes: none may be lost.
void Signals(Shared* shared) {
  static Shared* told;
  told = shared;
  struct sigaction action = {};
  action.sa_handler = [](int) { ++told->rounds; };
  ::sigaction(SIGUSR1, &action, nullptr);
  for (;;) {
    const pid_t self = ::getpid();
    const uint64_t before = shared->rounds;
    ::kill(self, SIGUSR1);
    if (shared->rounds != before + 1) ++shared->wrong;
  }
}

TEST_F(InjectionTest, SignalsAreDeliveredAsEver) {
  Program program(Signals);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(CloneOnce(program.pid()).ok());
  EXPECT_TRUE(program.GoesOn());
  EXPECT_EQ(program.shared()->wrong, 0u);
}

// A tracer in a process of its own, which makes twins until it is killed after a random time.
void KillTracerOf(Program& program, std::mt19937& random) {
  const pid_t tracer = ::fork();
  if (tracer == 0) {
    for (;;) CloneOnce(program.pid()).IgnoreError();
  }
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
  ::kill(tracer, SIGKILL);
  ::waitpid(tracer, nullptr, 0);
}

// Again and again; a new program each few times, since each death may use up some room in it.
void KillTracersOf(const std::function<void(Shared*)>& run) {
  std::mt19937 random(12345);
  for (int programs = 0; programs < 100; ++programs) {
    Program program(run);
    for (int i = 0; i < 4; ++i) {
      KillTracerOf(program, random);
      ASSERT_FALSE(program.Ended()) << "program " << programs << " after kill " << i;
    }
    ASSERT_TRUE(program.GoesOn());
    ASSERT_EQ(program.shared()->wrong, 0u) << "program " << programs;
  }
}

TEST_F(InjectionTest, TheDeathOfTheTracerHarmsNoComputation) { KillTracersOf(Compute); }

TEST_F(InjectionTest, TheDeathOfTheTracerHarmsNoSignal) { KillTracersOf(Signals); }

TEST_F(InjectionTest, TheDeathOfTheTracerHarmsNoRestartableSequence) {
  if (__rseq_size == 0) GTEST_SKIP() << "this libc or kernel has no rseq";
  KillTracersOf(Sequences);
}

TEST_F(InjectionTest, APlaceThatADeadTracerLeftInUseIsNotUsedAgain) {
  Program program(Signals);
  std::mt19937 random(1);
  Status prepared;
  for (int i = 0; prepared.ok() && i < 3000; ++i) {
    KillTracerOf(program, random);
    prepared = Injection::Prepare(program.pid()).status();
  }
  EXPECT_EQ(prepared.code(), StatusCode::kFailedPrecondition) << prepared;
  EXPECT_TRUE(program.GoesOn());
  EXPECT_EQ(program.shared()->wrong, 0u);
}

}  // namespace
}  // namespace stasis::checkpoint
