#include "engine/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "linux/files.h"
#include "linux/regular_file.h"

namespace stasis::engine {
namespace {

Status SqliteError(sqlite3* database, std::string_view what) {
  const int code = sqlite3_errcode(database);
  const std::string message = std::string(what) + ": " + sqlite3_errmsg(database);
  switch (code) {
    case SQLITE_CONSTRAINT:
      return AlreadyExists(message);
    case SQLITE_FULL:
      return MakeError(StatusCode::kResourceExhausted, message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DataLoss(message);
    default:
      return Internal(message);
  }
}

}  // namespace

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::Bind(int parameter, std::string_view text) {
  sqlite3_bind_text(statement_, parameter, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
  return *this;
}

Statement& Statement::Bind(int parameter, int64_t number) {
  sqlite3_bind_int64(statement_, parameter, number);
  return *this;
}

StatusOr<bool> Statement::Step() {
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return SqliteError(database_, "database");
}

std::string Statement::Text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_, column);
  if (!text) return "";
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

int64_t Statement::Number(int column) const { return sqlite3_column_int64(statement_, column); }

StatusOr<Statement> Transaction::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr) !=
      SQLITE_OK) {
    return SqliteError(database_, "database: prepare");
  }
  return Statement(statement, database_);
}

Status Transaction::Execute(const std::string& sql) {
  if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return SqliteError(database_, "database");
  }
  return {};
}

StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                   const std::vector<std::string>& migrations) {
  // It holds what containers keep in their environment. SQLite gives its other files the mode of the first.
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    const std::string file = path + suffix;
    if (suffix[0] != '\0' && !Exists(file)) continue;
    STASIS_ASSIGN_OR_RETURN(const UniqueFd opened, OpenRegularFile(file, O_RDWR | O_CREAT, 0600));
    if (::fchmod(opened.get(), 0600) != 0) return ErrnoError(errno, "chmod " + file);
  }
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
  const int result = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  std::unique_ptr<Database> database(new Database(handle));
  if (result != SQLITE_OK) return SqliteError(handle, "open " + path);
  sqlite3_busy_timeout(handle, 5000);
  Transaction outside(handle);
  STASIS_RETURN_IF_ERROR(Annotate(outside.Execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                                                  "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON"),
                                  path));
  STASIS_RETURN_IF_ERROR(Annotate(database->CheckPages(), path));
  STASIS_RETURN_IF_ERROR(Annotate(database->Migrate(migrations), path));
  return database;
}

StatusOr<std::string> Database::SetAside(const std::string& path) {
  const std::string aside =
      path + ".damaged-" + absl::FormatTime("%Y%m%dT%H%M%S", absl::Now(), absl::UTCTimeZone());
  for (const char* suffix : {"", "-wal", "-shm"}) {
    if (::rename((path + suffix).c_str(), (aside + suffix).c_str()) != 0 && errno != ENOENT)
      return ErrnoError(errno, "rename " + path + suffix);
  }
  return aside;
}

Status Database::CheckPages() {
  std::string found;
  STASIS_RETURN_IF_ERROR(Run([&](Transaction& transaction) -> Status {
    STASIS_ASSIGN_OR_RETURN(Statement statement, transaction.Prepare("PRAGMA quick_check(1)"));
    STASIS_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (row) found = statement.Text(0);
    return {};
  }));
  return found == "ok" ? Status() : DataLoss("the database is damaged: " + found);
}

Database::~Database() { sqlite3_close_v2(database_); }

Status Database::Migrate(const std::vector<std::string>& migrations) {
  int64_t version = 0;
  STASIS_RETURN_IF_ERROR(Run([&](Transaction& transaction) -> Status {
    STASIS_ASSIGN_OR_RETURN(Statement statement, transaction.Prepare("PRAGMA user_version"));
    STASIS_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (row) version = statement.Number(0);
    return {};
  }));
  if (version > static_cast<int64_t>(migrations.size())) {
    return FailedPrecondition(absl::StrCat("its format is ", version, ", this program knows up to ",
                                           migrations.size(), ": start the newer one again"));
  }
  for (size_t next = static_cast<size_t>(version); next < migrations.size(); ++next) {
    STASIS_RETURN_IF_ERROR(Run([&](Transaction& transaction) -> Status {
      STASIS_RETURN_IF_ERROR(transaction.Execute(migrations[next]));
      return transaction.Execute(absl::StrCat("PRAGMA user_version=", next + 1));
    }));
  }
  return {};
}

Status Database::Run(const std::function<Status(Transaction&)>& body) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  STASIS_RETURN_IF_ERROR(transaction.Execute("BEGIN IMMEDIATE"));
  Status status = body(transaction);
  if (status.ok()) status = transaction.Execute("COMMIT");
  if (!status.ok()) {
    // A failed ROLLBACK leaves nothing to do: the transaction is then over already.
    transaction.Execute("ROLLBACK").IgnoreError();
  }
  return status;
}

}  // namespace stasis::engine
