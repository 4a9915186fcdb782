#include "criu/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <charconv>

#include "linux/unique_fd.h"

namespace stasis::criu {
namespace {

struct Option {
  std::string_view name;
  int level;
  int number;
  bool text = false;  // else an int
};

// With numbers where the headers may be older than the option. Left out are those that a connection changes
// by itself (TCP_MAXSEG, TCP_WINDOW_CLAMP), and those whose default nobody can tell (TCP_SYNCNT).
constexpr Option kOptions[] = {
    {"so_timestamp", SOL_SOCKET, 29},
    {"so_timestampns", SOL_SOCKET, 35},
    {"so_timestamping", SOL_SOCKET, 37},
    {"so_rxq_ovfl", SOL_SOCKET, 40},
    {"so_peek_off", SOL_SOCKET, 42},
    {"so_select_err_queue", SOL_SOCKET, 45},
    {"so_busy_poll", SOL_SOCKET, 46},
    {"so_zerocopy", SOL_SOCKET, 60},
    {"so_prefer_busy_poll", SOL_SOCKET, 69},
    {"so_rcvmark", SOL_SOCKET, 75},
    {"so_passpidfd", SOL_SOCKET, 76},
    {"tcp_defer_accept", IPPROTO_TCP, 9},
    {"tcp_congestion", IPPROTO_TCP, 13, true},
    {"tcp_thin_linear_timeouts", IPPROTO_TCP, 16},
    {"tcp_user_timeout", IPPROTO_TCP, 18},
    {"tcp_fastopen", IPPROTO_TCP, 23},
    {"tcp_notsent_lowat", IPPROTO_TCP, 25},
    {"tcp_save_syn", IPPROTO_TCP, 27},
    {"tcp_fastopen_connect", IPPROTO_TCP, 30},
    {"tcp_fastopen_no_cookie", IPPROTO_TCP, 34},
    {"tcp_inq", IPPROTO_TCP, 36},
    {"tcp_tx_delay", IPPROTO_TCP, 37},
    {"ip_recvopts", IPPROTO_IP, 6},
    {"ip_retopts", IPPROTO_IP, 7},
    {"ip_mtu_discover", IPPROTO_IP, 10},
    {"ip_recverr", IPPROTO_IP, 11},
    {"ip_recvttl", IPPROTO_IP, 12},
    {"ip_recvtos", IPPROTO_IP, 13},
    {"ip_recvorigdstaddr", IPPROTO_IP, 20},
    {"ip_minttl", IPPROTO_IP, 21},
    {"ip_nodefrag", IPPROTO_IP, 22},
    {"ip_checksum", IPPROTO_IP, 23},
    {"ip_bind_address_no_port", IPPROTO_IP, 24},
    {"ip_recvfragsize", IPPROTO_IP, 25},
    {"ip_recverr_rfc4884", IPPROTO_IP, 26},
    {"ip_multicast_ttl", IPPROTO_IP, 33},
    {"ip_multicast_loop", IPPROTO_IP, 34},
    {"ip_multicast_all", IPPROTO_IP, 49},
    {"ip_unicast_if", IPPROTO_IP, 50},
    {"ip_local_port_range", IPPROTO_IP, 51},
    {"ipv6_unicast_hops", IPPROTO_IPV6, 16},
    {"ipv6_multicast_if", IPPROTO_IPV6, 17},
    {"ipv6_multicast_hops", IPPROTO_IPV6, 18},
    {"ipv6_multicast_loop", IPPROTO_IPV6, 19},
    {"ipv6_mtu_discover", IPPROTO_IPV6, 23},
    {"ipv6_recverr", IPPROTO_IPV6, 25},
    {"ipv6_multicast_all", IPPROTO_IPV6, 29},
    {"ipv6_recvpktinfo", IPPROTO_IPV6, 49},
    {"ipv6_recvhoplimit", IPPROTO_IPV6, 51},
    {"ipv6_dontfrag", IPPROTO_IPV6, 62},
    {"ipv6_recvtclass", IPPROTO_IPV6, 66},
    {"ipv6_tclass", IPPROTO_IPV6, 67},
    {"ipv6_minhopcount", IPPROTO_IPV6, 73},
    {"ipv6_recvorigdstaddr", IPPROTO_IPV6, 74},
};

std::optional<std::string> Get(int socket, const Option& option) {
  if (option.text) {
    char name[64] = {};
    socklen_t size = sizeof name - 1;
    if (::getsockopt(socket, option.level, option.number, name, &size) != 0) return std::nullopt;
    return std::string(name);
  }
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(socket, option.level, option.number, &value, &size) != 0 || size > sizeof value)
    return std::nullopt;
  return std::to_string(value);
}

std::optional<int> GetNumber(int socket, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(socket, SOL_SOCKET, option, &value, &size) != 0) return std::nullopt;
  return value;
}

}  // namespace

const std::vector<std::optional<std::string>>& SocketOptions::Defaults(const Kind& kind) {
  const auto [found, is_new] = defaults_.try_emplace(kind);
  if (!is_new) return found->second;
  const auto& [domain, type, protocol] = kind;
  const UniqueFd fresh(::socket(domain, type | SOCK_CLOEXEC, protocol));
  for (const Option& option : kOptions)
    found->second.push_back(fresh.valid() ? Get(fresh.get(), option) : std::nullopt);
  return found->second;
}

std::vector<SocketOption> SocketOptions::Read(int socket) {
  const auto domain = GetNumber(socket, SO_DOMAIN);
  const auto type = GetNumber(socket, SO_TYPE);
  const auto protocol = GetNumber(socket, SO_PROTOCOL);
  std::vector<SocketOption> options;
  if (!domain || !type || !protocol || (*domain != AF_INET && *domain != AF_INET6 && *domain != AF_UNIX))
    return options;
  const auto& defaults = Defaults({*domain, *type, *protocol});
  for (size_t i = 0; i < std::size(kOptions); ++i) {
    if (!defaults[i]) continue;  // none of this kind has it
    std::optional<std::string> value = Get(socket, kOptions[i]);
    if (value && *value != *defaults[i])
      options.push_back({std::string(kOptions[i].name), *std::move(value)});
  }
  return options;
}

bool SocketOptions::Set(int socket, std::string_view name, std::string_view value) {
  for (const Option& option : kOptions) {
    if (option.name != name) continue;
    if (option.text) {
      return ::setsockopt(socket, option.level, option.number, value.data(),
                          static_cast<socklen_t>(value.size())) == 0;
    }
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size()) return false;
    return ::setsockopt(socket, option.level, option.number, &number, sizeof number) == 0;
  }
  return false;
}

}  // namespace stasis::criu
