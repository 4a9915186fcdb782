// The text of Docker's default seccomp profile, in Docker's form. For seccomp.cc.
#pragma once

namespace stasis::oci {

extern const char kDefaultSeccompProfile[];

}  // namespace stasis::oci
