// The texts of `docker ps`: STATUS and COMMAND.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "backend/containers.h"

namespace stasis::engine {

// A duration as people say it: "Less than a second", "3 seconds", "About a minute", "2 weeks".
std::string HumanDuration(absl::Duration duration);

// "Up 3 seconds", "Up 2 hours (Paused)", "Exited (137) 5 minutes ago", "Created", "Restarting (1) 2 seconds
// ago", "Removal In Progress", "Dead".
std::string StatusText(const backend::ContainerState& state, absl::Time now);

// A path and its arguments as one text, arguments with blanks quoted.
std::string CommandText(const std::vector<std::string>& argv);

}  // namespace stasis::engine
