// The command `stasis`.
#include "cli/command_line.h"

int main(int argc, char** argv) { return stasis::cli::RunCommandLine(argc, argv); }
