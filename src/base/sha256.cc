#include "base/sha256.h"

#include <openssl/evp.h>

#include <cstdlib>

#include "base/hex.h"

namespace stasis {

struct Sha256::Context {
  EVP_MD_CTX* evp = nullptr;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  context_->evp = EVP_MD_CTX_new();
  // Fails only without memory, or where a policy takes SHA-256 away: nothing here works then.
  if (!context_->evp || EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr) != 1) std::abort();
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_->evp); }

void Sha256::Update(std::string_view bytes) {
  if (EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) != 1) std::abort();
}

Sha256Bytes Sha256::FinishBytes() {
  Sha256Bytes raw;
  unsigned size = 0;
  // Without a name of the digest, which would be looked up anew.
  if (EVP_DigestFinal_ex(context_->evp, raw.data(), &size) != 1 ||
      EVP_DigestInit_ex(context_->evp, nullptr, nullptr) != 1)
    std::abort();
  return raw;
}

Digest Sha256::Finish() {
  const Sha256Bytes raw = FinishBytes();
  return *Digest::Parse("sha256:" + ToHex({reinterpret_cast<const char*>(raw.data()), raw.size()}));
}

Digest Sha256Of(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

}  // namespace stasis
