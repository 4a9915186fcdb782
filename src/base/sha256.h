// SHA-256 of bytes that come piece by piece (OpenSSL's EVP).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "base/names.h"

namespace stasis {

using Sha256Bytes = std::array<unsigned char, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);
  // Of what came since the last Finish; then it begins anew.
  Sha256Bytes FinishBytes();
  Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest Sha256Of(std::string_view bytes);

}  // namespace stasis
