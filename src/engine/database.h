// SQLite, as far as the engine needs it: one connection, statements with checked binding, transactions, and
// migrations by user_version.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace stasis::engine {

class Database;

// One statement being run inside a transaction. Parameters are numbered from 1, columns from 0.
class Statement {
 public:
  Statement(Statement&& other) noexcept : statement_(other.statement_), database_(other.database_) {
    other.statement_ = nullptr;
  }
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  Statement& Bind(int parameter, std::string_view text);
  Statement& Bind(int parameter, int64_t number);
  // True: there is a row. False: done.
  StatusOr<bool> Step();
  std::string Text(int column) const;
  int64_t Number(int column) const;

 private:
  friend class Transaction;
  Statement(sqlite3_stmt* statement, sqlite3* database) : statement_(statement), database_(database) {}
  sqlite3_stmt* statement_;
  sqlite3* database_;
};

// The inside of Database::Run.
class Transaction {
 public:
  StatusOr<Statement> Prepare(std::string_view sql);
  // One or more statements without parameters or rows.
  Status Execute(const std::string& sql);

 private:
  friend class Database;
  explicit Transaction(sqlite3* database) : database_(database) {}
  sqlite3* database_;
};

// Thread-safe; one transaction at a time.
class Database {
 public:
  // Opens or makes the file (WAL, synchronous FULL: what Run reports as done survives a kill and a power
  // cut). Then applies migrations[user_version..] one by one, each in a transaction together with the new
  // user_version. kFailedPrecondition when the file is of a newer program than this; kDataLoss when it is
  // damaged: every page was looked at. The file is locked for other processes as long as it is open, and
  // needs no shared memory beside it, so that it opens on a full disk.
  static StatusOr<std::unique_ptr<Database>> Open(const std::string& path,
                                                  const std::vector<std::string>& migrations);
  ~Database();
  // Renames the files of a database that is not open, so that Open makes a new one; returns the new path.
  static StatusOr<std::string> SetAside(const std::string& path);

  // Runs `body` in a transaction: committed when it returns ok, rolled back otherwise.
  Status Run(const std::function<Status(Transaction&)>& body);

 private:
  explicit Database(sqlite3* database) : database_(database) {}
  Status CheckPages();
  Status Migrate(const std::vector<std::string>& migrations);

  std::mutex mutex_;
  sqlite3* database_;
};

}  // namespace stasis::engine
