#include "checkpoint/progress.h"

#include <sys/stat.h>

#include <utility>

#include "linux/files.h"

namespace stasis::checkpoint {
namespace {

uint64_t FileSize(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

uint64_t BytesBelow(const std::string& directory) {
  uint64_t bytes = 0;
  auto names = ListDirectory(directory);
  if (!names.ok()) return 0;
  for (const std::string& name : *names) bytes += FileSize(directory + "/" + name);
  return bytes;
}

}  // namespace

void ByteNotices::Add(uint64_t bytes) {
  constexpr uint64_t kNoticeBytes = 8 << 20;
  bytes_ += bytes;
  if (bytes_ - told_ < kNoticeBytes) return;
  told_ = bytes_;
  on_progress_(phase_, bytes_);
}

ProgressWatch::ProgressWatch(std::string images, std::string log, OnProgress on_progress)
    : images_(std::move(images)),
      log_(std::move(log)),
      on_progress_(std::move(on_progress)),
      last_growth_(Clock::now()) {}

void ProgressWatch::Look(std::string_view phase, Clock::time_point now) {
  uint64_t images = BytesBelow(images_);
  uint64_t log = FileSize(log_);
  if (images != image_bytes_ || log != log_bytes_ || phase != phase_) {
    image_bytes_ = images;
    log_bytes_ = log;
    phase_ = phase;
    last_growth_ = now;
    untold_ = true;
  }
  if (untold_ && now - last_notice_ >= kNoticeInterval) {
    on_progress_(phase_, image_bytes_);
    last_notice_ = now;
    untold_ = false;
  }
}

std::string ProgressWatch::Describe(Clock::time_point now) const {
  auto idle = std::chrono::duration_cast<std::chrono::seconds>(now - last_growth_).count();
  return "nothing moved for " + std::to_string(idle) + " s, after " + std::to_string(image_bytes_) +
         " bytes of images and " + std::to_string(log_bytes_) + " bytes of CRIU's log";
}

}  // namespace stasis::checkpoint
