// The route table: a plain list that can be printed, and its matching.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "api/request.h"
#include "api/response.h"
#include "base/status.h"

namespace stasis::api {

// An error it returns before an answer has begun is answered as {"message": ...}; later it cuts the answer
// off. Runs on the connection's own thread; blocking is fine as long as it heeds request.cancel.
using Handler = std::function<Status(Request& request, Response& response)>;

enum class Lifetime {
  kCall,    // answers by itself: a stopping server lets it finish, for a while
  kStream,  // as long as the client likes (events, attach, uploads): a stopping server ends it
};

struct Route {
  std::string method;
  // "/containers/{id}/json": {id} is one segment, {name...} one or more (images' names hold slashes). A slash
  // at the end counts: "/networks/" is another pattern than "/networks".
  std::string pattern;
  Handler handler;
  std::string description;  // one line
  std::string group;        // "containers"
  Lifetime lifetime = Lifetime::kCall;
};

// "GET  /info  system  What this engine is", a line a route, sorted by group in the order given.
void PrintRoutes(const std::vector<Route>& routes, std::ostream& out);

// Read-only once made; thread-safe.
class RouteTable {
 public:
  // kInvalidArgument: two routes with the same method and pattern, or a malformed pattern.
  static StatusOr<RouteTable> Create(std::vector<Route> routes);

  // Takes the version prefix off request.path and sets path, minor_version and values. Of several routes that
  // match, the one with fewer {names} wins, then the earlier one. kNotFound "page not found";
  // kInvalidArgument: Docker's words for a version that is too new or too old.
  struct Match {
    const Route* route = nullptr;  // null: the path is known, the method is not
    std::string allowed;           // then: the methods it has, "GET, HEAD"
  };
  StatusOr<Match> Find(Request& request) const;

 private:
  struct Entry {
    Route route;
    std::vector<std::string> segments;
    int names = 0;
  };
  explicit RouteTable(std::vector<Entry> entries) : entries_(std::move(entries)) {}
  std::vector<Entry> entries_;
};

}  // namespace stasis::api
