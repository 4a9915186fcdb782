// Where the engine keeps things.
//
//   ROOT/stasis.db                     records (container_store.h)
//   ROOT/images/                       the image store
//   ROOT/checkpoint-store/             what the containers' own checkpoints hold (store/store_files.h)
//   ROOT/containers/ID/                0700
//     record.json                      what it is, for adoption (container_directories.h)
//     bundle/config.json               what runc gets, made anew at each start
//     hostname, hosts, resolv.conf     bound into the container's /etc
//     ID-json.log, ID-json.log.1 ...   its log, written by the shim
//     checkpoints/                     its own checkpoints
//     replaced-files/                  what restores replaced of its files (safety_checkpoints.h)
//   STATE/stasis.sock                  the API
//   STATE/supervisor.sock, supervisor/ the supervisor's socket and state
//   STATE/netns/ID                     pinned network namespaces
#pragma once

#include <string>

#include "base/names.h"

namespace stasis::engine {

struct Paths {
  std::string root;
  std::string state;

  std::string Database() const { return root + "/stasis.db"; }
  std::string Images() const { return root + "/images"; }
  std::string ContainerRoots() const { return Images() + "/roots"; }  // the image store's
  std::string CheckpointStore() const { return root + "/checkpoint-store"; }
  std::string Containers() const { return root + "/containers"; }
  std::string Container(const ContainerId& id) const { return Containers() + "/" + id.str(); }
  std::string Bundle(const ContainerId& id) const { return Container(id) + "/bundle"; }
  std::string Hostname(const ContainerId& id) const { return Container(id) + "/hostname"; }
  std::string Hosts(const ContainerId& id) const { return Container(id) + "/hosts"; }
  std::string ResolvConf(const ContainerId& id) const { return Container(id) + "/resolv.conf"; }
  std::string Log(const ContainerId& id) const { return Container(id) + "/" + id.str() + "-json.log"; }
  std::string Checkpoints(const ContainerId& id) const { return Container(id) + "/checkpoints"; }
  std::string ReplacedFiles(const ContainerId& id) const { return Container(id) + "/replaced-files"; }
  std::string NetworkNamespaces() const { return state + "/netns"; }
};

}  // namespace stasis::engine
