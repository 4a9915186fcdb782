#include "engine/event_bus.h"

#include <algorithm>
#include <array>

#include "absl/strings/match.h"
#include "engine/container_store.h"

namespace stasis::engine {
namespace {

constexpr std::array<std::string_view, 7> kFilters = {"type",  "event", "container", "image",
                                                      "label", "scope", "daemon"};

size_t BytesOf(const backend::EventMessage& event) {
  size_t bytes = sizeof event + event.type.size() + event.action.size() + event.actor_id.size();
  for (const auto& [name, value] : event.attributes)
    bytes += 2 * sizeof(std::string) + name.size() + value.size();
  return bytes;
}

std::string Attribute(const backend::EventMessage& event, const std::string& name) {
  const auto found = event.attributes.find(name);
  return found == event.attributes.end() ? std::string() : found->second;
}

bool MatchesLabel(const backend::EventMessage& event, const std::string& label) {
  const size_t equals = label.find('=');
  const auto found = event.attributes.find(label.substr(0, equals));
  if (found == event.attributes.end()) return false;
  return equals == std::string::npos || found->second == label.substr(equals + 1);
}

bool MatchesOne(const backend::EventMessage& event, const std::string& filter, const std::string& value) {
  if (filter == "type") return event.type == value;
  if (filter == "event") {
    return event.action == value || event.action.rfind(value + ":", 0) == 0;
  }
  if (filter == "container") {
    // Of the name, too, the beginning suffices, and of nothing all begin with it.
    return event.type == "container" &&
           (event.actor_id.starts_with(value) || Attribute(event, "name").starts_with(value));
  }
  if (filter == "image") {
    const std::string image = Attribute(event, event.type == "image" ? "name" : "image");
    return image == value || image.substr(0, image.rfind(':')) == value ||
           (event.type == "image" && event.actor_id == value);
  }
  if (filter == "label") return MatchesLabel(event, value);
  if (filter == "scope") return value == "local";
  return filter == "daemon";
}

}  // namespace

bool Matches(const backend::EventMessage& event, const backend::Filters& filters) {
  for (const auto& [filter, values] : filters) {
    if (values.empty()) continue;
    const auto matches = [&, &filter = filter](const std::string& value) {
      return MatchesOne(event, filter, value);
    };
    // All labels must match; of anything else one suffices.
    const bool match = filter == "label" ? std::all_of(values.begin(), values.end(), matches)
                                         : std::any_of(values.begin(), values.end(), matches);
    if (!match) return false;
  }
  return true;
}

Status CheckEventFilters(const backend::Filters& filters) {
  for (const auto& [filter, values] : filters) {
    if (std::find(kFilters.begin(), kFilters.end(), filter) == kFilters.end()) {
      return InvalidArgument("invalid filter '" + filter + "'");
    }
  }
  return {};
}

EventBus::EventBus(std::vector<backend::EventMessage> past) {
  for (backend::EventMessage& event : past) Keep(std::move(event));
}

void EventBus::Keep(backend::EventMessage event) {
  bytes_ += BytesOf(event);
  ring_.push_back(std::move(event));
  ++next_;
  while (ring_.size() > kKeptEvents || (bytes_ > kKeptEventBytes && ring_.size() > 1)) {
    bytes_ -= BytesOf(ring_.front());
    ring_.pop_front();
  }
}

void EventBus::Publish(backend::EventMessage event) {
  const std::lock_guard lock(mutex_);
  Keep(std::move(event));
  published_.notify_all();
}

std::vector<backend::EventMessage> EventBus::Next(uint64_t* cursor, absl::Time until,
                                                  const std::stop_token& cancel) {
  std::unique_lock lock(mutex_);
  const auto arrived = [&] { return next_ > *cursor; };
  if (until == absl::InfiniteFuture()) {
    published_.wait(lock, cancel, arrived);
  } else {
    published_.wait_until(lock, cancel, absl::ToChronoTime(until), arrived);
  }
  const uint64_t first = next_ - ring_.size();
  const uint64_t from = std::max(*cursor, first);
  std::vector<backend::EventMessage> events(ring_.begin() + static_cast<ptrdiff_t>(from - first),
                                            ring_.end());
  *cursor = next_;
  return events;
}

Status EventBus::Follow(const backend::EventQuery& query,
                        const std::function<Status(const backend::EventMessage&)>& on_event,
                        std::stop_token cancel) {
  STASIS_RETURN_IF_ERROR(CheckEventFilters(query.filters));
  const absl::Time until = query.until.value_or(absl::InfiniteFuture());
  const bool past_only = until <= absl::Now();
  uint64_t cursor = 0;
  if (!query.since && !past_only) {
    const std::lock_guard lock(mutex_);
    cursor = next_;
  }
  while (!cancel.stop_requested()) {
    const std::vector<backend::EventMessage> events = Next(&cursor, until, cancel);
    for (const backend::EventMessage& event : events) {
      if (query.since && event.at < *query.since) continue;
      if (event.at > until) return {};
      if (!Matches(event, query.filters)) continue;
      STASIS_RETURN_IF_ERROR(on_event(event));
    }
    if (absl::Now() >= until) return {};
  }
  return {};
}

}  // namespace stasis::engine
