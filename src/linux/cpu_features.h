// What programs may use of the processor, beyond what every x86-64 has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace stasis {

// The features of instructions that a program may have found and uses ever after, sorted, by the names that
// /proc/cpuinfo has ("avx2"). From its text; of other architectures none.
std::vector<std::string> ParseCpuFeatures(std::string_view cpuinfo);
// Of this machine.
std::vector<std::string> CpuFeatures();

}  // namespace stasis
