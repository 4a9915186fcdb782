#include "engine/container_store.h"

#include <sys/stat.h>

#include "engine/record_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "linux/files.h"

namespace stasis::engine {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

ContainerRecord SomeRecord(char digit, std::string name) {
  return {.id = *ContainerId::Parse(std::string(64, digit)),
          .name = std::move(name),
          .created = absl::FromUnixSeconds(1700000000),
          .image_id = "sha256:" + std::string(64, 'e'),
          .argv = {"sh", "-c", "true"}};
}

class ContainerStoreTest : public testing::Test {
 protected:
  ContainerStoreTest() : directory_(*TemporaryDirectory::Create("/tmp", "stasis-store-")) {}
  std::string path() const { return directory_.path() + "/stasis.db"; }
  TemporaryDirectory directory_;
};

TEST_F(ContainerStoreTest, RecordsComeBackAsTheyWere) {
  ContainerRecord record = SomeRecord('a', "web");
  record.config.env = {"A=b"};
  record.host_config.auto_remove = true;
  record.mounts = {{.type = "bind",
                    .source = "/src",
                    .destination = "/dst",
                    .options = {"rbind", "ro"},
                    .mode = "ro",
                    .read_write = false,
                    .propagation = "rprivate"}};
  record.state.phase = Phase::kExited;
  record.state.exit_code = 137;
  record.state.started_at = absl::FromUnixSeconds(1700000001) + absl::Nanoseconds(5);
  record.restart_count = 3;
  record.exiting_checkpoint = ExitingCheckpoint{"cp1", "/somewhere"};
  {
    auto store = *ContainerStore::Open(path());
    ASSERT_TRUE(store->Commit({.save = &record, .events = {}, .supervisor_seen = {}}).ok());
  }
  auto store = *ContainerStore::Open(path());
  const auto records = *store->LoadContainers();
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_EQ(EncodeRecord(records[0]), EncodeRecord(record));
  EXPECT_EQ(records[0].state.finished_at, absl::InfinitePast());
  EXPECT_EQ(records[0].state.started_at, record.state.started_at);
}

TEST_F(ContainerStoreTest, NobodyElseReadsIt) {
  ASSERT_TRUE(WriteFileAtomically(path(), "", 0644).ok());  // as an earlier version left it
  const auto store = *ContainerStore::Open(path());
  EXPECT_FALSE(Exists(path() + "-shm"));
  for (const char* suffix : {"", "-wal"}) {
    struct stat info = {};
    ASSERT_EQ(::stat((path() + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << suffix;
  }
}

TEST_F(ContainerStoreTest, ATakenNameWritesNothing) {
  auto store = *ContainerStore::Open(path());
  const ContainerRecord first = SomeRecord('a', "web");
  const ContainerRecord second = SomeRecord('b', "web");
  ASSERT_TRUE(store->Commit({.save = &first, .events = {}, .supervisor_seen = {}}).ok());
  backend::EventMessage event;
  event.action = "create";
  event.at = absl::FromUnixSeconds(1);
  EXPECT_EQ(store->Commit({.save = &second, .events = {event}, .supervisor_seen = {}}).code(),
            StatusCode::kAlreadyExists);
  EXPECT_THAT(*store->LoadContainers(), SizeIs(1));
  EXPECT_THAT(*store->LoadEvents(), IsEmpty());
}

TEST_F(ContainerStoreTest, RemovedRecordsAreGone) {
  auto store = *ContainerStore::Open(path());
  const ContainerRecord record = SomeRecord('a', "web");
  ASSERT_TRUE(store->Commit({.save = &record, .events = {}, .supervisor_seen = {}}).ok());
  ASSERT_TRUE(store->Commit({.remove = &record.id, .events = {}, .supervisor_seen = {}}).ok());
  EXPECT_THAT(*store->LoadContainers(), IsEmpty());
}

TEST_F(ContainerStoreTest, ARecordThatCannotBeReadIsADeadContainerAndStaysAsItIs) {
  const ContainerRecord good = SomeRecord('a', "web"), bad = SomeRecord('b', "db");
  {
    auto store = *ContainerStore::Open(path());
    for (const ContainerRecord* record : {&good, &bad})
      ASSERT_TRUE(store->Commit({.save = record, .events = {}, .supervisor_seen = {}}).ok());
  }
  const auto run = [&](const std::string& sql) {
    auto database = *Database::Open(path(), {""});
    return database->Run([&](Transaction& transaction) { return transaction.Execute(sql); });
  };
  ASSERT_TRUE(run("UPDATE containers SET record = 'torn{' WHERE name = 'db';"
                  "INSERT INTO events(event) VALUES('torn{')")
                  .ok());
  auto store = *ContainerStore::Open(path());
  EXPECT_THAT(*store->LoadEvents(), IsEmpty());
  auto records = *store->LoadContainers();
  ASSERT_THAT(records, SizeIs(2));
  const ContainerRecord& dead = records[0].name == "db" ? records[0] : records[1];
  EXPECT_EQ(dead.id, bad.id);
  EXPECT_TRUE(dead.unreadable);
  EXPECT_EQ(dead.state.phase, Phase::kDead);
  EXPECT_THAT(dead.state.error, testing::HasSubstr("invalid character 'o'"));
  // What was done to it is not written over what somebody may still mend.
  ASSERT_TRUE(store->Commit({.save = &dead, .events = {}, .supervisor_seen = {}}).ok());
  EXPECT_TRUE(store->LoadContainers()->at(records[0].name == "db" ? 0 : 1).unreadable);
  ASSERT_TRUE(store->Commit({.remove = &bad.id, .events = {}, .supervisor_seen = {}}).ok());
  EXPECT_THAT(*store->LoadContainers(), SizeIs(1));
}

TEST_F(ContainerStoreTest, OnlyTheLastEventsAreKept) {
  auto store = *ContainerStore::Open(path());
  ContainerStore::Change change;
  for (int i = 0; i < static_cast<int>(kKeptEvents) + 10; ++i) {
    backend::EventMessage event;
    event.type = "container";
    event.action = std::to_string(i);
    event.attributes = {{"name", "web"}};
    event.at = absl::FromUnixSeconds(i);
    change.events.push_back(event);
  }
  ASSERT_TRUE(store->Commit(change).ok());
  const auto events = *store->LoadEvents();
  ASSERT_THAT(events, SizeIs(kKeptEvents));
  EXPECT_EQ(events.front().action, "10");
  EXPECT_EQ(events.front().attributes.at("name"), "web");
  EXPECT_EQ(events.back().at, absl::FromUnixSeconds(static_cast<int>(kKeptEvents) + 9));
}

TEST_F(ContainerStoreTest, LargeEventsDoNotFillTheDisk) {
  auto store = *ContainerStore::Open(path());
  constexpr size_t kSize = 2 << 20;
  for (int i = 0; i < 40; ++i) {
    backend::EventMessage event;
    event.action = std::to_string(i);
    event.attributes = {{"label", std::string(kSize, 'x')}};
    event.at = absl::FromUnixSeconds(i);
    ASSERT_TRUE(store->Commit({.events = {event}, .supervisor_seen = {}}).ok());
  }
  EXPECT_LT(*DiskUsage(directory_.path()), 4 * kKeptEventBytes);  // the write-ahead log too
  const auto events = *store->LoadEvents();
  ASSERT_THAT(events, SizeIs(kKeptEventBytes / kSize - 1));
  EXPECT_EQ(events.back().action, "39");
  backend::EventMessage larger = events.back();
  larger.attributes["label"] = std::string(kKeptEventBytes + 1, 'x');
  ASSERT_TRUE(store->Commit({.events = {larger}, .supervisor_seen = {}}).ok());
  EXPECT_THAT(*store->LoadEvents(), SizeIs(1));
}

TEST_F(ContainerStoreTest, SettingsOutliveTheProcess) {
  std::string id;
  {
    auto store = *ContainerStore::Open(path());
    EXPECT_EQ(*store->SupervisorSeen(), absl::InfinitePast());
    id = *store->InstallationId();
    ASSERT_TRUE(store->Commit({.events = {}, .supervisor_seen = absl::FromUnixSeconds(7)}).ok());
  }
  auto store = *ContainerStore::Open(path());
  EXPECT_EQ(*store->SupervisorSeen(), absl::FromUnixSeconds(7));
  EXPECT_EQ(*store->InstallationId(), id);
}

TEST_F(ContainerStoreTest, MigrationsRunOnceEach) {
  const std::string file = directory_.path() + "/other.db";
  ASSERT_TRUE(Database::Open(file, {"CREATE TABLE a(x)"}).ok());
  ASSERT_TRUE(Database::Open(file, {"CREATE TABLE a(x)", "CREATE TABLE b(x)"}).ok());
  auto database = Database::Open(file, {"CREATE TABLE a(x)", "CREATE TABLE b(x)"});
  ASSERT_TRUE(database.ok()) << database.status();
  EXPECT_TRUE((*database)->Run([](Transaction& t) { return t.Execute("INSERT INTO b VALUES(1)"); }).ok());
}

TEST_F(ContainerStoreTest, AFailedMigrationChangesNothing) {
  const std::string file = directory_.path() + "/other.db";
  ASSERT_FALSE(Database::Open(file, {"CREATE TABLE a(x); nonsense"}).ok());
  EXPECT_TRUE(Database::Open(file, {"CREATE TABLE a(x)"}).ok());
}

TEST_F(ContainerStoreTest, ANewerFormatIsRefused) {
  const std::string file = directory_.path() + "/other.db";
  ASSERT_TRUE(Database::Open(file, {"CREATE TABLE a(x)", "CREATE TABLE b(x)"}).ok());
  EXPECT_EQ(Database::Open(file, {"CREATE TABLE a(x)"}).status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace stasis::engine
