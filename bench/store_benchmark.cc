// What the page store costs, on 256 MiB. docs/adr/0006 has figures, and what was chosen by them.
//
//   cmake --build --preset release --target store_benchmark && build/release/bin/store_benchmark
//   STASIS_BENCH_FILE=FILE   these bytes instead: the memory of a process, say
//   STASIS_BENCH_DIR=DIR     where the store is made (default /tmp)
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>

#include "linux/files.h"
#include "store/stream_reader.h"
#include "store/writer.h"

namespace stasis::store {
namespace {

constexpr size_t kBytes = 256 << 20;

[[noreturn]] void Fail(const Status& status) {
  std::cerr << status << "\n";
  std::exit(1);
}

template <typename T>
T Must(StatusOr<T> value) {
  if (!value.ok()) Fail(value.status());
  return *std::move(value);
}

void Must(const Status& status) {
  if (!status.ok()) Fail(status);
}

// By turns 1 MiB that cannot be compressed, and 1 MiB as programs have it: small numbers, pointers into one
// heap, text.
std::string MakeBytes() {
  std::mt19937_64 random(1);
  std::string bytes(kBytes, '\0');
  for (size_t at = 0; at < kBytes; at += 8) {
    uint64_t word = random();
    if (at / (1 << 20) % 2 == 1) {
      const uint64_t kind = at / kPageBytes % 3;
      if (kind == 0) word = word % 1000;
      if (kind == 1) word = 0x7f12'3400'0000 + word % (1 << 24) * 16;
      if (kind == 2) {
        static constexpr char kText[] =
            "the quick brown fox jumps over the lazy dog and runs away from it again ";
        std::memcpy(&word, kText + word % 9 * 8, sizeof word);
      }
    }
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  return bytes;
}

const std::string& Bytes() {
  static const std::string bytes = [] {
    const char* file = std::getenv("STASIS_BENCH_FILE");
    std::string read = file == nullptr ? MakeBytes() : Must(ReadFile(file, 4ull << 30));
    read.resize(read.size() / kPageBytes * kPageBytes);
    return read;
  }();
  return bytes;
}

class Store {
 public:
  Store() {
    const char* parent = std::getenv("STASIS_BENCH_DIR");
    temporary_.emplace(
        Must(TemporaryDirectory::Create(parent == nullptr ? "/tmp" : parent, "store-benchmark-")));
  }
  const std::string& directory() const { return temporary_->path(); }

  StreamId Put(uint64_t* stored) {
    const auto writer = Must(Writer::Start(directory()));
    for (size_t at = 0; at < Bytes().size(); at += 1 << 20)
      Must(writer->Append(std::string_view(Bytes()).substr(at, 1 << 20)));
    const StreamId stream = Must(writer->EndStream());
    Must(writer->Commit());
    *stored = writer->stored_bytes();
    return stream;
  }

 private:
  std::optional<TemporaryDirectory> temporary_;
};

void Count(benchmark::State& state) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * Bytes().size()));
}

void Hash(benchmark::State& state) {
  PageHasher hasher;
  for (auto unused : state) {
    for (size_t at = 0; at < Bytes().size(); at += kPageBytes)
      benchmark::DoNotOptimize(hasher.Hash(Bytes().data() + at));
  }
  Count(state);
}
BENCHMARK(Hash)->Unit(benchmark::kMillisecond);

void Write(benchmark::State& state) {
  uint64_t stored = 0;
  for (auto unused : state) {
    state.PauseTiming();
    auto store = std::make_unique<Store>();
    state.ResumeTiming();
    store->Put(&stored);
    state.PauseTiming();
    store.reset();
    state.ResumeTiming();
  }
  Count(state);
  state.counters["stored_MiB"] = static_cast<double>(stored) / (1 << 20);
}
BENCHMARK(Write)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime()->Iterations(5);

void WriteAgain(benchmark::State& state) {
  Store store;
  uint64_t stored;
  store.Put(&stored);
  for (auto unused : state) store.Put(&stored);
  Count(state);
}
BENCHMARK(WriteAgain)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime()->Iterations(5);

void Read(benchmark::State& state) {
  Store store;
  uint64_t stored;
  const StreamId stream = store.Put(&stored);
  for (auto unused : state) {
    const auto finder = Must(PageFinder::Open(store.directory()));
    const UniqueFd file = Must(OpenFile(store.directory(), O_RDWR | O_TMPFILE, 0600));
    Must(StreamReader(finder.get()).Read(stream, file.get(), nullptr, {}));
  }
  Count(state);
}
BENCHMARK(Read)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime()->Iterations(5);

// ---- levels of zstd and pages in a block: one thread, no disk

void Compress(benchmark::State& state) {
  const auto level = static_cast<int>(state.range(0));
  const size_t block = static_cast<size_t>(state.range(1)) * kPageBytes;
  std::string out(::ZSTD_compressBound(block), '\0');
  size_t stored = 0;
  for (auto unused : state) {
    stored = 0;
    for (size_t at = 0; at < Bytes().size(); at += block) {
      const size_t size = std::min(block, Bytes().size() - at);
      stored += std::min(size, ::ZSTD_compress(out.data(), out.size(), Bytes().data() + at, size, level));
    }
  }
  Count(state);
  state.counters["stored_MiB"] = static_cast<double>(stored) / (1 << 20);
}
BENCHMARK(Compress)->ArgsProduct({{-1, 1, 3}, {16, 64, 256}})->Unit(benchmark::kMillisecond)->Iterations(2);

// One page that nobody else of its block wants.
void ReadOnePage(benchmark::State& state) {
  const auto level = static_cast<int>(state.range(0));
  const size_t block = static_cast<size_t>(state.range(1)) * kPageBytes;
  std::vector<std::string> blocks;
  for (size_t at = 0; at + block <= Bytes().size() && blocks.size() < 64; at += (1 << 20) + block) {
    std::string out(::ZSTD_compressBound(block), '\0');
    out.resize(::ZSTD_compress(out.data(), out.size(), Bytes().data() + at, block, level));
    blocks.push_back(std::move(out));
  }
  std::string page(block, '\0');
  size_t next = 0;
  for (auto unused : state) {
    const std::string& from = blocks[next++ % blocks.size()];
    Sha256 sha256;
    sha256.Update(from);
    benchmark::DoNotOptimize(sha256.FinishBytes());
    ::ZSTD_decompress(page.data(), page.size(), from.data(), from.size());
  }
}
BENCHMARK(ReadOnePage)->ArgsProduct({{1}, {16, 64, 256}})->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace stasis::store

BENCHMARK_MAIN();
