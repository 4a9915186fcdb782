#include "criu/timer_images.h"

#include <signal.h>
#include <sys/timerfd.h>

#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "base/hex.h"
#include "criu/core_image.h"
#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"

namespace stasis::criu {
namespace {

constexpr size_t kMaxLateSignals = 64 << 20;

// ---- late signals

struct LateSignal {
  pid_t process = 0;
  pid_t thread = 0;
  bool shared = false;
  std::string bytes;
  siginfo_t info = {};
};

StatusOr<std::vector<LateSignal>> ReadLateSignals(const std::string& path) {
  const auto text = ReadFile(path, kMaxLateSignals);
  std::vector<LateSignal> signals;
  if (absl::IsNotFound(text.status())) return signals;
  if (!text.ok()) return text.status();
  std::istringstream lines(*text);
  std::string hex;
  for (LateSignal signal; lines >> signal.process >> signal.thread >> signal.shared >> hex;) {
    auto bytes = FromHex(hex);
    if (!bytes || bytes->size() != sizeof signal.info) return DataLoss(path + " is not a list of signals");
    signal.bytes = *std::move(bytes);
    std::memcpy(&signal.info, signal.bytes.data(), sizeof signal.info);
    signals.push_back(signal);
  }
  if (!lines.eof()) return DataLoss(path + " is not a list of signals");
  return signals;
}

// Neither now nor again.
bool HasRunOut(const images::ItimerEntry& timer) {
  return (timer.vsec() | timer.vusec() | timer.isec() | timer.iusec()) == 0;
}
bool HasRunOut(const images::PosixTimerEntry& timer) {
  return (timer.vsec() | timer.vnsec() | timer.isec() | timer.insec()) == 0;
}

// Whether it would be lost. One that a timer of the kernel's has sent is not where that runs out (again)
// after a restore, either as it was still armed when CRIU read it, or by its period. Of others those are
// known to be no work of CRIU's own that somebody has sent.
bool IsToBeAdded(const LateSignal& signal, const images::TaskTimersEntry& timers) {
  if (signal.info.si_code == SI_TIMER) {
    for (const images::PosixTimerEntry& timer : timers.posix()) {
      if (timer.it_id() == static_cast<uint32_t>(signal.info.si_timerid)) return HasRunOut(timer);
    }
    return false;
  }
  if (signal.info.si_code == SI_KERNEL) {
    switch (signal.info.si_signo) {
      case SIGALRM:
        return HasRunOut(timers.real());
      case SIGVTALRM:
        return HasRunOut(timers.virt());
      case SIGPROF:
        return HasRunOut(timers.prof());
      default:
        return false;
    }
  }
  return signal.info.si_code <= 0;
}

Status AddSignals(int images, const std::string& late_signals) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<LateSignal> signals, ReadLateSignals(late_signals));
  std::map<pid_t, images::CoreEntry> cores;  // by thread
  for (const LateSignal& signal : signals) {
    for (const pid_t thread : {signal.process, signal.thread}) {
      if (cores.contains(thread)) continue;
      STASIS_ASSIGN_OR_RETURN(cores[thread], ReadCore(images, ImageName("core", thread)));
    }
  }
  std::set<pid_t> changed;
  for (const LateSignal& signal : signals) {
    images::CoreEntry& process = cores.at(signal.process);
    if (!IsToBeAdded(signal, process.tc().timers())) continue;
    const pid_t thread = signal.shared ? signal.process : signal.thread;
    images::CoreEntry& core = cores.at(thread);
    images::SignalQueueEntry* queue = signal.shared ? core.mutable_tc()->mutable_signals_s()
                                                    : core.mutable_thread_core()->mutable_signals_p();
    queue->add_signals()->set_siginfo(signal.bytes);
    changed.insert(thread);
  }
  for (const pid_t thread : changed) {
    ImageWriter image(kCommonMagic, kCoreMagic);
    image.Add(cores.at(thread));
    STASIS_RETURN_IF_ERROR(image.Replace(images, ImageName("core", thread)));
  }
  return absl::OkStatus();
}

// ---- timerfd

// Whether anything of it was wrong.
bool Mend(images::TimerfdEntry* timer) {
  bool mended = false;
  // Runs out at once, and so is read, or counted on, as before.
  if (timer->ticks() != 0 && (timer->vsec() | timer->vnsec()) == 0 && (timer->isec() | timer->insec()) != 0) {
    timer->set_vnsec(1);
    mended = true;
  }
  // One that is to be told of changes of the clock (TFD_TIMER_CANCEL_ON_SET) can only be set to a point in
  // time.
  const bool armed = (timer->vsec() | timer->vnsec()) != 0;
  const bool told = (timer->settime_flags() & TFD_TIMER_CANCEL_ON_SET) != 0 && armed;
  if ((timer->settime_flags() & TFD_TIMER_ABSTIME) != 0 && !told) {
    timer->set_settime_flags(0);
    mended = true;
  }
  return mended;
}

Status MendTimerFiles(int images) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Open(images, kFilesImage, kCommonMagic, kFilesMagic));
  ImageWriter image(kCommonMagic, kFilesMagic);
  bool mended = false;
  while (!reader.AtEnd()) {
    images::FileEntry file;
    STASIS_RETURN_IF_ERROR(reader.Next(&file));
    if (file.has_tfd()) mended |= Mend(file.mutable_tfd());
    image.Add(file);
  }
  return mended ? image.Replace(images, kFilesImage) : absl::OkStatus();
}

}  // namespace

Status MendTimers(int images, const std::string& late_signals) {
  STASIS_RETURN_IF_ERROR(AddSignals(images, late_signals));
  return MendTimerFiles(images);
}

}  // namespace stasis::criu
