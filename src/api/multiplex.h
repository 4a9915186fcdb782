// The two forms in which a process's output travels: raw for a terminal, else Docker's frames: one byte of
// stream (1 stdout, 2 stderr), three of zero, four of length, big endian, then the bytes (API document,
// ContainerAttach). base/frames.h takes them apart.
#pragma once

#include <string>
#include <string_view>

namespace stasis::api {

// The content type; clients of before 1.42 know only raw-stream.
std::string_view StreamType(bool terminal, int minor_version);

inline constexpr char kStdout = 1;
inline constexpr char kStderr = 2;
std::string MakeFrame(char stream, std::string_view bytes);

// A message for the client, in the stream: on stderr, or as it is for a terminal.
std::string ErrorFrame(bool terminal, std::string_view message);

}  // namespace stasis::api
