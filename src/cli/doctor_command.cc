// stasis doctor.
#include <poll.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <stop_token>
#include <thread>
#include <utility>

#include "cli/commands.h"
#include "cli/doctor.h"
#include "cli/doctor_victim.h"
#include "cli/terminal.h"
#include "linux/cancel.h"

namespace stasis::cli {
namespace {

// Ctrl-C and its kin end what is being tried, and not the program in the midst of it: what was made for the
// trial goes with its end.
class InterruptWatch {
 public:
  explicit InterruptWatch(HeldSignals signals)
      : signals_(std::move(signals)), thread_([this](std::stop_token over) { Watch(over); }) {}

  std::stop_token token() const { return interrupted_.get_token(); }
  // Which one came, or 0.
  int signal() const { return signal_; }

 private:
  void Watch(const std::stop_token& over) {
    while (WaitFor(signals_.fd(), POLLIN, kNoDeadline, over).ok()) {
      const int signal = signals_.Take();
      if (signal != SIGINT && signal != SIGTERM && signal != SIGHUP && signal != SIGQUIT) continue;
      signal_ = signal;
      interrupted_.request_stop();
    }
  }

  const HeldSignals signals_;
  std::atomic<int> signal_ = 0;
  std::stop_source interrupted_;
  std::jthread thread_;  // last, so joined before the rest dies
};

int RunDoctor(const DoctorOptions& options, bool json) {
  StatusOr<HeldSignals> signals = HeldSignals::Hold();
  if (!signals.ok()) return Report(signals.status());
  const InterruptWatch interrupt(*std::move(signals));
  Checks all;
  // One group at a time: the text of each is there as soon as it is known.
  auto add = [&](Checks checks) {
    if (interrupt.signal() != 0) return;  // they say nothing of the machine
    if (!json) Print(DoctorText(checks));
    for (Check& check : checks) all.push_back(std::move(check));
  };
  add(CheckKernel());
  add(CheckNamespaces());
  const Checks rights = CheckRights();
  add(rights);
  if (!AnyFailed(rights) &&
      interrupt.signal() == 0) {  // without them what follows fails, and says nothing of the machine
    add(CheckCgroups());
    add(CheckStorage(options.root));
    add(CheckCriu(options.criu, interrupt.token()));
    if (interrupt.signal() == 0) add(CheckRunc(options.runc, options.criu, interrupt.token()));
  }
  if (interrupt.signal() != 0) {
    PrintError("interrupted; what was tried is cleared away");
    return 128 + interrupt.signal();
  }
  if (json) {
    Print(DumpJson(DoctorJson(all)) + "\n");
  } else {
    Print(AnyFailed(all) ? "\nThis machine cannot run or checkpoint containers as it is.\n"
                         : "\nThis machine can run and checkpoint containers.\n");
  }
  return AnyFailed(all) ? kExitFailure : 0;
}

}  // namespace

void AddDoctor(CLI::App& app, Action* action) {
  CLI::App* doctor =
      app.add_subcommand("doctor", "Say whether this machine can run and checkpoint containers");
  auto options = std::make_shared<DoctorOptions>(DoctorOptions{.criu = STASIS_CRIU, .runc = STASIS_RUNC});
  auto format = std::make_shared<std::string>("table");
  doctor->add_option("--root", options->root, "Where the daemon keeps its state");
  doctor->add_option("--criu", options->criu, "This CRIU");
  doctor->add_option("--runc", options->runc, "This runc");
  AddFormat(*doctor, *format);
  doctor->callback(
      [=] { *action = [=](const ApiClient&) { return RunDoctor(*options, *format == "json"); }; });

  CLI::App* victim = app.add_subcommand(kVictimCommand)->group("");  // not shown: doctor runs it
  auto fifo = std::make_shared<std::string>();
  victim->add_option("fifo", *fifo)->required();
  victim->callback([=] { *action = [=](const ApiClient&) { return RunDoctorVictim(*fifo); }; });
}

}  // namespace stasis::cli
