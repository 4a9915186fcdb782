// stasis ps, stasis images.
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/create_options.h"
#include "cli/list_output.h"
#include "cli/target.h"

namespace stasis::cli {
namespace {

struct PsOptions {
  bool all = false;
  bool last_one = false;
  int last = 0;
  ListForm form;
  std::vector<std::string> filters;
};

Status ShowContainers(const ApiClient& client, const PsOptions& options) {
  const int limit = options.last_one ? 1 : options.last;
  STASIS_ASSIGN_OR_RETURN(std::string filters, FiltersParameter(options.filters));
  const Query query = {{"all", options.all ? "1" : ""},
                       {"limit", limit > 0 ? std::to_string(limit) : ""},
                       {"filters", filters}};
  STASIS_ASSIGN_OR_RETURN(Json list, client.Call({"GET", Target({"containers", "json"}, query), Json()}));
  STASIS_ASSIGN_OR_RETURN(std::string text, ContainerList(list, options.form, absl::Now()));
  Print(text);
  return absl::OkStatus();
}

struct ImagesOptions {
  std::string reference;
  bool all = false;
  ListForm form;
  std::vector<std::string> filters;
};

Status ShowImages(const ApiClient& client, const ImagesOptions& options) {
  std::vector<std::string> all_filters = options.filters;
  if (!options.reference.empty()) all_filters.push_back("reference=" + options.reference);
  STASIS_ASSIGN_OR_RETURN(std::string filters, FiltersParameter(all_filters));
  const Query query = {{"all", options.all ? "1" : ""}, {"filters", filters}};
  STASIS_ASSIGN_OR_RETURN(Json list, client.Call({"GET", Target({"images", "json"}, query), Json()}));
  STASIS_ASSIGN_OR_RETURN(std::string text, ImageList(list, options.form, absl::Now()));
  Print(text);
  return absl::OkStatus();
}

void AddForm(CLI::App& command, ListForm& form, std::string& format) {
  command.add_flag("-q,--quiet", form.quiet, "Only ids");
  command.add_flag("--no-trunc", form.whole, "Do not shorten");
  AddFormat(command, format);
}

}  // namespace

void AddPs(CLI::App& app, Action* action) {
  CLI::App* ps = app.add_subcommand("ps", "List containers");
  auto options = std::make_shared<PsOptions>();
  auto format = std::make_shared<std::string>("table");
  ps->add_flag("-a,--all", options->all, "Those that do not run, too");
  ps->add_flag("-l,--latest", options->last_one, "The one created last");
  ps->add_option("-n,--last", options->last, "So many created last");
  AddRepeated(*ps, "-f,--filter", options->filters, "NAME=VALUE: id, name, status, label");
  AddForm(*ps, options->form, *format);
  ps->callback([=] {
    *action = [=](const ApiClient& client) {
      options->form.json = *format == "json";
      return Report(ShowContainers(client, *options));
    };
  });
}

void AddImages(CLI::App& app, Action* action) {
  CLI::App* images = app.add_subcommand("images", "List images");
  auto options = std::make_shared<ImagesOptions>();
  auto format = std::make_shared<std::string>("table");
  images->add_option("repository", options->reference, "Only this REPOSITORY[:TAG]");
  images->add_flag("-a,--all", options->all, "Also those without a name that others are made of");
  AddRepeated(*images, "-f,--filter", options->filters, "NAME=VALUE");
  AddForm(*images, options->form, *format);
  images->callback([=] {
    *action = [=](const ApiClient& client) {
      options->form.json = *format == "json";
      return Report(ShowImages(client, *options));
    };
  });
}

}  // namespace stasis::cli
