#include "criu/restored_timers.h"

#include <gtest/gtest.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "criu/core_image.h"
#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"

namespace stasis::criu {
namespace {

constexpr pid_t kProcess = 7;
constexpr uint32_t kTable = 3;
constexpr uint32_t kProcessClock = CLOCK_PROCESS_CPUTIME_ID;

class RestoredTimersTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_.emplace(*TemporaryDirectory::Create("/tmp", "stasis-restored-timers-"));
    images_ = *OpenDirectory(directory_->path());
    process_.mutable_tc()->set_task_state(1);
    process_.mutable_tc()->set_comm("program");
    images::TaskTimersEntry* timers = process_.mutable_tc()->mutable_timers();
    for (images::ItimerEntry* timer :
         {timers->mutable_real(), timers->mutable_virt(), timers->mutable_prof()}) {
      timer->set_isec(0), timer->set_iusec(0), timer->set_vsec(0), timer->set_vusec(0);
    }
    clock_.mutable_monotonic()->set_tv_sec(1000);
    clock_.mutable_monotonic()->set_tv_nsec(5);
  }

  void AddTimer(uint32_t id, uint32_t clock, uint64_t seconds) {
    images::PosixTimerEntry* timer = process_.mutable_tc()->mutable_timers()->add_posix();
    timer->set_it_id(id);
    timer->set_clock_id(clock);
    timer->set_isec(0), timer->set_insec(9), timer->set_vsec(seconds), timer->set_vnsec(0);
  }
  void AddTimerFile(uint32_t id, uint32_t fd, uint32_t flags, uint64_t left) {
    images::FileEntry file;
    file.set_type(15);
    file.set_id(id);
    images::TimerfdEntry* timer = file.mutable_tfd();
    timer->set_ticks(0), timer->set_settime_flags(flags);
    timer->set_isec(0), timer->set_insec(0), timer->set_vsec(0), timer->set_vnsec(left);
    files_.Add(file);
    images::FdinfoEntry descriptor;
    descriptor.set_id(id), descriptor.set_flags(0), descriptor.set_type(15), descriptor.set_fd(fd);
    descriptors_.Add(descriptor);
  }

  void Write(const std::string& name, const ImageWriter& image) {
    ASSERT_TRUE(WriteFileAtomically(Path(name), image.bytes()).ok());
  }
  void WriteOne(const std::string& name, uint32_t magic, const google::protobuf::MessageLite& message) {
    ImageWriter image(kCommonMagic, magic);
    image.Add(message);
    Write(name, image);
  }
  // What is listed; nothing: there is no list.
  std::optional<std::string> List() {
    images::TaskKobjIdsEntry ids;
    ids.set_files_id(kTable);
    WriteOne(ImageName("core", kProcess), kCoreMagic, process_);
    WriteOne(ImageName("ids", kProcess), 0x54432030, ids);
    if (has_clock_) WriteOne("timens-0.img", 0x43114433, clock_);
    Write(ImageName("fdinfo", kTable), descriptors_);
    Write(kFilesImage, files_);
    EXPECT_TRUE(WriteFileAtomically(Path(ImageName("mm", kProcess)), "").ok());
    const Status listed = ListTimers(images_.get());
    EXPECT_TRUE(listed.ok()) << listed;
    const auto text = ReadFile(Path(kRestoredTimersFile));
    return text.ok() ? std::optional(*text) : std::nullopt;
  }
  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }

  std::optional<TemporaryDirectory> directory_;
  UniqueFd images_;
  images::CoreEntry process_;
  images::TimensEntry clock_;
  bool has_clock_ = true;
  ImageWriter files_{kCommonMagic, kFilesMagic};
  ImageWriter descriptors_{kCommonMagic, 0x56213732};
};

TEST_F(RestoredTimersTest, WhatIsArmedAndCountsTimeIsListed) {
  images::ItimerEntry* real = process_.mutable_tc()->mutable_timers()->mutable_real();
  real->set_vsec(2), real->set_vusec(3), real->set_isec(1);
  AddTimer(4, CLOCK_MONOTONIC, 6);
  AddTimer(5, kProcessClock, 6);
  AddTimer(6, CLOCK_REALTIME, 0);
  AddTimerFile(21, 11, 0, 70);
  AddTimerFile(22, 12, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, 70);
  AddTimerFile(23, 13, 0, 0);
  EXPECT_EQ(List(),
            "clock 1000000000005\n"
            "real 7 0 2000003000 1000000000\n"
            "posix 7 4 6000000000 9\n"
            "file 7 11 70 0\n");
}

TEST_F(RestoredTimersTest, WhereNothingIsArmedThereIsNoList) {
  ASSERT_TRUE(WriteFileAtomically(Path(kRestoredTimersFile), "clock 0\nreal 1 0 1 1\n").ok());
  EXPECT_EQ(List(), std::nullopt);
}

TEST_F(RestoredTimersTest, ADumpWithoutAClockHasNoList) {
  has_clock_ = false;
  AddTimer(4, CLOCK_MONOTONIC, 6);
  EXPECT_EQ(List(), std::nullopt);
}

TEST_F(RestoredTimersTest, WhatCannotBeATimeIsNotListed) {
  AddTimer(4, CLOCK_MONOTONIC, UINT64_MAX);
  EXPECT_EQ(List(), std::nullopt);
}

}  // namespace
}  // namespace stasis::criu
