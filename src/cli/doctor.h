// `stasis doctor`: is this machine fit to run and checkpoint containers? What can be tried is tried, since
// version numbers and option lists do not tell. Nothing it makes is left behind, nor by a check that is
// cancelled: its verdict then says nothing of the machine.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace stasis::cli {

enum class Verdict { kOk, kInfo, kSkipped, kWarn, kFail };

struct Check {
  std::string name;
  Verdict verdict = Verdict::kOk;
  std::string detail;       // what was seen
  std::string remedy = {};  // what to do about it; empty for kOk and kInfo
};
using Checks = std::vector<Check>;

struct DoctorOptions {
  std::string root = "/var/lib/stasis";  // need not exist
  std::string criu;
  std::string runc;
};

// ---- the checks, each group in a file of its own ----
Checks CheckKernel();
Checks CheckNamespaces();
Checks CheckRights();
Checks CheckCgroups();
// Overlay on the file system of the root directory, and its space.
Checks CheckStorage(const std::string& root);
// Version, `criu check`, our preloaded library, and a dump and restore of a process that holds a TCP
// connection.
Checks CheckCriu(const std::string& criu, const std::stop_token& cancel);
// Version, and a container of busybox checkpointed, restored and entered.
Checks CheckRunc(const std::string& runc, const std::string& criu, const std::stop_token& cancel);

// ---- what they share ----

// Whether a dotted version has at least the numbers of `minimum`: "4.2.1" is at least "4.2". Letters end a
// number, so "1.3.6+ds1" and "6.18.0-cloud" work.
bool VersionAtLeast(std::string_view version, std::string_view minimum);

// The first word with a digit at its begin in a program's --version output: "Version: 4.2.1", "runc
// version 1.3.6".
std::string VersionIn(std::string_view output);

// ---- the report ----

bool AnyFailed(const Checks& checks);
// A line for each check, what to do below it.
std::string DoctorText(const Checks& checks);
// [{"Name", "Verdict", "Detail", "Remedy"}]
Json DoctorJson(const Checks& checks);

}  // namespace stasis::cli
