// Nothing lost, nothing half visible: every change that an operation makes to the store's directory fails in
// turn, once as on a full disk and once as the machine's end, at which all that was not made durable is lost
// or stays, each for itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <thread>
#include <utility>

#include "linux/files.h"
#include "store/collector.h"
#include "store/page_index.h"
#include "store/store_test_support.h"
#include "store/stream_reader.h"
#include "store/verifier.h"
#include "store/writer.h"

namespace stasis::store {
namespace {

using testing::IsEmpty;

constexpr uint32_t kPackPages = 70;  // a block and a part of one

enum class Fault {
  kNone,
  kError,       // the call does nothing, or a write half of it
  kErrorAfter,  // the call does what it should and says that it did not
  kCrash,       // from this call on nothing is done
};

// What a crash leaves of that which was not made durable.
enum class Loss { kAll, kNothing, kChance };

// Counts calls, makes one of them fail, and knows what is durable.
class Disk {
 public:
  explicit Disk(std::string directory) : directory_(std::move(directory)) {}

  Fault fault = Fault::kNone;
  int at = 0;                       // the call that fails
  int meanwhile_at = 0;             // the call before which
  std::function<void()> meanwhile;  // happens

  int calls() const { return calls_; }
  bool published() const { return published_; }  // something, by its name

  Status Call(const std::function<Status()>& act, const std::function<void()>& act_half = nullptr) {
    ++calls_;
    if (calls_ == meanwhile_at) meanwhile();
    const bool now = calls_ == at;
    if (crashed_ || (now && fault != Fault::kNone && fault != Fault::kErrorAfter)) {
      if (!crashed_ && act_half) act_half();
      crashed_ = crashed_ || fault == Fault::kCrash;
      return ErrnoError(ENOSPC, "a test");
    }
    STASIS_RETURN_IF_ERROR(act());
    return now && fault == Fault::kErrorAfter ? ErrnoError(EIO, "a test") : absl::OkStatus();
  }

  void Created(PackId id) {
    names_.push_back({Name::kCreated, id, ""});
    synced_bytes_[id] = 0;
  }
  void Synced(PackId id) { synced_bytes_.erase(id); }
  void Published(PackId id) {
    published_ = true;
    names_.push_back({Name::kPublished, id, ""});
  }
  void Removed(PackId id, std::string bytes) { names_.push_back({Name::kRemoved, id, std::move(bytes)}); }
  void SyncedNames() { names_.clear(); }

  void PowerCut(Loss loss, unsigned seed) {
    std::mt19937 random(seed);
    const auto stays = [&] { return loss == Loss::kNothing || (loss == Loss::kChance && random() % 2 == 0); };
    for (const auto& [id, synced] : synced_bytes_) {
      for (const std::string& path : {Path(PackName(id)), Path(PartialPackName(id))}) {
        if (!Exists(path) || stays()) continue;
        const auto size = static_cast<off_t>(std::filesystem::file_size(path));
        EXPECT_EQ(::truncate(path.c_str(), static_cast<off_t>(synced)), 0);
        if (random() % 2 == 0) {
          EXPECT_EQ(::truncate(path.c_str(), size), 0);
        }
      }
    }
    while (!names_.empty()) {
      const Name name = std::move(names_.back());
      names_.pop_back();
      if (stays()) continue;
      if (name.change == Name::kCreated) ::unlink(Path(PartialPackName(name.id)).c_str());
      if (name.change == Name::kPublished)
        ::rename(Path(PackName(name.id)).c_str(), Path(PartialPackName(name.id)).c_str());
      if (name.change == Name::kRemoved)
        static_cast<void>(WriteFileAtomically(Path(PackName(name.id)), name.bytes));
    }
    const std::string index = directory_ + "/page-index";
    if (stays()) return;
    EXPECT_TRUE(WriteFileAtomically(directory_ + "/.aside-page-index-01234567", "x").ok());
    if (loss == Loss::kAll) {
      ::unlink(index.c_str());
    } else {
      const auto size = static_cast<off_t>(std::filesystem::file_size(index));
      EXPECT_EQ(::truncate(index.c_str(), size / 2), 0);
      EXPECT_EQ(::truncate(index.c_str(), size), 0);
    }
  }

  std::string Path(const std::string& name) const { return PacksPath(directory_) + "/" + name; }

 private:
  struct Name {
    enum Change { kCreated, kPublished, kRemoved } change;
    PackId id;
    std::string bytes;  // of what was removed
  };
  const std::string directory_;
  int calls_ = 0;
  bool crashed_ = false;
  bool published_ = false;
  std::map<PackId, uint64_t> synced_bytes_;  // of files that have more
  std::vector<Name> names_;                  // changes that are not durable
};

// Nothing waits for a real disk: what is durable is ours to say.
class FaultyFile : public NewPackFile {
 public:
  FaultyFile(Disk* disk, PackId id, std::unique_ptr<NewPackFile> file)
      : disk_(disk), id_(id), file_(std::move(file)) {}
  Status Write(std::string_view bytes) override {
    return disk_->Call([&] { return file_->Write(bytes); },
                       [&] { file_->Write(bytes.substr(0, bytes.size() / 2)).IgnoreError(); });
  }
  Status Sync() override {
    return disk_->Call([&] {
      disk_->Synced(id_);
      return absl::OkStatus();
    });
  }

 private:
  Disk* const disk_;
  const PackId id_;
  std::unique_ptr<NewPackFile> file_;
};

class FaultyFiles : public StoreFiles {
 public:
  FaultyFiles(Disk* disk, std::shared_ptr<StoreFiles> files) : disk_(disk), files_(std::move(files)) {}
  const std::string& directory() const override { return files_->directory(); }

  StatusOr<std::unique_ptr<NewPackFile>> Create(PackId id) override {
    std::unique_ptr<NewPackFile> made;
    STASIS_RETURN_IF_ERROR(disk_->Call([&]() -> Status {
      STASIS_ASSIGN_OR_RETURN(std::unique_ptr<NewPackFile> file, files_->Create(id));
      if (disk_->fault == Fault::kErrorAfter && disk_->calls() == disk_->at)
        return files_->RemovePartial(id);  // open(2) either makes a file or fails
      disk_->Created(id);
      made = std::make_unique<FaultyFile>(disk_, id, std::move(file));
      return absl::OkStatus();
    }));
    return made;
  }
  Status Publish(PackId id) override {
    return disk_->Call([&] {
      disk_->Published(id);
      return files_->Publish(id);
    });
  }
  Status SyncPacks() override {
    return disk_->Call([&] {
      disk_->SyncedNames();
      return absl::OkStatus();
    });
  }
  Status MarkDamaged(PackId id, bool damaged) override {
    return disk_->Call([&] { return files_->MarkDamaged(id, damaged); });
  }
  Status Remove(PackId id) override {
    return disk_->Call([&] {
      disk_->Removed(id, *ReadFile(disk_->Path(PackName(id))));
      return files_->Remove(id);
    });
  }
  Status RemovePartial(PackId id) override {
    return disk_->Call([&] { return files_->RemovePartial(id); });
  }

 private:
  Disk* const disk_;
  std::shared_ptr<StoreFiles> files_;
};

class StoreCrashTest : public testing::Test {
 protected:
  using Operation = std::function<Status(const std::shared_ptr<StoreFiles>&)>;
  struct Stream {
    StreamId id;
    std::string bytes;
    uint64_t new_pages = 0;
  };

  void SetUp() override {
    const bool memory = Exists("/dev/shm");  // sooner done
    auto made = TemporaryDirectory::Create(memory ? "/dev/shm" : "/tmp", "store-crash-test-");
    ASSERT_TRUE(made.ok()) << made.status();
    temporary_.emplace(*std::move(made));
    store_ = temporary_->path() + "/store";
    // One pack is all needed, one in part and one not at all.
    kept_.push_back(Put(Random(40, 1)));
    Put(Random(5, 2) + Random(60, 3));
    kept_.push_back(Put(Random(5, 2)));
    Put(garbage_);
    std::filesystem::copy(store_, temporary_->path() + "/as-made", std::filesystem::copy_options::recursive);
    before_ = *ListPacks(store_);
  }

  void Reset() {
    std::filesystem::remove_all(store_);
    std::filesystem::copy(temporary_->path() + "/as-made", store_, std::filesystem::copy_options::recursive);
  }

  static std::shared_ptr<StoreFiles> Files(const std::string& store, Disk* disk) {
    return std::make_shared<FaultyFiles>(disk, *OpenStoreFiles(store));
  }

  static Status Write(const std::shared_ptr<StoreFiles>& files, const std::string& bytes, Stream* stream) {
    STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<Writer> writer, Writer::Start(files, kPackPages));
    STASIS_RETURN_IF_ERROR(writer->Append(bytes));
    STASIS_ASSIGN_OR_RETURN(const StreamId id, writer->EndStream());
    STASIS_RETURN_IF_ERROR(writer->Commit());
    *stream = {id, bytes, writer->new_pages()};
    return absl::OkStatus();
  }

  Stream Put(const std::string& bytes) {
    Stream stream;
    Disk disk(store_);
    const Status status = Write(Files(store_, &disk), bytes, &stream);
    EXPECT_TRUE(status.ok()) << status;
    return stream;
  }

  static std::vector<StreamId> Ids(const std::vector<Stream>& streams) {
    std::vector<StreamId> ids;
    ids.reserve(streams.size());
    for (const Stream& stream : streams) ids.push_back(stream.id);
    return ids;
  }

  void Collect(const std::vector<Stream>& keep) {
    Disk disk(store_);
    auto collected = CollectGarbage(Files(store_, &disk), [&] { return Ids(keep); }, {});
    EXPECT_TRUE(collected.ok()) << collected.status();
  }

  void ExpectWhole(const std::vector<Stream>& streams) {
    auto verifier = Verifier::Open(store_);
    ASSERT_TRUE(verifier.ok()) << verifier.status();
    ASSERT_TRUE((*verifier)->ReadPacks(nullptr, {}).ok());
    EXPECT_THAT((*verifier)->damage(), IsEmpty());
    auto finder = PageFinder::Open(store_);
    ASSERT_TRUE(finder.ok()) << finder.status();
    for (const Stream& stream : streams) {
      const Status checked = (*verifier)->CheckStream(stream.id, {});
      EXPECT_TRUE(checked.ok()) << checked;
      const auto back = ReadShortStream(finder->get(), stream.id, 1 << 30);
      ASSERT_TRUE(back.ok()) << back.status();
      EXPECT_TRUE(*back == stream.bytes);
    }
  }

  bool HasPartial() {
    const std::vector<std::string> names = *ListDirectory(PacksPath(store_));
    return std::any_of(names.begin(), names.end(), [](const auto& name) { return name.starts_with("."); });
  }

  uint32_t PagesInPacks() {
    uint32_t pages = 0;
    const std::vector<PackId> ids = *ListPacks(store_);
    for (const PackId id : ids) {
      auto pack = Pack::Open(store_, id);
      EXPECT_TRUE(pack.ok()) << pack.status();
      pages += pack.ok() ? (*pack)->pages() : 0;
    }
    return pages;
  }

  // What has to be true of a store after anything.
  void ExpectUsable(std::vector<Stream> streams) {
    ExpectWhole(streams);
    streams.push_back(Put(garbage_ + written_));
    Collect(streams);
    EXPECT_FALSE(HasPartial());
    EXPECT_FALSE(Exists(store_ + "/.aside-page-index-01234567"));
    ExpectWhole(streams);
    Collect(kept_);
    ExpectWhole(kept_);
    EXPECT_LE(PagesInPacks(), 2u * (40 + 5 + 3));
    Collect({});
    EXPECT_THAT(*ListDirectory(PacksPath(store_)), IsEmpty());
  }

  // `operation` with each fault at each of its calls; then `check`, which is told of its result.
  void FailEachCall(const Operation& operation, const std::function<void(const Disk&, Fault, bool)>& check) {
    struct Try {
      Fault fault;
      Loss loss = Loss::kNothing;
    };
    for (const Try& with : {Try{Fault::kError}, Try{Fault::kErrorAfter}, Try{Fault::kCrash, Loss::kAll},
                            Try{Fault::kCrash, Loss::kNothing}, Try{Fault::kCrash, Loss::kChance}}) {
      for (int n = 1;; ++n) {
        SCOPED_TRACE(testing::Message() << "fault " << static_cast<int>(with.fault) << " loss "
                                        << static_cast<int>(with.loss) << " at call " << n);
        Reset();
        Disk disk(store_);
        disk.fault = with.fault;
        disk.at = n;
        const Status status = operation(Files(store_, &disk));
        const bool untouched = disk.calls() < n;
        EXPECT_TRUE(status.ok() || !untouched) << status;
        if (with.fault == Fault::kCrash) disk.PowerCut(with.loss, static_cast<unsigned>(n));
        check(disk, with.fault, status.ok());
        if (untouched || HasFailure()) break;
      }
    }
  }

  // `meanwhile` before each call of `operation`, which then goes on, or fails there or at the next call.
  void MeetAtEachCall(const Operation& operation, const std::function<void()>& meanwhile,
                      const std::function<void(Fault, bool)>& check) {
    struct Try {
      Fault fault;
      int later = 0;
    };
    for (const Try& with :
         {Try{Fault::kNone}, Try{Fault::kError}, Try{Fault::kError, 1}, Try{Fault::kErrorAfter}}) {
      for (int n = 1;; ++n) {
        SCOPED_TRACE(testing::Message()
                     << "fault " << static_cast<int>(with.fault) << " at call " << n << " + " << with.later);
        Reset();
        Disk disk(store_);
        disk.fault = with.fault;
        disk.at = n + with.later;
        disk.meanwhile_at = n;
        disk.meanwhile = meanwhile;
        const Status status = operation(Files(store_, &disk));
        if (disk.calls() < n) break;
        EXPECT_TRUE(status.ok() || with.fault != Fault::kNone) << status;
        check(with.fault, status.ok());
        if (HasFailure()) return;
      }
    }
  }

  std::optional<TemporaryDirectory> temporary_;
  std::string store_;
  std::vector<Stream> kept_;
  std::vector<PackId> before_;
  const std::string garbage_ = Random(30, 4);
  const std::string written_ = Random(10, 1) + Random(75, 5) + std::string(20 * kPageBytes, 'x');
};

TEST_F(StoreCrashTest, AWriterThatFailsAnywhereLeavesTheStoreAsItWas) {
  Stream written;
  FailEachCall([&](const auto& files) { return Write(files, written_, &written); },
               [&](const Disk& disk, Fault fault, bool succeeded) {
                 if (fault != Fault::kCrash) {
                   EXPECT_TRUE(!HasPartial());
                   EXPECT_TRUE(disk.published() || *ListPacks(store_) == before_);
                 }
                 std::vector<Stream> streams = kept_;
                 if (succeeded) streams.push_back(written);
                 ExpectUsable(streams);
               });
}

TEST_F(StoreCrashTest, ACollectorThatFailsAnywhereLosesNothing) {
  FailEachCall(
      [&](const auto& files) { return CollectGarbage(files, [&] { return Ids(kept_); }, {}).status(); },
      [&](const Disk&, Fault fault, bool) {
        EXPECT_TRUE(fault == Fault::kCrash || !HasPartial());
        ExpectUsable(kept_);
      });
}

TEST_F(StoreCrashTest, AWriterCountsOnNothingOfOneThatFails) {
  Stream first;
  std::vector<Stream> streams;
  MeetAtEachCall([&](const auto& files) { return Write(files, written_, &first); },
                 [&] {
                   streams = kept_;
                   streams.push_back(Put(written_));
                   Collect(streams);
                 },
                 [&](Fault, bool succeeded) {
                   EXPECT_FALSE(HasPartial());
                   if (succeeded) streams.push_back(first);
                   Collect(streams);
                   ExpectUsable(streams);
                 });
}

TEST_F(StoreCrashTest, ACollectionMeetsAWriterAnywhere) {
  Stream written;
  MeetAtEachCall([&](const auto& files) { return Write(files, garbage_ + written_, &written); },
                 [&] { Collect(kept_); },
                 [&](Fault, bool succeeded) {
                   EXPECT_FALSE(HasPartial());
                   std::vector<Stream> streams = kept_;
                   if (succeeded) {
                     streams.push_back(written);
                     // The collection made the index anew: what it lacked was put in at the commit.
                     EXPECT_EQ(Put(garbage_ + written_).new_pages, 0u);
                   }
                   Collect(streams);
                   ExpectUsable(streams);
                 });
}

TEST_F(StoreCrashTest, AWriterMeetsACollectionAnywhere) {
  std::vector<Stream> streams;
  MeetAtEachCall(
      [&](const auto& files) {
        streams = kept_;
        return CollectGarbage(files, [&] { return Ids(streams); }, {}).status();
      },
      [&] { streams.push_back(Put(garbage_ + written_)); },
      [&](Fault, bool) {
        EXPECT_FALSE(HasPartial());
        ExpectUsable(streams);
      });
}

TEST_F(StoreCrashTest, HintsSurviveAnIndexThatIsBeingReplaced) {
  std::jthread writer;
  {
    auto lock = PageIndexLock::Take(store_);
    ASSERT_TRUE(lock.ok()) << lock.status();
    // One that was made by who has looked which packs there are before the writer's had their names, and that
    // comes in its place afterwards.
    const std::string made = temporary_->path() + "/page-index";
    std::filesystem::copy_file(store_ + "/page-index", made);
    writer = std::jthread([&] { Put(written_); });
    while (ListPacks(store_)->size() == before_.size()) std::this_thread::yield();
    std::filesystem::rename(made, store_ + "/page-index");
  }
  writer.join();
  EXPECT_EQ(Put(written_).new_pages, 0u);
}

TEST_F(StoreCrashTest, DamageThatCannotBeNotedIsToldAllTheSame) {
  const std::string path = PacksPath(store_) + "/" + PackName(before_.front());
  const auto file = OpenFile(path, O_RDWR);
  ASSERT_TRUE(file.ok() && WriteAllAt(file->get(), "damage", sizeof(PackHeader)).ok());
  Disk disk(store_);
  disk.fault = Fault::kError;
  disk.at = 1;
  const auto verifier = Verifier::Open(Files(store_, &disk));
  ASSERT_TRUE(verifier.ok()) << verifier.status();
  ASSERT_TRUE((*verifier)->ReadPacks(nullptr, {}).ok());
  ASSERT_EQ((*verifier)->damage().size(), 2u);
  EXPECT_NE((*verifier)->damage()[0].find("block 0 is damaged"), std::string::npos);
  EXPECT_NE((*verifier)->damage()[1].find("cannot be noted"), std::string::npos);
}

TEST_F(StoreCrashTest, AnIdIsTakenUnderEitherName) {
  auto files = *OpenStoreFiles(store_);
  const PackId id = before_.front();
  EXPECT_TRUE(absl::IsAlreadyExists(files->Create(id).status()));
  EXPECT_FALSE(HasPartial());
  ExpectWhole(kept_);
  const auto partial = files->Create(7);
  ASSERT_TRUE(partial.ok()) << partial.status();
  EXPECT_TRUE(absl::IsAlreadyExists(files->Create(7).status()));
  EXPECT_TRUE(HasPartial());
}

}  // namespace
}  // namespace stasis::store
