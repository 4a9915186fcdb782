// The daemon's messages while it loads or imports an image: one JSON object a line, {"status": ...} or
// {"stream": ...}, and {"error": ...} at a failure (API document, ImageCreate and ImageLoad).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace stasis::cli {

class ProgressReader {
 public:
  using Show = std::function<void(const std::string& text)>;

  // Hands the text of each whole message to `show`, with its newline. kInternal: the message is an error.
  // Lines that are no such message are left out.
  Status Feed(std::string_view bytes, const Show& show);
  // The last line, which need not have a newline.
  Status Finish(const Show& show);

 private:
  Status Line(std::string_view line, const Show& show);
  std::string partial_;
};

}  // namespace stasis::cli
