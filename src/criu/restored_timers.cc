#include "criu/restored_timers.h"

#include <fcntl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "criu/core_image.h"
#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"

namespace stasis::criu {
namespace {

constexpr uint32_t kTimensMagic = 0x43114433;
constexpr uint32_t kIdsMagic = 0x54432030;
constexpr uint32_t kFdinfoMagic = 0x56213732;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMicrosecond = 1'000;
constexpr uint64_t kMostSeconds = INT64_MAX / kSecond - 1;  // what nanoseconds can hold

struct Times {
  uint64_t left = 0;
  uint64_t period = 0;
};

// Of a timer that is armed; LEFT is 0 otherwise, and where it is longer than can be told.
template <typename Timer>
Times TimesOf(const Timer& timer, uint64_t fraction, uint64_t period_fraction) {
  if (timer.vsec() > kMostSeconds || timer.isec() > kMostSeconds) return {};
  if (fraction >= kSecond || period_fraction >= kSecond) return {};
  return {timer.vsec() * kSecond + fraction, timer.isec() * kSecond + period_fraction};
}

bool CountsTime(uint32_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
         clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM || clock == CLOCK_TAI;
}

class List {
 public:
  void Add(std::string_view kind, pid_t process, uint32_t number, const Times& times) {
    if (times.left == 0) return;
    lines_ += std::string(kind) + " " + std::to_string(process) + " " + std::to_string(number) + " " +
              std::to_string(times.left) + " " + std::to_string(times.period) + "\n";
  }
  const std::string& lines() const { return lines_; }

 private:
  std::string lines_;
};

template <typename Message>
StatusOr<Message> ReadOne(int images, const std::string& name, uint32_t magic) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader, ImageReader::Open(images, name, kCommonMagic, magic));
  Message message;
  STASIS_RETURN_IF_ERROR(reader.Next(&message));
  return message;
}

struct Images {
  std::vector<pid_t> processes;
  std::string clock;  // the name of the time namespace's image
};

StatusOr<Images> Look(int images) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(images));
  Images found;
  for (const std::string& name : names) {
    if (name.starts_with("timens-")) found.clock = name;
    constexpr std::string_view kProcess = "mm-";
    pid_t process = 0;
    const char* const end = name.data() + name.size();
    if (!name.starts_with(kProcess)) continue;
    const auto [next, error] = std::from_chars(name.data() + kProcess.size(), end, process);
    if (error == std::errc() && std::string_view(next, end) == ".img") found.processes.push_back(process);
  }
  return found;
}

void AddTimers(pid_t process, const images::TaskTimersEntry& timers, List* list) {
  const images::ItimerEntry& real = timers.real();
  list->Add("real", process, 0, TimesOf(real, real.vusec() * kMicrosecond, real.iusec() * kMicrosecond));
  for (const images::PosixTimerEntry& timer : timers.posix()) {
    if (CountsTime(timer.clock_id()))
      list->Add("posix", process, timer.it_id(), TimesOf(timer, timer.vnsec(), timer.insec()));
  }
}

// By their ids in files.img.
StatusOr<std::map<uint32_t, Times>> ArmedTimerFiles(int images) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Open(images, kFilesImage, kCommonMagic, kFilesMagic));
  std::map<uint32_t, Times> armed;
  while (!reader.AtEnd()) {
    images::FileEntry file;
    STASIS_RETURN_IF_ERROR(reader.Next(&file));
    const images::TimerfdEntry& timer = file.tfd();
    if (!file.has_tfd() || (timer.settime_flags() & TFD_TIMER_CANCEL_ON_SET) != 0) continue;
    const Times times = TimesOf(timer, timer.vnsec(), timer.insec());
    if (times.left != 0) armed.emplace(file.id(), times);
  }
  return armed;
}

// Each once, by any descriptor.
Status AddTimerFiles(int images, const std::vector<pid_t>& processes, List* list) {
  STASIS_ASSIGN_OR_RETURN(auto armed, ArmedTimerFiles(images));
  for (const pid_t process : processes) {
    if (armed.empty()) break;
    STASIS_ASSIGN_OR_RETURN(const auto ids,
                            ReadOne<images::TaskKobjIdsEntry>(images, ImageName("ids", process), kIdsMagic));
    STASIS_ASSIGN_OR_RETURN(ImageReader reader, ImageReader::Open(images, ImageName("fdinfo", ids.files_id()),
                                                                  kCommonMagic, kFdinfoMagic));
    while (!reader.AtEnd()) {
      images::FdinfoEntry descriptor;
      STASIS_RETURN_IF_ERROR(reader.Next(&descriptor));
      const auto timer = armed.find(descriptor.id());
      if (timer == armed.end()) continue;
      list->Add("file", process, descriptor.fd(), timer->second);
      armed.erase(timer);
    }
  }
  return absl::OkStatus();
}

}  // namespace

Status ListTimers(int images) {
  STASIS_ASSIGN_OR_RETURN(const Images found, Look(images));
  // A checkpoint from elsewhere may have one of its own.
  if (::unlinkat(images, kRestoredTimersFile, 0) != 0 && errno != ENOENT)
    return ErrnoError(errno, "unlink " + std::string(kRestoredTimersFile));
  if (found.clock.empty()) return absl::OkStatus();
  List list;
  for (const pid_t process : found.processes) {
    STASIS_ASSIGN_OR_RETURN(const images::CoreEntry core, ReadCore(images, ImageName("core", process)));
    AddTimers(process, core.tc().timers(), &list);
  }
  STASIS_RETURN_IF_ERROR(AddTimerFiles(images, found.processes, &list));
  if (list.lines().empty()) return absl::OkStatus();
  STASIS_ASSIGN_OR_RETURN(const auto clock, ReadOne<images::TimensEntry>(images, found.clock, kTimensMagic));
  const images::Timespec& time = clock.monotonic();
  if (time.tv_sec() > kMostSeconds || time.tv_nsec() >= kSecond)
    return DataLoss(found.clock + " is not an image of CRIU's");
  const std::string text =
      "clock " + std::to_string(time.tv_sec() * kSecond + time.tv_nsec()) + "\n" + list.lines();
  STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFileAt(images, kRestoredTimersFile,
                                                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return WriteAllAt(file.get(), text, 0);
}

}  // namespace stasis::criu
