#include "criu/host_name.h"

#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"

namespace stasis::criu {

Status SetHostName(int images, const std::string& name, const std::string& host_name) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader, ImageReader::Open(images, name, kCommonMagic, kUtsnsMagic));
  images::UtsnsEntry entry;
  STASIS_RETURN_IF_ERROR(reader.Next(&entry));
  entry.set_nodename(host_name);
  ImageWriter image(kCommonMagic, kUtsnsMagic);
  image.Add(entry);
  return image.Replace(images, name);
}

}  // namespace stasis::criu
