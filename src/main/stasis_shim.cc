// stasis-shim [--dir] DIRECTORY: owns one container. Descriptor 3, when it is open, is the pipe on which it
// says that it is ready.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "shim/shim.h"

namespace {

constexpr int kReadyDescriptor = 3;

// Descriptor 3 as it was handed to us; closed in what we start.
stasis::UniqueFd TakeReadyDescriptor() {
  if (::fcntl(kReadyDescriptor, F_SETFD, FD_CLOEXEC) != 0) return stasis::UniqueFd();
  return stasis::UniqueFd(kReadyDescriptor);
}

}  // namespace

int main(int argc, char** argv) {
  stasis::UniqueFd ready = TakeReadyDescriptor();
  bool named = argc == 3 && std::string(argv[1]) == "--dir";
  if ((argc != 2 && !named) || argv[argc - 1][0] != '/') {
    std::fprintf(stderr, "usage: stasis-shim [--dir] DIRECTORY\n  DIRECTORY  absolute, holds config.json\n");
    return 2;
  }
  stasis::Status status = stasis::RunShim(argv[argc - 1], std::move(ready));
  if (status.ok()) return 0;
  std::fprintf(stderr, "stasis-shim: %s\n", stasis::Message(status).c_str());
  return 1;
}
