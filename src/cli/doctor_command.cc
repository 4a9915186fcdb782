// stasis doctor.
#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/doctor.h"
#include "cli/doctor_victim.h"

namespace stasis::cli {
namespace {

int RunDoctor(const DoctorOptions& options, bool json) {
  Checks all;
  // One group at a time: the text of each is there as soon as it is known.
  auto add = [&](Checks checks) {
    if (!json) Print(DoctorText(checks));
    for (Check& check : checks) all.push_back(std::move(check));
  };
  add(CheckKernel());
  add(CheckNamespaces());
  const Checks rights = CheckRights();
  add(rights);
  if (!AnyFailed(rights)) {  // without them what follows fails, and says nothing of the machine
    add(CheckCgroups());
    add(CheckStorage(options.root));
    add(CheckCriu(options.criu));
    add(CheckRunc(options.runc, options.criu));
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
