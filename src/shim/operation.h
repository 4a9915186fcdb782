// While one of these lives, a runtime or another child of ours may be at work: children that the process
// table does not know are left to whoever waits for them.
#pragma once

#include "shim/event_loop.h"
#include "shim/process_table.h"

namespace stasis {

class [[nodiscard]] Operation {
 public:
  Operation(EventLoop* loop, ProcessTable* table) : loop_(loop), table_(table) {
    loop_->Call([this] { table_->BeginOperation(); });
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() {
    loop_->Call([this] { table_->EndOperation(); });
  }

 private:
  EventLoop* loop_;
  ProcessTable* table_;
};

}  // namespace stasis
