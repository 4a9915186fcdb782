// The process that `stasis doctor` checkpoints: it holds a TCP connection to itself and, at each SIGUSR1,
// sends a number through it and tells on a FIFO what came out at the other end.
#pragma once

#include <string>

namespace stasis::cli {

inline constexpr char kVictimCommand[] = "doctor-victim";

// "N\n" goes to the FIFO: "0" at the start, then one more at each signal. Never returns a success: it is
// killed, and kills itself after two minutes should everybody forget it.
int RunDoctorVictim(const std::string& fifo);

}  // namespace stasis::cli
