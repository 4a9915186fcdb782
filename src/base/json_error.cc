#include "base/json_error.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"

namespace stasis {
namespace {

// The functions return false where they stop at a fault, which is then told in error_.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::string Run() {
    if (!Value()) return error_;
    SkipBlanks();
    return std::string(AtEnd() ? "" : kContentAfterJson);
  }

 private:
  bool AtEnd() const { return at_ == text_.size(); }
  bool NextIs(char c) const { return !AtEnd() && text_[at_] == c; }
  bool NextIsDigit() const { return !AtEnd() && absl::ascii_isdigit(static_cast<unsigned char>(text_[at_])); }

  bool Take(char c) {
    if (!NextIs(c)) return false;
    ++at_;
    return true;
  }

  void SkipBlanks() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  void SkipDigits() {
    while (NextIsDigit()) ++at_;
  }

  bool Fail(std::string_view where) {
    if (AtEnd()) {
      error_ = "unexpected EOF";
      return false;
    }
    const std::string c(text_.substr(at_, 1));
    error_ = "invalid character '" + (c == "\"" ? c : absl::CHexEscape(c)) + "' " + std::string(where);
    return false;
  }

  bool Value() {
    SkipBlanks();
    if (Take('{')) return Object();
    if (Take('[')) return Array();
    if (Take('"')) return String();
    if (NextIs('t')) return Literal("true");
    if (NextIs('f')) return Literal("false");
    if (NextIs('n')) return Literal("null");
    if (NextIs('-') || NextIsDigit()) return Number();
    return Fail("looking for beginning of value");
  }

  bool Object() {
    SkipBlanks();
    if (Take('}')) return true;
    for (;;) {
      SkipBlanks();
      if (!Take('"')) return Fail("looking for beginning of object key string");
      if (!String()) return false;
      SkipBlanks();
      if (!Take(':')) return Fail("after object key");
      if (!Value()) return false;
      SkipBlanks();
      if (Take('}')) return true;
      if (!Take(',')) return Fail("after object key:value pair");
    }
  }

  bool Array() {
    SkipBlanks();
    if (Take(']')) return true;
    for (;;) {
      if (!Value()) return false;
      SkipBlanks();
      if (Take(']')) return true;
      if (!Take(',')) return Fail("after array element");
    }
  }

  bool String() {
    while (!Take('"')) {
      if (AtEnd() || static_cast<unsigned char>(text_[at_]) < 0x20) return Fail("in string literal");
      if (text_[at_++] == '\\' && !Escape()) return false;
    }
    return true;
  }

  bool Escape() {
    if (!Take('u')) {
      if (AtEnd() || std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
        return Fail("in string escape code");
      }
      ++at_;
      return true;
    }
    for (int i = 0; i < 4; ++i, ++at_) {
      if (AtEnd() || !absl::ascii_isxdigit(static_cast<unsigned char>(text_[at_]))) {
        return Fail("in \\u hexadecimal character escape");
      }
    }
    return true;
  }

  bool Number() {
    Take('-');
    if (!Take('0')) {
      if (!NextIsDigit()) return Fail("in numeric literal");
      SkipDigits();
    }
    if (Take('.')) {
      if (!NextIsDigit()) return Fail("after decimal point in numeric literal");
      SkipDigits();
    }
    if (Take('e') || Take('E')) {
      if (!Take('+')) Take('-');
      if (!NextIsDigit()) return Fail("in exponent of numeric literal");
      SkipDigits();
    }
    return true;
  }

  bool Literal(std::string_view word) {
    for (const char c : word) {
      if (!Take(c)) return Fail("in literal " + std::string(word) + " (expecting '" + c + "')");
    }
    return true;
  }

  const std::string_view text_;
  size_t at_ = 0;
  std::string error_;
};

}  // namespace

std::string DescribeJsonError(std::string_view text) { return Scanner(text).Run(); }

}  // namespace stasis
