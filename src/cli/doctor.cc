#include "cli/doctor.h"

#include <algorithm>
#include <charconv>

#include "cli/table.h"

namespace stasis::cli {
namespace {

const char* Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kInfo:
      return "info";
    case Verdict::kSkipped:
      return "SKIPPED";
    case Verdict::kWarn:
      return "WARN";
    case Verdict::kFail:
      return "FAIL";
  }
  return "";
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes the first number and what separates it from the next.
int TakeNumber(std::string_view& version) {
  int number = 0;
  const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), number);
  if (error != std::errc()) {
    version = {};
    return 0;
  }
  version.remove_prefix(static_cast<size_t>(end - version.data()));
  if (!version.empty() && version.front() == '.') {
    version.remove_prefix(1);
  } else {
    version = {};
  }
  return number;
}

}  // namespace

bool VersionAtLeast(std::string_view version, std::string_view minimum) {
  while (!minimum.empty()) {
    const int have = TakeNumber(version);
    const int want = TakeNumber(minimum);
    if (have != want) return have > want;
  }
  return true;
}

std::string VersionIn(std::string_view output) {
  for (size_t i = 0; i < output.size(); ++i) {
    if (!IsDigit(output[i]) || (i > 0 && output[i - 1] != ' ')) continue;
    return std::string(output.substr(i, output.find_first_of(" \n\t", i) - i));
  }
  return "";
}

bool AnyFailed(const Checks& checks) {
  return std::any_of(checks.begin(), checks.end(),
                     [](const Check& c) { return c.verdict == Verdict::kFail; });
}

std::string DoctorText(const Checks& checks) {
  std::string text;
  for (const Check& check : checks) {
    std::string line = Name(check.verdict);
    line.resize(9, ' ');
    line += check.name;
    line.resize(std::max<size_t>(line.size() + 1, 30), ' ');
    text += line + Shown(check.detail) + "\n";
    if (!check.remedy.empty()) text += std::string(9, ' ') + "-> " + Shown(check.remedy) + "\n";
  }
  return text;
}

Json DoctorJson(const Checks& checks) {
  Json list = Json::array();
  for (const Check& check : checks) {
    list.push_back({{"Name", check.name},
                    {"Verdict", Name(check.verdict)},
                    {"Detail", check.detail},
                    {"Remedy", check.remedy}});
  }
  return list;
}

}  // namespace stasis::cli
