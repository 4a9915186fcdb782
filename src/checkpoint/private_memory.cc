#include "checkpoint/private_memory.h"

#include <fcntl.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "criu/memory_images.h"
#include "linux/files.h"
#include "linux/pagemap.h"
#include "linux/proc.h"
#include "linux/unique_fd.h"

namespace stasis::checkpoint {
namespace {

Status SaveOne(pid_t process, const criu::MemorySource& source, const std::vector<AddressRange>& shown,
               const MemoryTarget& target, const std::stop_token& cancel) {
  const auto take_pages = [&](std::string_view pages) -> Status {
    STASIS_RETURN_IF_ERROR(target.writer->Append(pages));
    return target.on_bytes(pages.size());
  };
  STASIS_ASSIGN_OR_RETURN(const std::string file,
                          criu::AddPrivateMemory(target.images, process, source, shown, take_pages, cancel));
  STASIS_ASSIGN_OR_RETURN(const store::StreamId content, target.writer->EndStream());
  target.files->push_back({file, content});
  return RemoveTreeAt(target.images, file);  // what CRIU had of it
}

// One that was overlooked would come back without its memory.
Status CheckCount(const MemoryTarget& target, size_t saved) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(target.images));
  const auto in_images = std::count_if(names.begin(), names.end(),
                                       [](const std::string& name) { return name.starts_with("mm-"); });
  if (static_cast<size_t>(in_images) == saved) return absl::OkStatus();
  return DataLoss("CRIU has dumped " + std::to_string(in_images) + " processes, and the memory of " +
                  std::to_string(saved) + " was read");
}

}  // namespace

std::string WhyPlain(const protocol::CheckpointRequest& request, const std::string& preload, bool no_twins) {
  if (request.freeze == protocol::kFreezePlain)
    return request.freeze_reason.empty() ? "asked for" : request.freeze_reason;
  if (preload.empty()) return "no library for CRIU";
  if (!KernelHasPagemapScan()) return "the kernel has no PAGEMAP_SCAN (Linux 6.7)";
  return no_twins ? "a process was stopped" : "";
}

std::string ShowWhatTwinsLack(const std::vector<criu::Process>& processes, ShownMemory* shown) {
  std::string text;
  for (const criu::Process& process : processes) {
    auto smaps = ReadFile(ProcPath(process.pid, "smaps"));
    if (!smaps.ok()) continue;  // it has ended, or a zombie
    std::vector<AddressRange> ranges = criu::MappingsWithoutTwin(*smaps);
    for (const AddressRange& range : ranges)
      absl::StrAppendFormat(&text, "%d %x %x\n", process.pid, range.begin, range.end);
    if (!ranges.empty()) shown->emplace(process.inside, std::move(ranges));
  }
  return text;
}

Status SaveMemory(const Twins& twins, const ShownMemory& shown, const MemoryTarget& target,
                  const std::stop_token& cancel) {
  for (const Twin& twin : twins.all()) {
    const auto found = shown.find(twin.original_inside);
    STASIS_RETURN_IF_ERROR(SaveOne(
        twin.original_inside, {.memory = twin.memory.get(), .pagemap = twin.pagemap.get(), .twin = true},
        found == shown.end() ? std::vector<AddressRange>{} : found->second, target, cancel));
  }
  return CheckCount(target, twins.all().size());
}

Status SaveMemory(const std::vector<criu::Process>& processes, const MemoryTarget& target,
                  const std::stop_token& cancel) {
  size_t saved = 0;
  for (const criu::Process& process : processes) {
    if (process.state == 'Z') continue;  // it has none
    STASIS_ASSIGN_OR_RETURN(const UniqueFd memory, OpenFile(ProcPath(process.pid, "mem"), O_RDONLY));
    STASIS_ASSIGN_OR_RETURN(const UniqueFd pagemap, OpenFile(ProcPath(process.pid, "pagemap"), O_RDONLY));
    STASIS_RETURN_IF_ERROR(Annotate(
        SaveOne(process.inside, {.memory = memory.get(), .pagemap = pagemap.get()}, {}, target, cancel),
        criu::Label(process)));
    ++saved;
  }
  return CheckCount(target, saved);
}

}  // namespace stasis::checkpoint
