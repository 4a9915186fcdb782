#include "criu/pagemap_image.h"

#include <algorithm>

#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/pagemap.h"

namespace stasis::criu {
StatusOr<PagemapImage> PagemapImage::Read(int images, pid_t process) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader, ImageReader::Open(images, ImageName("pagemap", process),
                                                                kCommonMagic, kPagemapMagic));
  images::PagemapHead head;
  STASIS_RETURN_IF_ERROR(reader.Next(&head));
  PagemapImage pagemap;
  pagemap.pages_id = head.pages_id();
  uint64_t last = 0;
  while (!reader.AtEnd()) {
    images::PagemapEntry entry;
    STASIS_RETURN_IF_ERROR(reader.Next(&entry));
    const uint64_t pages = entry.has_nr_pages() ? entry.nr_pages() : entry.compat_nr_pages();
    if ((entry.flags() & kPagePresent) == 0 || entry.in_parent()) return reader.Malformed();
    if (entry.vaddr() < last || entry.vaddr() % kPageSize != 0) return reader.Malformed();
    if (pages > (UINT64_MAX - entry.vaddr()) / kPageSize) return reader.Malformed();
    last = entry.vaddr() + pages * kPageSize;
    pagemap.runs.push_back({entry.vaddr(), last});
  }
  return pagemap;
}

Status PagemapImage::Write(int images, pid_t process) const {
  ImageWriter image(kCommonMagic, kPagemapMagic);
  images::PagemapHead head;
  head.set_pages_id(pages_id);
  image.Add(head);
  for (const AddressRange& run : runs) {
    images::PagemapEntry entry;
    entry.set_vaddr(run.begin);
    entry.set_compat_nr_pages(0);
    entry.set_nr_pages(run.size() / kPageSize);
    entry.set_flags(kPagePresent);
    image.Add(entry);
  }
  return image.Replace(images, ImageName("pagemap", process));
}

std::vector<AddressRange> Without(AddressRange range, const std::vector<AddressRange>& holes) {
  std::vector<AddressRange> left;
  for (const AddressRange& hole : holes) {
    if (hole.end <= range.begin || hole.begin >= range.end) continue;
    if (hole.begin > range.begin) left.push_back({range.begin, hole.begin});
    range.begin = std::min(hole.end, range.end);
  }
  if (range.size() != 0) left.push_back(range);
  return left;
}

}  // namespace stasis::criu
