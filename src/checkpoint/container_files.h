// The container's own files in its checkpoint: its layer, captured (layer/capture.h) into the store.
#pragma once

#include <memory>
#include <stop_token>

#include "base/status.h"
#include "layer/capture.h"
#include "linux/cgroup.h"
#include "manifest/manifest.h"
#include "protocol/checkpointer.h"
#include "store/writer.h"

namespace stasis::checkpoint {

class ContainerFiles {
 public:
  // Of the layer that the plan names. `cgroup`, the container's, and `writer` outlive it; `on_bytes` as
  // layer::Capture's. What an earlier checkpoint of the container in the same directory has is not read
  // again.
  static StatusOr<ContainerFiles> Open(const protocol::CheckpointPlan& plan, const Cgroup& cgroup,
                                       store::Writer* writer, layer::Capture::OnBytes on_bytes);

  Status Read(const std::stop_token& cancel);    // while it runs
  Status Finish(const std::stop_token& cancel);  // in the freeze
  // Puts the list of them into the store, and what it is into the manifest.
  Status Save(Manifest* manifest);

 private:
  ContainerFiles(std::unique_ptr<layer::Capture> capture, store::Writer* writer)
      : capture_(std::move(capture)), writer_(writer) {}

  std::unique_ptr<layer::Capture> capture_;
  store::Writer* writer_;
};

}  // namespace stasis::checkpoint
