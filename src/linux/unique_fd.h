// A file descriptor with one owner from birth.
#pragma once

#include <unistd.h>

#include <utility>

namespace stasis {

// Owns one descriptor; -1 is empty. Move-only.
class [[nodiscard]] UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));  // never retried: close(2), EINTR
  }

 private:
  int fd_;
};

}  // namespace stasis
