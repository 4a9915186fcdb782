#include "shim/connections.h"

#include <utility>

namespace stasis {

Connections::~Connections() {
  StopAll();
  std::list<Served> rest;
  {
    std::lock_guard lock(mutex_);
    rest.swap(served_);
  }
  rest.clear();  // joins
}

void Connections::Add(UniqueFd connection, Serve serve) {
  std::lock_guard lock(mutex_);
  std::erase_if(served_, [](const Served& served) { return served.done.load(); });
  if (served_.size() >= limit_) return;
  Served& served = served_.emplace_back();
  served.thread = std::jthread(
      [&served, serve = std::move(serve), connection = std::move(connection)](std::stop_token stop) mutable {
        serve(std::move(connection), std::move(stop));
        serve = nullptr;
        served.done = true;
      });
}

void Connections::StopAll() {
  std::lock_guard lock(mutex_);
  for (Served& served : served_) served.thread.request_stop();
}

}  // namespace stasis
