// Writes a tar archive (pax), compressed by zstd, to a stream. Built on libarchive.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace stasis::transfer {

// For one thread. After an error only the destructor may be called.
class TarWriter {
 public:
  // Takes the archive's bytes, in order; its error ends the archive, and is what the calls below return.
  using Sink = std::function<Status(std::string_view bytes)>;
  static StatusOr<std::unique_ptr<TarWriter>> Open(Sink sink);
  ~TarWriter();

  // Begins a regular file of that size, 0600, of nobody and no time; all of it must be written before the
  // next.
  Status Begin(const std::string& path, uint64_t size);
  Status Write(std::string_view bytes);
  // A whole one.
  Status Add(const std::string& path, std::string_view bytes);
  // The end of the archive. Without it what was written is no archive.
  Status Finish();

 private:
  struct State;
  explicit TarWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace stasis::transfer
