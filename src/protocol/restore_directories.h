// Where a restore works: beside the container's log, where it has one. The log of a restore that failed, and
// that of a checkpoint, outlive the shim there, and the images may be too large for /run.
#pragma once

#include <string>

#include "protocol/shim.h"

namespace stasis::protocol {

struct RestoreDirectories {
  std::string work;        // CRIU's, with its log
  std::string images;      // unpacked ones; not there but while a restore is under way
  std::string failed_log;  // of the last checkpoint that failed in CRIU

  // `shim_directory`: of the shim that has the config.
  static RestoreDirectories Of(const ShimConfig& config, const std::string& shim_directory) {
    const std::string& log = config.log_path;
    const std::string beside = log.empty() ? shim_directory : log.substr(0, log.rfind('/'));
    return {.work = beside + "/restore",
            .images = beside + "/restore-images",
            .failed_log = beside + "/failed-checkpoint.log"};
  }
};

}  // namespace stasis::protocol
