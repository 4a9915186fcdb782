// SHA-256 of bytes that come piece by piece (OpenSSL's EVP).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/names.h"

namespace stasis::image {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);
  // Once; afterwards only the destructor may be called.
  Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest Sha256Of(std::string_view bytes);

}  // namespace stasis::image
