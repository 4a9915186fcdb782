#include "criu/timer_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/timerfd.h>

#include <cstring>
#include <optional>

#include "base/hex.h"
#include "criu/core_image.h"
#include "linux/files.h"

namespace stasis::criu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr pid_t kProcess = 7, kThread = 8;

// A process with a second thread.
class TimerImagesTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_.emplace(*TemporaryDirectory::Create("/tmp", "stasis-timer-images-"));
    images_ = *OpenDirectory(directory_->path());
    process_.mutable_tc()->set_task_state(1);
    process_.mutable_tc()->set_comm("program");
    images::TaskTimersEntry* timers = process_.mutable_tc()->mutable_timers();
    for (images::ItimerEntry* timer :
         {timers->mutable_real(), timers->mutable_virt(), timers->mutable_prof()}) {
      timer->set_isec(0), timer->set_iusec(0), timer->set_vsec(0), timer->set_vusec(0);
    }
  }

  void AddTimer(uint32_t id, uint64_t left, uint64_t period) {
    images::PosixTimerEntry* timer = process_.mutable_tc()->mutable_timers()->add_posix();
    timer->set_it_id(id);
    timer->set_isec(0), timer->set_insec(period), timer->set_vsec(0), timer->set_vnsec(left);
  }
  void AddTimerFile(uint64_t ticks, uint32_t flags, uint64_t left, uint64_t period) {
    images::FileEntry& file = files_.emplace_back();
    file.set_type(15);
    file.set_id(static_cast<uint32_t>(files_.size()));
    images::TimerfdEntry* timer = file.mutable_tfd();
    timer->set_ticks(ticks);
    timer->set_settime_flags(flags);
    timer->set_isec(0), timer->set_insec(period), timer->set_vsec(0), timer->set_vnsec(left);
  }
  // Of a signal that is told by `value`.
  void Come(pid_t thread, bool shared, int number, int code, int timer, uint32_t value) {
    siginfo_t info = {};
    info.si_signo = number;
    info.si_code = code;
    info.si_timerid = timer;
    info.si_value.sival_int = static_cast<int>(value);
    late_ += std::to_string(kProcess) + " " + std::to_string(thread) + (shared ? " 1 " : " 0 ") +
             ToHex(std::string(reinterpret_cast<const char*>(&info), sizeof info)) + "\n";
  }

  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }
  void Write(const std::string& name, uint32_t magic,
             const std::vector<const google::protobuf::MessageLite*>& messages) {
    ImageWriter image(kCommonMagic, magic);
    for (const auto* message : messages) image.Add(*message);
    ASSERT_TRUE(WriteFileAtomically(Path(name), image.bytes()).ok());
  }
  Status Mend() {
    Write(ImageName("core", kProcess), kCoreMagic, {&process_});
    Write(ImageName("core", kThread), kCoreMagic, {&thread_});
    std::vector<const google::protobuf::MessageLite*> files;
    for (const images::FileEntry& file : files_) files.push_back(&file);
    Write("files.img", kFilesMagic, files);
    if (!late_.empty()) {
      EXPECT_TRUE(WriteFileAtomically(Path("late"), late_).ok());
    }
    return MendTimers(images_.get(), Path("late"));
  }

  static std::vector<uint32_t> Values(const images::SignalQueueEntry& queue) {
    std::vector<uint32_t> values;
    for (const images::SiginfoEntry& entry : queue.signals()) {
      siginfo_t info;
      std::memcpy(&info, entry.siginfo().data(), sizeof info);
      values.push_back(static_cast<uint32_t>(info.si_value.sival_int));
    }
    return values;
  }
  std::vector<uint32_t> Shared() {
    return Values(ReadCore(images_.get(), ImageName("core", kProcess))->tc().signals_s());
  }
  std::vector<uint32_t> Private(pid_t thread) {
    return Values(ReadCore(images_.get(), ImageName("core", thread))->thread_core().signals_p());
  }
  images::TimerfdEntry TimerFile(size_t index) {
    auto reader = ImageReader::Open(images_.get(), "files.img", kCommonMagic, kFilesMagic);
    images::FileEntry file;
    for (size_t at = 0; at <= index; ++at) EXPECT_TRUE(reader->Next(&file).ok());
    return file.tfd();
  }

  std::optional<TemporaryDirectory> directory_;
  UniqueFd images_;
  images::CoreEntry process_;
  images::CoreEntry thread_;
  std::vector<images::FileEntry> files_;
  std::string late_;
};

TEST_F(TimerImagesTest, ALateSignalIsAddedWhereItsTimerHasRunOutForGood) {
  AddTimer(1, 0, 0);    // it has
  AddTimer(2, 500, 0);  // CRIU saw it armed still
  AddTimer(3, 0, 500);  // goes on
  for (const int timer : {1, 2, 3, 4})
    Come(kProcess, true, SIGRTMIN, SI_TIMER, timer, static_cast<uint32_t>(timer));
  Come(kThread, false, SIGRTMIN, SI_TIMER, 1, 11);
  ASSERT_TRUE(Mend().ok());
  EXPECT_THAT(Shared(), ElementsAre(1));
  EXPECT_THAT(Private(kThread), ElementsAre(11));
  EXPECT_THAT(Private(kProcess), IsEmpty());
}

TEST_F(TimerImagesTest, OfSetitimerToo) {
  process_.mutable_tc()->mutable_timers()->mutable_prof()->set_iusec(1);
  for (const int number : {SIGALRM, SIGVTALRM, SIGPROF, SIGSEGV})
    Come(kProcess, true, number, SI_KERNEL, 0, static_cast<uint32_t>(number));
  ASSERT_TRUE(Mend().ok());
  EXPECT_THAT(Shared(), ElementsAre(SIGALRM, SIGVTALRM));
}

TEST_F(TimerImagesTest, WhatOthersHaveSentComesBehindWhatWasThere) {
  siginfo_t first = {};
  first.si_value.sival_int = 1;
  process_.mutable_tc()->mutable_signals_s()->add_signals()->set_siginfo(&first, sizeof first);
  Come(kProcess, true, SIGTERM, SI_USER, 0, 2);
  Come(kProcess, true, SIGCHLD, CLD_STOPPED, 0, 3);
  ASSERT_TRUE(Mend().ok());
  EXPECT_THAT(Shared(), ElementsAre(1, 2));
}

TEST_F(TimerImagesTest, AListThatIsNoneIsRefused) {
  late_ = "7 8 1 abc\n";
  EXPECT_TRUE(absl::IsDataLoss(Mend()));
  late_ = "7 x";
  EXPECT_TRUE(absl::IsDataLoss(Mend()));
}

TEST_F(TimerImagesTest, ATimerfdWithAPeriodRunsOutAtOnce) {
  AddTimerFile(2, 0, 0, 500);   // it has, unread
  AddTimerFile(0, 0, 0, 500);   // not armed
  AddTimerFile(2, 0, 0, 0);     // one shot
  AddTimerFile(2, 0, 70, 500);  // armed
  ASSERT_TRUE(Mend().ok());
  EXPECT_EQ(TimerFile(0).vnsec(), 1);
  EXPECT_EQ(TimerFile(0).ticks(), 2);
  EXPECT_EQ(TimerFile(0).insec(), 500);
  EXPECT_EQ(TimerFile(1).vnsec(), 0);
  EXPECT_EQ(TimerFile(2).vnsec(), 0);
  EXPECT_EQ(TimerFile(3).vnsec(), 70);
}

TEST_F(TimerImagesTest, TheTimeLeftIsRestoredAsTimeLeft) {
  AddTimerFile(0, TFD_TIMER_ABSTIME, 70, 0);
  AddTimerFile(0, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, 70, 0);
  AddTimerFile(0, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, 0, 0);
  ASSERT_TRUE(Mend().ok());
  EXPECT_EQ(TimerFile(0).settime_flags(), 0);
  EXPECT_EQ(TimerFile(1).settime_flags(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);
  EXPECT_EQ(TimerFile(2).settime_flags(), 0);
}

}  // namespace
}  // namespace stasis::criu
