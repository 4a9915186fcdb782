#include "engine/event_bus.h"

#include <thread>

#include "engine/container_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

using testing::ElementsAre;

backend::EventMessage Event(std::string action, absl::Time at) {
  backend::EventMessage event;
  event.type = "container";
  event.action = std::move(action);
  event.actor_id = "abcdef";
  event.attributes = {{"name", "web"}, {"image", "busybox:latest"}, {"role", "front"}};
  event.at = at;
  return event;
}

std::vector<std::string> Actions(EventBus& bus, const backend::EventQuery& query) {
  std::vector<std::string> actions;
  EXPECT_TRUE(bus.Follow(query,
                         [&](const backend::EventMessage& event) {
                           actions.push_back(event.action);
                           return Status();
                         },
                         {})
                  .ok());
  return actions;
}

TEST(EventBusTest, PastEventsComeBetweenSinceAndUntil) {
  const absl::Time now = absl::Now();
  EventBus bus({Event("create", now - absl::Seconds(30)), Event("start", now - absl::Seconds(20)),
                Event("die", now - absl::Seconds(10))});
  backend::EventQuery query;
  query.since = now - absl::Seconds(25);
  query.until = now - absl::Seconds(5);
  EXPECT_THAT(Actions(bus, query), ElementsAre("start", "die"));
}

TEST(EventBusTest, LiveEventsReachAReaderThatWaits) {
  EventBus bus({});
  std::stop_source stop;
  std::vector<std::string> actions;
  std::jthread reader([&] {
    backend::EventQuery query;
    query.since = absl::UnixEpoch();  // so that it does not matter who comes first
    EXPECT_TRUE(bus.Follow(
                       query,
                       [&](const backend::EventMessage& event) {
                         actions.push_back(event.action);
                         if (event.action == "last") stop.request_stop();
                         return Status();
                       },
                       stop.get_token())
                    .ok());
  });
  bus.Publish(Event("first", absl::Now()));
  bus.Publish(Event("last", absl::Now()));
  reader.join();
  EXPECT_THAT(actions, ElementsAre("first", "last"));
}

TEST(EventBusTest, AReaderThatIsGoneEndsTheStream) {
  EventBus bus({Event("create", absl::Now())});
  backend::EventQuery query;
  query.since = absl::UnixEpoch();
  const Status status =
      bus.Follow(query, [](const backend::EventMessage&) { return Unavailable("gone"); }, {});
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
}

TEST(EventBusTest, LargeEventsLeaveSooner) {
  backend::EventMessage large = Event("large", absl::Now());
  large.attributes["label"] = std::string(kKeptEventBytes / 4, 'x');
  EventBus bus({Event("past", absl::Now()), large, large});
  backend::EventQuery query;
  query.since = absl::UnixEpoch();
  query.until = absl::Now();
  EXPECT_THAT(Actions(bus, query), ElementsAre("past", "large", "large"));
  bus.Publish(large);
  bus.Publish(large);
  query.until = absl::Now();
  EXPECT_THAT(Actions(bus, query), ElementsAre("large", "large", "large"));
  large.attributes["label"] = std::string(kKeptEventBytes * 2, 'x');
  bus.Publish(large);
  query.until = absl::Now();
  EXPECT_THAT(Actions(bus, query), ElementsAre("large"));
}

TEST(EventFilterTest, EachNameMatchesWhatItSays) {
  const auto event = Event("exec_start: sh -c true", absl::Now());
  EXPECT_TRUE(Matches(event, {{"event", {"exec_start"}}}));
  EXPECT_TRUE(Matches(event, {{"container", {"web"}}, {"type", {"image", "container"}}}));
  EXPECT_TRUE(Matches(event, {{"container", {"abc"}}}));
  EXPECT_TRUE(Matches(event, {{"container", {"we"}}}));
  EXPECT_TRUE(Matches(event, {{"container", {""}}}));
  EXPECT_FALSE(Matches(event, {{"container", {"eb"}}}));
  EXPECT_TRUE(Matches(event, {{"image", {"busybox"}}}));
  auto tagged = event;
  tagged.type = "image";
  tagged.actor_id = "sha256:12";
  tagged.attributes["name"] = "evt:1";
  for (const char* image : {"sha256:12", "evt:1", "evt"}) {
    EXPECT_TRUE(Matches(tagged, {{"image", {image}}})) << image;
  }
  EXPECT_FALSE(Matches(tagged, {{"container", {""}}}));
  EXPECT_TRUE(Matches(event, {{"label", {"role", "role=front"}}}));
  EXPECT_FALSE(Matches(event, {{"label", {"role", "role=back"}}}));
  EXPECT_FALSE(Matches(event, {{"event", {"exec"}}}));
  EXPECT_FALSE(CheckEventFilters({{"nonsense", {"x"}}}).ok());
}

}  // namespace
}  // namespace stasis::engine
