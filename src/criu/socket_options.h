// Options of a socket that CRIU does not restore, by name.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace stasis::criu {

struct SocketOption {
  std::string name;
  std::string value;  // without blanks
};

class SocketOptions {
 public:
  // Of a socket of the internet or of unix those options that a new one of its kind has otherwise.
  std::vector<SocketOption> Read(int socket);
  // False: nobody knows the option, the value is none, or the socket does not take it.
  static bool Set(int socket, std::string_view name, std::string_view value);

 private:
  using Kind = std::tuple<int, int, int>;  // domain, type, protocol
  const std::vector<std::optional<std::string>>& Defaults(const Kind& kind);
  std::map<Kind, std::vector<std::optional<std::string>>> defaults_;
};

}  // namespace stasis::criu
