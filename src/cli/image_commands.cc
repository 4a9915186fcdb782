// stasis import, stasis load: bytes up, messages down.
#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "cli/target.h"

namespace stasis::cli {
namespace {

// Sends `input` as the body and shows the daemon's messages.
Status Upload(const ApiClient& client, const std::string& target, const UniqueFd& input, bool quiet) {
  Request request{.method = "POST", .target = target, .body = Json()};
  request.upload = ReadFrom(input);
  ProgressReader progress;
  auto show = [&](const std::string& text) {
    if (!quiet) Print(text);
  };
  STASIS_RETURN_IF_ERROR(
      client.Stream(request, [&](std::string_view bytes) { return progress.Feed(bytes, show); }));
  return progress.Finish(show);
}

}  // namespace

void AddImport(CLI::App& app, Action* action) {
  struct Options {
    std::string file;
    std::string reference;
    std::string message;
    std::vector<std::string> changes;
  };
  CLI::App* import = app.add_subcommand("import", "Make an image of an archive of a root file system");
  auto options = std::make_shared<Options>();
  import->add_option("file", options->file, "The archive, or - for stdin")->required();
  import->add_option("repository", options->reference, "REPOSITORY[:TAG]");
  import->add_option("-m,--message", options->message, "Say this in the image's history");
  AddRepeated(*import, "-c,--change", options->changes,
              "A Dockerfile instruction, such as CMD [\"/bin/sh\"]");
  import->callback([=] {
    *action = [=](const ApiClient& client) {
      auto input = OpenInput(options->file);
  if (!input.ok()) return Report(input.status());
  const size_t slash = options->reference.rfind('/');
  const size_t colon = options->reference.rfind(':');
  const bool has_tag = colon != std::string::npos && (slash == std::string::npos || colon > slash);
  Query query = {{"fromSrc", "-"},
                 {"repo", options->reference.substr(0, has_tag ? colon : std::string::npos)},
                 {"tag", has_tag ? options->reference.substr(colon + 1) : ""},
                 {"message", options->message}};
  for (const std::string& change : options->changes) query.emplace_back("changes", change);
  return Report(Upload(client, Target({"images", "create"}, query), *input, false));
};
}  // namespace stasis::cli
);
}

void AddLoad(CLI::App& app, Action* action) {
  CLI::App* load = app.add_subcommand("load", "Load images from an archive of docker save or an OCI layout");
  auto file = std::make_shared<std::string>("-");
  auto quiet = std::make_shared<bool>(false);
  load->add_option("-i,--input", *file, "The archive, instead of stdin");
  load->add_flag("-q,--quiet", *quiet, "Say nothing");
  load->callback([=] {
    *action = [=](const ApiClient& client) {
      auto input = OpenInput(*file);
      if (!input.ok()) return Report(input.status());
      return Report(
          Upload(client, Target({"images", "load"}, {{"quiet", *quiet ? "1" : ""}}), *input, *quiet));
    };
  });
}

}  // namespace stasis::cli
