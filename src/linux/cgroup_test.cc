#include "linux/cgroup.h"

#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "linux/files.h"
#include "linux/proc.h"
#include "linux/random_hex.h"
#include "linux/subprocess.h"

namespace stasis {
namespace {

using std::chrono::milliseconds;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

struct Place {
  const char* name;
  CgroupLayout layout;
  const char* root;
  std::string group_directory;  // where a group's processes are put, without the path
};

Deadline Soon() { return After(milliseconds(10000)); }

// A group of its own, in a hierarchy of v1 and of v2, whichever this machine has.
class RootCgroupTest : public testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    auto group = Cgroup::OpenAt(GetParam().layout, GetParam().root, "/stasis-test-" + RandomHex(4));
    ASSERT_TRUE(group.ok());
    group_.emplace(*std::move(group));
    directory_ = group_->FreezerDirectory();
    bool usable =
        Exists(GetParam().group_directory + "/cgroup.procs") && ::mkdir(directory_.c_str(), 0755) == 0;
    if (!usable) GTEST_SKIP() << "no " << GetParam().name << " hierarchy to make a group in";
  }
  void TearDown() override {
    if (!Exists(directory_)) return;
    EXPECT_TRUE(group_->KillAll(Soon()).ok());
    EXPECT_TRUE(group_->Remove().ok());
    EXPECT_FALSE(Exists(directory_));
  }
  StatusOr<Child> StartIn(const std::string& directory, std::vector<std::string> argv) {
    return Spawn({.argv = std::move(argv),
                  .env = BaseEnvironment(),
                  .cgroup_procs_files = {directory + "/cgroup.procs"}});
  }
  StatusOr<Child> Sleeper(const std::string& directory) { return StartIn(directory, {"/bin/sleep", "1000"}); }

  std::optional<Cgroup> group_;
  std::string directory_;
};

TEST_P(RootCgroupTest, FreezesAndThawsAProcess) {
  auto temporary = *TemporaryDirectory::Create("/tmp", "stasis-cgroup-test-");
  std::string file = temporary.path() + "/grows";
  auto size = [&file] {
    struct stat found;
    return ::stat(file.c_str(), &found) == 0 ? found.st_size : 0;
  };
  auto child = StartIn(directory_, {"/bin/sh", "-c", "while :; do echo; done > " + file});
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_FALSE(*group_->Frozen());
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(group_->Freeze(Soon(), {}).ok());
    EXPECT_TRUE(*group_->Frozen());
    ASSERT_TRUE(group_->Freeze(Soon(), {}).ok()) << "again";
    auto before = size();
    ::usleep(2000);  // not to wait for anything: time in which one not frozen would write
    EXPECT_EQ(size(), before);
    ASSERT_TRUE(group_->Thaw().ok());
    EXPECT_FALSE(*group_->Frozen());
    ASSERT_TRUE(group_->Thaw().ok()) << "again";
    while (size() == before) ::sched_yield();
  }
}

TEST_P(RootCgroupTest, FreezesThreadsThatAreEndingInAnExec) {
  auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "execs";
  auto child = StartIn(directory_, {program.string()});
  ASSERT_TRUE(child.ok()) << child.status();
  uint64_t thaws = 0;
  for (int round = 0; round < 40; ++round) {
    const Status status = group_->Freeze(Soon(), {}, &thaws);
    ASSERT_TRUE(status.ok()) << round << ": " << status;
    EXPECT_TRUE(*group_->Frozen());
    ASSERT_TRUE(group_->Thaw().ok());
    ::usleep(3000);  // not to wait for anything: it is to be met at another point of its way
  }
  EXPECT_FALSE(child->process().Ended());
  if (GetParam().layout == CgroupLayout::kV2) {
    EXPECT_EQ(thaws, 0u);
  }
  RecordProperty("thaws", static_cast<int>(thaws));
}

TEST_P(RootCgroupTest, AFrozenThreadThatWasKilledIsSeenToBe) {
  if (GetParam().layout == CgroupLayout::kV2) GTEST_SKIP() << "there it ends at once";
  auto child = Sleeper(directory_);
  ASSERT_TRUE(child.ok());
  ASSERT_TRUE(*group_->TryFreeze(Soon(), {}));
  EXPECT_FALSE(*IsKilled(child->process().pid()));
  ASSERT_TRUE(child->process().Signal(SIGKILL).ok());
  EXPECT_TRUE(*IsKilled(child->process().pid()));
  EXPECT_FALSE(child->process().Ended());
  ASSERT_TRUE(group_->Thaw().ok());
  EXPECT_EQ(child->Wait(Soon(), {})->signal, SIGKILL);
  EXPECT_EQ(IsKilled(child->process().pid()).status().code(), StatusCode::kNotFound);
}

TEST_P(RootCgroupTest, AnEmptyGroupCanBeFrozen) {
  EXPECT_TRUE(group_->Freeze(Soon(), {}).ok());
  EXPECT_TRUE(group_->Thaw().ok());
}

TEST_P(RootCgroupTest, AFreezeThatIsCancelledIsUndone) {
  auto child = Sleeper(directory_);
  ASSERT_TRUE(child.ok());
  std::stop_source source;
  source.request_stop();
  Status status = group_->Freeze(Soon(), source.get_token());
  // It may have been frozen before anybody looked; then there was nothing to cancel.
  if (status.ok()) {
    EXPECT_TRUE(group_->Thaw().ok());
  } else {
    EXPECT_EQ(status.code(), StatusCode::kCancelled);
  }
  EXPECT_FALSE(*group_->Frozen());
}

TEST_P(RootCgroupTest, ListsProcessesOfGroupsBelow) {
  ASSERT_EQ(::mkdir((directory_ + "/below").c_str(), 0755), 0);
  auto first = Sleeper(directory_);
  auto second = Sleeper(directory_ + "/below");
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_THAT(*group_->Processes(), UnorderedElementsAre(first->process().pid(), second->process().pid()));
  EXPECT_EQ(group_->Remove().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Exists(directory_ + "/below"));
}

TEST_P(RootCgroupTest, KillsAllEvenWhatForksAndWhatIsFrozen) {
  auto forker = StartIn(directory_, {"/bin/sh", "-c", "while :; do /bin/true & done"});
  auto frozen = Sleeper(directory_);
  ASSERT_TRUE(forker.ok() && frozen.ok());
  ASSERT_TRUE(group_->Freeze(Soon(), {}).ok());
  Status status = group_->KillAll(Soon());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(*group_->Processes(), IsEmpty());
  EXPECT_FALSE(*group_->Frozen());
  EXPECT_EQ(frozen->Wait(Soon(), {})->signal, SIGKILL);
  EXPECT_TRUE(group_->Remove().ok());
  EXPECT_FALSE(Exists(directory_));
}

TEST_P(RootCgroupTest, AGroupThatIsGone) {
  ASSERT_TRUE(group_->Remove().ok());
  EXPECT_TRUE(group_->Remove().ok());
  EXPECT_TRUE(group_->KillAll(Soon()).ok());
  EXPECT_THAT(*group_->Processes(), IsEmpty());
  EXPECT_EQ(group_->Freeze(Soon(), {}).code(), StatusCode::kNotFound);
  EXPECT_EQ(group_->Thaw().code(), StatusCode::kNotFound);
  EXPECT_EQ(group_->Frozen().status().code(), StatusCode::kNotFound);
  EXPECT_EQ(group_->Stats().status().code(), StatusCode::kNotFound);
  EXPECT_EQ(group_->OomKills(), 0u);
}

void PrintTo(const Place& place, std::ostream* out) { *out << place.name; }

INSTANTIATE_TEST_SUITE_P(
    Hierarchies, RootCgroupTest,
    testing::Values(Place{"v1", CgroupLayout::kV1, "/sys/fs/cgroup", "/sys/fs/cgroup/freezer"},
                    Place{"unified", CgroupLayout::kV2, "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"},
                    Place{"v2", CgroupLayout::kV2, "/sys/fs/cgroup", "/sys/fs/cgroup"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(RootCgroupV1Test, CountsOomKillsAndMemory) {
  auto group = Cgroup::OpenAt(CgroupLayout::kV1, "/sys/fs/cgroup", "/stasis-test-" + RandomHex(4));
  ASSERT_TRUE(group.ok());
  std::string memory = "/sys/fs/cgroup/memory" + group->path();
  std::string freezer = group->FreezerDirectory();
  if (::mkdir(memory.c_str(), 0755) != 0) GTEST_SKIP() << "no memory hierarchy of v1";
  ASSERT_EQ(::mkdir(freezer.c_str(), 0755), 0);
  EXPECT_TRUE(WriteControlFile(memory + "/memory.limit_in_bytes", "20971520").ok());
  EXPECT_EQ(group->OomKills(), 0u);
  Command eater = {.argv = {"/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"},
                   .env = BaseEnvironment(),
                   .cgroup_procs_files = {memory + "/cgroup.procs", freezer + "/cgroup.procs"}};
  auto result = stasis::Run(eater, {.deadline = Soon()});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit.signal, SIGKILL);
  EXPECT_EQ(group->OomKills(), 1u);
  auto stats = group->Stats();
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->memory_limit, 20971520u);
  EXPECT_GT(stats->memory_max_usage, 10000000u);
  EXPECT_TRUE(group->Remove().ok());
  EXPECT_FALSE(Exists(memory));
  EXPECT_FALSE(Exists(freezer));
}

TEST(CgroupTest, RefusesTheRootAndPathsThatLeaveIt) {
  for (const char* bad : {"", "/", "x", "x/y", "/x/", "//x", "/x//y", "/../x", "/x/..", "/."}) {
    EXPECT_EQ(Cgroup::OpenAt(CgroupLayout::kV2, "/sys/fs/cgroup", bad).status().code(),
              StatusCode::kInvalidArgument)
        << bad;
  }
}

TEST(CgroupTest, DirectoriesFollowTheLayout) {
  EXPECT_EQ(Cgroup::OpenAt(CgroupLayout::kV1, "/sys/fs/cgroup", "/stasis/x")->FreezerDirectory(),
            "/sys/fs/cgroup/freezer/stasis/x");
  EXPECT_EQ(Cgroup::OpenAt(CgroupLayout::kV2, "/sys/fs/cgroup", "/stasis/x")->FreezerDirectory(),
            "/sys/fs/cgroup/stasis/x");
}

}  // namespace
}  // namespace stasis
