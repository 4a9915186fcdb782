#include "engine/random_name.h"

#include <array>
#include <charconv>
#include <string_view>

#include "linux/random_hex.h"

namespace stasis::engine {
namespace {

constexpr std::array<std::string_view, 64> kAdjectives = {
    "able",    "amber",    "bold",    "brave",  "bright",  "brisk",  "calm",     "candid",
    "careful", "cheerful", "clear",   "clever", "cosmic",  "crisp",  "curious",  "daring",
    "deft",    "eager",    "earnest", "easy",   "elegant", "fair",   "fearless", "fluent",
    "focused", "fond",     "frank",   "gentle", "glad",    "golden", "graceful", "happy",
    "hardy",   "honest",   "hopeful", "humble", "jolly",   "keen",   "kind",     "lively",
    "loyal",   "lucid",    "mellow",  "merry",  "modest",  "nimble", "noble",    "patient",
    "placid",  "polite",   "proud",   "quiet",  "ready",   "serene", "sharp",    "silent",
    "sincere", "steady",   "still",   "sunny",  "tender",  "tidy",   "vivid",    "wise"};

constexpr std::array<std::string_view, 64> kSurnames = {
    "abel",      "agnesi",     "ampere",       "babbage", "banach",   "bell",    "bernoulli", "bohr",
    "boole",     "bose",       "brahe",        "cantor",  "carson",   "cauchy",  "church",    "codd",
    "conway",    "copernicus", "curie",        "darwin",  "dijkstra", "dirac",   "einstein",  "erdos",
    "euclid",    "euler",      "faraday",      "fermat",  "fermi",    "feynman", "franklin",  "galileo",
    "galois",    "gauss",      "germain",      "goedel",  "hamilton", "hamming", "hilbert",   "hopper",
    "hypatia",   "kepler",     "kovalevskaya", "lamarr",  "lamport",  "leibniz", "liskov",    "lovelace",
    "maxwell",   "meitner",    "mendel",       "newton",  "noether",  "pascal",  "planck",    "poincare",
    "ramanujan", "ritchie",    "shannon",      "tesla",   "thompson", "turing",  "volta",     "wiles"};

}  // namespace

std::string MadeUpName(uint64_t random, int attempt) {
  std::string name(kAdjectives[random % kAdjectives.size()]);
  name += '_';
  name += kSurnames[(random >> 8) % kSurnames.size()];
  if (attempt >= 3) name += std::to_string((random >> 16) % 10);
  return name;
}

uint64_t RandomNumber() {
  const std::string hex = RandomHex(8);
  uint64_t number = 0;
  std::from_chars(hex.data(), hex.data() + hex.size(), number, 16);
  return number;
}

}  // namespace stasis::engine
