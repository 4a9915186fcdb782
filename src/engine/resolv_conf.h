// A container's /etc/resolv.conf (resolv.conf(5)), as Docker makes it.
#pragma once

#include <string>

#include "backend/container_config.h"

namespace stasis::engine {

// `host` is the host's file. What HostConfig's Dns, DnsSearch and DnsOptions say takes the place of its lines
// of that kind; a search of "." alone is none. Where `own_network`, its servers at loopback addresses are
// left out, which are others there, and if none is left, and none was asked for, there are Google's, as with
// Docker.
std::string MakeResolvConf(const std::string& host, const backend::HostConfig& wanted, bool own_network);

// The host's file for a container: systemd-resolved's list of the real servers where the host itself asks
// only its stub at 127.0.0.53 and the container cannot.
std::string ReadHostResolvConf(bool own_network);

}  // namespace stasis::engine
