// The keys by which a user leaves a container's terminal without ending it: ctrl-p ctrl-q.
#pragma once

#include <string>
#include <string_view>

namespace stasis::cli {

class DetachKeys {
 public:
  struct Filtered {
    std::string bytes;    // for the container
    bool detach = false;  // the keys came: nothing behind them is sent
  };
  // A ctrl-p is held back until the next key shows what it was.
  Filtered Feed(std::string_view typed);

 private:
  bool held_ = false;
};

}  // namespace stasis::cli
