// The daemons' own log, through spdlog's default logger. Only edges log: programs, servers, actors. Library
// code returns errors instead.
//
//   spdlog::info("container {}: started", id);
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "spdlog/spdlog.h"

namespace stasis {

// Sends the log of this process to stderr as "TIME LEVEL PROGRAM: text". `level` is trace, debug, info, warn
// or error; anything else is kInvalidArgument. Call once, first thing in main.
Status InitLog(std::string_view program, std::string_view level);

// A text from outside made fit for one line of a log or of an error: control characters and bytes that are
// not UTF-8 become \xHH. At most `limit` bytes, no character cut in two.
std::string Printable(std::string_view text, size_t limit = 512);

}  // namespace stasis
