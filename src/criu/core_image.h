// core-TID.img: a thread (criu/cr-dump.c). TID is as the container sees it. Within this room only: it shows
// CRIU's own messages.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/status.h"
#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"

namespace stasis::criu {

inline StatusOr<images::CoreEntry> ReadCore(int images, const std::string& file) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader, ImageReader::Open(images, file, kCommonMagic, kCoreMagic));
  images::CoreEntry core;
  STASIS_RETURN_IF_ERROR(reader.Next(&core));
  return core;
}

}  // namespace stasis::criu
