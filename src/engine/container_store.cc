#include "engine/container_store.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/record_codec.h"
#include "linux/random_hex.h"

namespace stasis::engine {
namespace {

constexpr size_t kPruneStep = 1 << 20;  // bytes of new events after which all are counted

// One entry per format; never change one that was released, append.
const std::vector<std::string>& Migrations() {
  static const std::vector<std::string> migrations = {
      "CREATE TABLE containers(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL);"
      "CREATE TABLE events(sequence INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL);"
      "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL);",
  };
  return migrations;
}

Json EventToJson(const backend::EventMessage& event) {
  return {{"Type", event.type},
          {"Action", event.action},
          {"Actor", event.actor_id},
          {"Attributes", event.attributes},
          {"At", ToRfc3339(event.at)}};
}

StatusOr<backend::EventMessage> EventFromJson(const Json& json) {
  backend::EventMessage event;
  std::string at;
  JsonReader reader(json, "event");
  reader.Get("Type", &event.type);
  reader.Get("Action", &event.action);
  reader.Get("Actor", &event.actor_id);
  reader.Get("At", &at);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_ASSIGN_OR_RETURN(event.at, FromRfc3339(at));
  if (const Json* attributes = reader.Find("Attributes"); attributes && attributes->is_object()) {
    for (const auto& [name, value] : attributes->items()) {
      if (value.is_string()) event.attributes[name] = value.get<std::string>();
    }
  }
  return event;
}

ContainerRecord ReadRecord(const ContainerId& id, const std::string& name, const std::string& text) {
  StatusOr<DecodedRecord> decoded = DecodeRecord(text);
  if (decoded.ok() && decoded->record.id != id) decoded = DataLoss("record: it is of another container");
  if (!decoded.ok()) {
    spdlog::error("container {}: its record cannot be read: {}", id.str(), Message(decoded.status()));
    return UnreadableRecord(id, name, decoded.status());
  }
  for (const Status& problem : decoded->problems)
    spdlog::warn("container {}: its record: {}", id.str(), Message(problem));
  return std::move(decoded->record);
}

Status SaveRecord(Transaction& transaction, const ContainerRecord& record) {
  STASIS_ASSIGN_OR_RETURN(
      Statement statement,
      transaction.Prepare("INSERT INTO containers(id, name, record) VALUES(?1, ?2, ?3) "
                          "ON CONFLICT(id) DO UPDATE SET name = excluded.name, record = excluded.record"));
  statement.Bind(1, record.id.str()).Bind(2, record.name).Bind(3, EncodeRecord(record));
  return statement.Step().status();
}

Status SaveSetting(Transaction& transaction, std::string_view name, std::string_view value) {
  STASIS_ASSIGN_OR_RETURN(Statement statement,
                          transaction.Prepare("INSERT INTO settings(name, value) VALUES(?1, ?2) "
                                              "ON CONFLICT(name) DO UPDATE SET value = excluded.value"));
  statement.Bind(1, name).Bind(2, value);
  return statement.Step().status();
}

StatusOr<std::string> LoadSetting(Transaction& transaction, std::string_view name) {
  STASIS_ASSIGN_OR_RETURN(Statement statement,
                          transaction.Prepare("SELECT value FROM settings WHERE name = ?1"));
  statement.Bind(1, name);
  STASIS_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.Text(0) : std::string();
}

Status DeleteEvents(Transaction& transaction, std::string_view which, size_t limit) {
  STASIS_ASSIGN_OR_RETURN(Statement statement, transaction.Prepare("DELETE FROM events WHERE sequence <= (" +
                                                                   std::string(which) + ")"));
  statement.Bind(1, static_cast<int64_t>(limit));
  return statement.Step().status();
}

// Reads the whole table.
Status PruneEventBytes(Transaction& transaction) {
  return DeleteEvents(transaction,
                      "SELECT MAX(sequence) FROM (SELECT sequence, SUM(LENGTH(CAST(event AS BLOB))) "
                      "OVER (ORDER BY sequence DESC) AS bytes FROM events) "
                      "WHERE bytes > ?1 AND sequence < (SELECT MAX(sequence) FROM events)",
                      kKeptEventBytes);
}

}  // namespace

StatusOr<std::unique_ptr<ContainerStore>> ContainerStore::Open(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<Database> database, Database::Open(path, Migrations()));
  return std::unique_ptr<ContainerStore>(new ContainerStore(std::move(database)));
}

Status ContainerStore::SaveEvents(Transaction& transaction,
                                  const std::vector<backend::EventMessage>& events) {
  for (const backend::EventMessage& event : events) {
    const std::string text = DumpJson(EventToJson(event));
    STASIS_ASSIGN_OR_RETURN(Statement insert, transaction.Prepare("INSERT INTO events(event) VALUES(?1)"));
    insert.Bind(1, text);
    STASIS_RETURN_IF_ERROR(insert.Step().status());
    STASIS_RETURN_IF_ERROR(DeleteEvents(transaction, "SELECT MAX(sequence) - ?1 FROM events", kKeptEvents));
    unpruned_ += text.size();
  }
  if (unpruned_ < kPruneStep) return {};
  unpruned_ = 0;
  return PruneEventBytes(transaction);
}

Status ContainerStore::Commit(const Change& change) {
  return database_->Run([&](Transaction& transaction) -> Status {
    if (change.save && !change.save->unreadable) {
      STASIS_RETURN_IF_ERROR(SaveRecord(transaction, *change.save));
    }
    if (change.remove) {
      STASIS_ASSIGN_OR_RETURN(Statement statement,
                              transaction.Prepare("DELETE FROM containers WHERE id = ?1"));
      statement.Bind(1, change.remove->str());
      STASIS_RETURN_IF_ERROR(statement.Step().status());
    }
    STASIS_RETURN_IF_ERROR(SaveEvents(transaction, change.events));
    if (change.supervisor_seen) {
      STASIS_RETURN_IF_ERROR(SaveSetting(transaction, "supervisor-seen", ToRfc3339(*change.supervisor_seen)));
    }
    return {};
  });
}

StatusOr<std::vector<ContainerRecord>> ContainerStore::LoadContainers() {
  std::vector<ContainerRecord> records;
  STASIS_RETURN_IF_ERROR(database_->Run([&](Transaction& transaction) -> Status {
    STASIS_ASSIGN_OR_RETURN(Statement statement,
                            transaction.Prepare("SELECT id, name, record FROM containers"));
    while (true) {
      STASIS_ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) return {};
      const StatusOr<ContainerId> id = ContainerId::Parse(statement.Text(0));
      if (!id.ok()) {
        spdlog::error("the database has a container without an id: {}", Printable(statement.Text(0)));
        continue;
      }
      records.push_back(ReadRecord(*id, statement.Text(1), statement.Text(2)));
    }
  }));
  return records;
}

StatusOr<std::vector<backend::EventMessage>> ContainerStore::LoadEvents() {
  std::vector<backend::EventMessage> events;
  STASIS_RETURN_IF_ERROR(database_->Run([&](Transaction& transaction) -> Status {
    STASIS_RETURN_IF_ERROR(PruneEventBytes(transaction));
    STASIS_ASSIGN_OR_RETURN(Statement statement,
                            transaction.Prepare("SELECT event FROM events ORDER BY sequence"));
    while (true) {
      STASIS_ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) return {};
      const StatusOr<Json> json = ParseJson(statement.Text(0));
      StatusOr<backend::EventMessage> event = json.ok() ? EventFromJson(*json) : json.status();
      if (event.ok()) {
        events.push_back(*std::move(event));
      } else {
        spdlog::warn("an event of the past cannot be read: {}", Message(event.status()));
      }
    }
  }));
  return events;
}

StatusOr<absl::Time> ContainerStore::SupervisorSeen() {
  std::string text;
  STASIS_RETURN_IF_ERROR(database_->Run([&](Transaction& transaction) -> Status {
    STASIS_ASSIGN_OR_RETURN(text, LoadSetting(transaction, "supervisor-seen"));
    return {};
  }));
  if (text.empty()) return absl::InfinitePast();
  return FromRfc3339(text);
}

StatusOr<std::string> ContainerStore::InstallationId() {
  std::string id;
  STASIS_RETURN_IF_ERROR(database_->Run([&](Transaction& transaction) -> Status {
    STASIS_ASSIGN_OR_RETURN(id, LoadSetting(transaction, "installation-id"));
    if (!id.empty()) return {};
    id = RandomHex(16);
    return SaveSetting(transaction, "installation-id", id);
  }));
  return id;
}

}  // namespace stasis::engine
