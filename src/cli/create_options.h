// What `stasis run` was asked for, and the request of the API that says the same.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace stasis::cli {

// As the user wrote it; docker's flags of the same names.
struct CreateOptions {
  std::string image;
  std::vector<std::string> command;
  std::string name;
  bool detach = false;
  bool interactive = false;
  bool tty = false;
  bool remove = false;
  bool read_only = false;
  bool privileged = false;
  bool init = false;
  std::vector<std::string> env;
  std::vector<std::string> env_files;
  std::vector<std::string> volumes;
  std::vector<std::string> publish;
  std::vector<std::string> mounts;
  std::vector<std::string> tmpfs;
  std::vector<std::string> cap_add;
  std::vector<std::string> cap_drop;
  std::vector<std::string> security_opts;
  std::vector<std::string> labels;
  std::vector<std::string> log_opts;
  std::vector<std::string> ulimits;
  std::string work_dir;
  std::string user;
  std::string hostname;
  std::string memory;
  std::string cpus;
  std::optional<int64_t> cpu_shares;
  std::optional<int64_t> pids_limit;
  std::string network;
  std::string restart;
  std::optional<std::string> entrypoint;
  std::string stop_signal;
  std::optional<int> stop_timeout;
};

// The body of POST /containers/create. Reads the size of the terminal, the environment for `-e NAME`, the
// working directory for relative paths of `-v`, and the file that `--security-opt seccomp=FILE` names.
// kInvalidArgument: an option is malformed.
StatusOr<Json> CreateBody(const CreateOptions& options);

// `--env-file` and `-e` values as the API wants them, the files' first: NAME=VALUE; a NAME alone takes our
// own value, and is left out where we have none. In a file each line is one, but for empty ones and those
// that begin with '#'. kInvalidArgument: a file cannot be read, or a name in it is empty or holds a blank.
StatusOr<std::vector<std::string>> Environment(const std::vector<std::string>& files,
                                               const std::vector<std::string>& values);

// "type=bind,source=/a,target=/b,readonly" as definition Mount of the API.
StatusOr<Json> ParseMount(std::string_view text);

// "on-failure:3" as definition RestartPolicy.
StatusOr<Json> ParseRestartPolicy(std::string_view text);

// Filters of `--filter NAME=VALUE`, as the query parameter wants them; empty where there are none.
StatusOr<std::string> FiltersParameter(const std::vector<std::string>& filters);

}  // namespace stasis::cli
