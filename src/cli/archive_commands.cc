#include "cli/archive_commands.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "cli/checkpoint_report.h"
#include "cli/input.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/terminal.h"
#include "linux/files.h"
#include "manifest/checkpoint_directory.h"
#include "transfer/checkpoint_archive.h"

namespace stasis::cli {
namespace {

struct ArchiveOptions {
  std::string container;
  std::string name;
  std::string directory;
};

Status Export(const ApiClient& client, const ArchiveOptions& options) {
  if (IsTerminal(STDOUT_FILENO))
    return InvalidArgument("an archive is not written to a terminal: redirect the output to a file");
  const Query query = {{"dir", options.directory}};
  const std::string target =
      options.container.empty()
          ? Target({"checkpoints", options.name, "export"}, query)
          : Target({"containers", options.container, "checkpoints", options.name, "export"}, query);
  bool begun = false;
  const Status status = client.Stream({"GET", target, Json()}, [&](std::string_view bytes) {
    begun = true;
    return WriteAll(STDOUT_FILENO, bytes);
  });
  return begun ? Annotate(status, "the archive is not whole") : status;
}

Status Import(const ApiClient& client, const ArchiveOptions& options) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd input, OpenInput("-"));
  const Query query = {{"container", options.container}, {"name", options.name}, {"dir", options.directory}};
  Request request{.method = "POST", .target = Target({"checkpoints", "import"}, query), .body = Json()};
  request.upload = ReadFrom(input);
  request.upload_type = "application/zstd";
  STASIS_ASSIGN_OR_RETURN(const Json answer, client.Call(request));
  std::string name;
  JsonReader reader(answer, "import");
  reader.Get("Name", &name);
  STASIS_RETURN_IF_ERROR(reader.status());
  Print(name + "\n");
  return absl::OkStatus();
}

// ---- show: without an engine

StatusOr<std::string> ReportOf(const StatusOr<Manifest>& manifest) {
  STASIS_RETURN_IF_ERROR(manifest.status());
  STASIS_ASSIGN_OR_RETURN(const Json json, ParseJson(ToText(*manifest)));
  return CheckpointReport(json);
}

// A checkpoint's directory, or one with checkpoints in it.
StatusOr<std::string> ShowDirectory(const std::string& directory) {
  const std::filesystem::path path(directory);
  if (Exists(directory + "/" + kManifestFile)) {
    STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(path.filename().string()));
    return ReportOf(ReadManifest(path.parent_path().string(), name));
  }
  STASIS_ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> found, FindCheckpoints({directory}));
  if (found.empty()) return NotFound(directory + " holds no checkpoint");
  std::string text;
  for (const FoundCheckpoint& one : found) {
    const auto report = ReportOf(one.manifest);
    if (!report.ok()) return Annotate(report.status(), one.name);
    text += (text.empty() ? "" : "\n") + *report;
  }
  return text;
}

Status Show(const std::string& given) {
  STASIS_ASSIGN_OR_RETURN(const std::string path, RealPath(given));
  STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFile(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return ErrnoError(errno, "stat " + path);
  if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))
    return InvalidArgument(path + ": neither a directory nor an archive");
  const auto text = S_ISDIR(info.st_mode) ? ShowDirectory(path)
                                          : ReportOf(transfer::ReadArchiveManifest(ReadFrom(file), {}));
  if (!text.ok()) return Annotate(text.status(), path);
  Print(*text);
  return absl::OkStatus();
}

void AddExport(CLI::App& group, const std::shared_ptr<ArchiveOptions>& options, Action* action) {
  CLI::App* command = group.add_subcommand(
      "export", "Write a checkpoint to stdout as one file: all that a restore needs but the image");
  command->add_option("container", options->container, "Id or name; may be left out with --checkpoint-dir")
      ->required();
  command->add_option("checkpoint", options->name, "The checkpoint's name");
  command->add_option("--checkpoint-dir", options->directory, "The checkpoint is in this directory");
  command->callback([=] {
    *action = [=](const ApiClient& client) {
      if (options->name.empty() && options->directory.empty())
        return Report(InvalidArgument("'stasis checkpoint export' requires a container and a checkpoint"));
      if (options->name.empty()) options->name.swap(options->container);
      return Report(Export(client, *options));
    };
  });
}

void AddImport(CLI::App& group, const std::shared_ptr<ArchiveOptions>& options, Action* action) {
  CLI::App* command = group.add_subcommand(
      "import",
      "Read from stdin what export wrote, and keep it as a checkpoint of a container, or in a directory");
  command->add_option("container", options->container, "Id or name; may be left out with --checkpoint-dir");
  command->add_option("checkpoint", options->name, "Another name than it had");
  command->add_option("--checkpoint-dir", options->directory, "Keep it in this directory");
  command->callback([=] {
    *action = [=](const ApiClient& client) {
      if (options->container.empty() && options->directory.empty())
        return Report(
            InvalidArgument("'stasis checkpoint import' requires a container, or --checkpoint-dir"));
      return Report(Import(client, *options));
    };
  });
}

}  // namespace

void AddCheckpointArchiveCommands(CLI::App& group, Action* action) {
  auto options = std::make_shared<ArchiveOptions>();
  AddExport(group, options, action);
  AddImport(group, options, action);
  auto path = std::make_shared<std::string>();
  CLI::App* show = group.add_subcommand("show",
                                        "Show what is in a checkpoint's directory, in one with checkpoints, "
                                        "or in an archive; no engine is asked");
  show->add_option("path", *path, "A directory or a file")->required();
  show->callback([=] { *action = [=](const ApiClient&) { return Report(Show(*path)); }; });
}

}  // namespace stasis::cli
