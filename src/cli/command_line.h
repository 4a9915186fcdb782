// The command line of `stasis`, from arguments to an exit code.
#pragma once

namespace stasis::cli {

// main's body. The daemon is the one that -H, else STASIS_HOST, else the default names.
int RunCommandLine(int argc, char** argv);

}  // namespace stasis::cli
