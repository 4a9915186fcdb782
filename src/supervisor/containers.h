// All containers of one supervisor: found again at its start, created, looked up. Its state on disk is the
// shims' directories, RUN/shims/ID (protocol/shim.h), each with a file of ours beside the shim's:
//
//   supervisor.json   {"runtime": as the client named it, "create_only": bool}
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "supervisor/container_actor.h"
#include "supervisor/event_log.h"
#include "types/api.pb.h"

namespace stasis::supervisor {

struct Programs {
  std::string shim;
  std::string checkpointer;
  std::string runc;
  std::string criu;
};

// Thread-safe.
class Containers {
 public:
  Containers(std::string state_directory, Programs programs, EventLog& events);
  // Stops following all of them; they run on.
  ~Containers();

  // Finds what shims of before are there, or what dead ones left, and follows each. Before anything else,
  // once.
  Status Adopt();

  // Creates and starts (or restores) a container; with create_only it waits. kAlreadyExists: the id is in
  // use. One of that id whose exit was told but that is still being removed is waited for. On failure nothing
  // is left.
  StatusOr<types::Container> Create(const types::CreateContainerRequest& request, std::stop_token cancel);

  // kNotFound "No such container: ID".
  StatusOr<std::shared_ptr<ContainerActor>> Find(const std::string& id) const;
  std::vector<std::shared_ptr<ContainerActor>> List() const;  // by id

 private:
  StatusOr<ContainerRecord> Plan(const BundleId& id, const types::CreateContainerRequest& request) const;
  StatusOr<types::Container> CreateReserved(ContainerRecord record, std::stop_token cancel);
  Status Reserve(const std::string& id, std::stop_token cancel);
  void AdoptOne(const std::string& id);
  void Forget(const std::string& id);

  const std::string shims_directory_;
  const std::string runtime_root_;
  const Programs programs_;
  EventLog& events_;

  mutable std::mutex mutex_;
  std::condition_variable_any removed_;
  // Guarded by mutex_. A null one is reserved: being created.
  std::map<std::string, std::shared_ptr<ContainerActor>> actors_;
  std::vector<std::shared_ptr<ContainerActor>> finished_;  // whose thread may still be on its way out
};

}  // namespace stasis::supervisor
