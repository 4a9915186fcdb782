#include "criu/file_names.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <climits>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "base/hex.h"
#include "base/log.h"
#include "criu/image_file.h"
#include "criu/watches.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"
#include "linux/inside_root.h"
#include "linux/proc.h"

namespace stasis::criu {
namespace {

constexpr char kRemapImage[] = "remap-fpath.img";
constexpr uint32_t kGhost = 1;                      // RemapFilePathEntry.remap_type
constexpr uint32_t kExternal = 1;                   // UnixSkEntry.uflags
constexpr uint32_t kEstablished = 1, kListen = 10;  // UnixSkEntry.state
constexpr size_t kMaxNotes = 64 << 20;
constexpr std::string_view kDeleted = " (deleted)";

// The file that a socket is bound to, as the kernel knows it.
struct Note {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t links = 0;
  std::string path;
};

StatusOr<std::map<uint32_t, Note>> ReadNotes(const std::string& path) {
  std::map<uint32_t, Note> notes;
  const auto text = ReadFile(path, kMaxNotes);
  if (absl::IsNotFound(text.status())) return notes;
  if (!text.ok()) return text.status();
  std::istringstream lines(*text);
  uint32_t socket = 0;
  std::string hex;
  for (Note note; lines >> socket >> note.device >> note.inode >> note.links >> hex;) {
    auto bytes = FromHex(hex);
    if (!bytes || !bytes->starts_with('/')) return DataLoss(path + " is not a list of sockets");
    note.path = *std::move(bytes);
    notes[socket] = note;
  }
  if (!lines.eof()) return DataLoss(path + " is not a list of sockets");
  return notes;
}

// Ids of open files that CRIU makes again, since they have no name any more.
StatusOr<std::set<uint32_t>> ReadGhosts(int images) {
  std::set<uint32_t> ghosts;
  auto reader = ImageReader::Open(images, kRemapImage, kCommonMagic, kRemapMagic);
  if (absl::IsNotFound(reader.status())) return ghosts;
  if (!reader.ok()) return reader.status();
  while (!reader->AtEnd()) {
    images::RemapFilePathEntry remap;
    STASIS_RETURN_IF_ERROR(reader->Next(&remap));
    if (remap.remap_type() == kGhost) ghosts.insert(remap.orig_id());
  }
  return ghosts;
}

std::string DirectoryOf(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

class Mender {
 public:
  Mender(int root, std::map<uint32_t, Note> notes, std::set<uint32_t> ghosts,
         const std::vector<OutsidePeer>& peers, const std::vector<Process>& processes, Deadline deadline,
         std::stop_token cancel)
      : root_(root),
        notes_(std::move(notes)),
        ghosts_(std::move(ghosts)),
        processes_(processes),
        deadline_(deadline),
        cancel_(std::move(cancel)) {
    for (const OutsidePeer& peer : peers) peers_[peer.socket] = peer;
  }

  // In the order in which the images have them.
  Status Mend(images::FileEntry* file) {
    last_id_ = std::max(last_id_, file->id());
    if (file->has_reg() && ghosts_.contains(file->id())) MendGhost(file->mutable_reg());
    if (!file->has_usk()) return absl::OkStatus();
    Connect(*file, file->mutable_usk());
    const auto note = notes_.find(file->usk().ino());
    return note == notes_.end() ? absl::OkStatus() : MendSocket(note->second, file->mutable_usk());
  }

  bool changed() const { return changed_; }

  // The sockets outside the container. CRIU wants them before those that are connected to them.
  std::vector<images::FileEntry> TakeOutside() {
    std::vector<images::FileEntry> files;
    for (auto& [peer, file] : outside_) {
      file.set_id(++last_id_);
      file.mutable_usk()->set_id(file.id());
      files.push_back(std::move(file));
    }
    return files;
  }

 private:
  bool Has(const std::string& path, int flags) const { return OpenInRoot(root_, path, O_PATH | flags).ok(); }

  // Another directory for what is to be made at `path`, where one on the way to it is there but is none any
  // more: the last that still is one. `follow`: through links.
  std::optional<std::string> PlaceInstead(const std::string& path, bool follow) const {
    for (size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1)) {
      const std::string directory = path.substr(0, slash);
      if (Has(directory, O_DIRECTORY | (follow ? 0 : O_NOFOLLOW))) continue;
      if (!Has(directory, O_NOFOLLOW)) return std::nullopt;  // CRIU makes it
      return DirectoryOf(directory);
    }
    return std::nullopt;
  }

  // Of `directory` and those above it, the first that is one.
  std::string LastDirectory(std::string directory) const {
    while (!directory.empty() && !Has(directory, O_DIRECTORY | O_NOFOLLOW))
      directory = DirectoryOf(directory);
    return directory;
  }

  // CRIU makes what is missing on the way to a file, and removes it again. On the way to a directory it
  // leaves it.
  void MendGhost(images::RegFileEntry* file) {
    std::string path = file->name();
    if (!path.starts_with('/')) return;
    const bool is_directory = S_ISDIR(file->mode());
    if (is_directory) {
      path = LastDirectory(DirectoryOf(path)) + "/" + NameOf(path);
    } else if (const auto place = PlaceInstead(path, false)) {
      path = *place + "/" + NameOf(path);
    }
    path = FreeName(path, is_directory);
    if (path == file->name()) return;
    file->set_name(path);
    changed_ = true;
  }

  // Where another has the name, CRIU would remove that one, if it is a directory; and of several processes
  // that have such a file open, some would look for it under a name that another one of them chose. `alone`:
  // under one name no two are made.
  std::string FreeName(const std::string& path, bool alone) {
    std::string free = path;
    for (int i = 1; Has(free, O_NOFOLLOW) || (alone && taken_.contains(free)); ++i) {
      free =
          DirectoryOf(path) + "/" + NameOf(path).substr(0, NAME_MAX - 32) + ".removed-" + std::to_string(i);
    }
    if (alone) taken_.insert(free);
    return free;
  }

  bool IsAt(const std::string& path, const Note& note) const {
    auto file = OpenInRoot(root_, path, O_PATH | O_NOFOLLOW);
    struct stat state = {};
    return file.ok() && ::fstat(file->get(), &state) == 0 && state.st_dev == note.device &&
           state.st_ino == note.inode;
  }

  Status MendSocket(const Note& note, images::UnixSkEntry* socket) {
    std::string name = socket->name();
    name.resize(std::min(name.find('\0'), name.size()));
    if (name.empty()) return absl::OkStatus();
    if (name.front() != '/') name = (socket->name_dir() == "/" ? "" : socket->name_dir()) + "/" + name;
    // One that was accepted has the name of the socket that accepted it, and is never bound.
    const bool bound = socket->type() == SOCK_DGRAM || socket->state() != kEstablished;
    if (note.links == 0) return MendRemovedSocket(note, name, socket);
    if (note.links == 1 && IsAt(name, note)) return absl::OkStatus();  // by way of a link, such as /var/run
    auto present = PresentName(note);
    if (!present.ok() && bound) return WithVerdict(present.status(), name, *socket);
    socket->clear_deleted();  // its first name was, at most
    return SetName(present.ok() ? *present : note.path, socket);
  }

  StatusOr<std::string> PresentName(const Note& note) {
    if (note.links > 1) {
      return Internal("has " + std::to_string(note.links) +
                      " names (hard links), of which only one would come back; remove the others first");
    }
    if (IsAt(note.path, note)) return note.path;
    // Its first name was removed, and it had got another.
    const std::string directory = DirectoryOf(note.path);
    if (auto opened = OpenInRoot(root_, directory + "/", O_RDONLY | O_DIRECTORY); opened.ok()) {
      const auto names = ListDirectory(opened->get());
      for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
        if (IsAt(directory + "/" + name, note)) return directory + "/" + name;
      }
    }
    const Watch file = {static_cast<uint32_t>(major(note.device) << 20 | minor(note.device)), note.inode};
    const std::vector<WatchedPath> found = FindWatchedPaths(processes_, {file}, deadline_, cancel_);
    if (cancel_.stop_requested()) return Cancelled("the checkpoint was cancelled");
    if (!found.empty()) return found.front().path;
    return Internal("was given another name, which was not found; give it back its own first");
  }

  // "process 7 (node) has a unix socket whose file (bound as /run/a) ...".
  Status WithVerdict(const Status& why, const std::string& name, const images::UnixSkEntry& socket) const {
    if (why.code() != StatusCode::kInternal) return why;
    return Internal(OwnerOf(socket.ino()) + " has a unix socket whose file (it was bound as " +
                    Printable(name, 256) + ") " + Message(why));
  }

  std::string OwnerOf(uint32_t inode) const {
    const std::string link = "socket:[" + std::to_string(inode) + "]";
    for (const Process& process : processes_) {
      const std::string base = ProcPath(process.pid, "fd");
      const auto descriptors = ListDirectory(base);
      for (const std::string& descriptor : descriptors.ok() ? *descriptors : std::vector<std::string>()) {
        if (ReadProcLink(base + "/" + descriptor).value_or("") == link) return Label(process);
      }
    }
    return "a process of the container";
  }

  // Nobody finds it by its name any more, but CRIU binds it once, and removes the file.
  Status MendRemovedSocket(const Note& note, const std::string& name, images::UnixSkEntry* socket) {
    const bool absolute = socket->name().starts_with('/');
    std::string path = absolute ? name : note.path;
    if (!absolute && path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
    std::string directory = DirectoryOf(path);
    if (const auto place = PlaceInstead(path, absolute)) {
      directory = *place;
    } else if (absolute) {
      return absl::OkStatus();
    }
    // A relative one is bound in its directory, which has to be there.
    return SetName(LastDirectory(directory) + "/" + NameOf(path), socket);
  }

  Status SetName(const std::string& path, images::UnixSkEntry* socket) {
    changed_ = true;
    if (path.size() < kMaxSocketName) {
      socket->set_name(path + '\0');
      socket->clear_name_dir();
    } else if (const std::string last = NameOf(path); last.size() < kMaxSocketName) {
      socket->set_name(last + '\0');
      socket->set_name_dir(DirectoryOf(path));
    } else {
      return Internal(OwnerOf(socket->ino()) + " has a unix socket whose file was given a name (" +
                      Printable(last, 256) + ") that no socket can be bound to; give it a shorter one first");
    }
    return absl::OkStatus();
  }

  void Connect(const images::FileEntry& file, images::UnixSkEntry* socket) {
    const auto peer = peers_.find(socket->ino());
    if (peer == peers_.end() || socket->peer() != 0) return;
    socket->set_peer(peer->second.peer);
    changed_ = true;
    images::FileEntry& outside = outside_[peer->second.peer];
    outside = file;  // for what every socket has
    outside.mutable_usk()->set_ino(peer->second.peer);
    outside.mutable_usk()->set_state(kListen);
    outside.mutable_usk()->set_uflags(kExternal);
    outside.mutable_usk()->set_peer(0);
    outside.mutable_usk()->set_name(peer->second.path + '\0');
    outside.mutable_usk()->clear_name_dir();
    outside.mutable_usk()->clear_deleted();
  }

  const int root_;
  const std::map<uint32_t, Note> notes_;  // by the socket's inode
  const std::set<uint32_t> ghosts_;
  const std::vector<Process>& processes_;
  const Deadline deadline_;
  const std::stop_token cancel_;
  std::map<uint32_t, OutsidePeer> peers_;
  std::map<uint32_t, images::FileEntry> outside_;  // by the peer's inode
  std::set<std::string> taken_;
  uint32_t last_id_ = 0;
  bool changed_ = false;
};

}  // namespace

Status MendFileNames(int images, const std::string& notes_file, const std::vector<OutsidePeer>& peers,
                     const std::vector<Process>& processes, Deadline deadline, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(auto notes, ReadNotes(notes_file));
  STASIS_ASSIGN_OR_RETURN(auto ghosts, ReadGhosts(images));
  if ((notes.empty() && ghosts.empty() && peers.empty()) || processes.empty()) return absl::OkStatus();
  STASIS_ASSIGN_OR_RETURN(const UniqueFd root,
                          OpenFile(ProcPath(processes.front().pid, "root"), O_PATH | O_DIRECTORY));
  Mender mender(root.get(), std::move(notes), std::move(ghosts), peers, processes, deadline,
                std::move(cancel));
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Open(images, kFilesImage, kCommonMagic, kFilesMagic));
  std::vector<images::FileEntry> files;
  while (!reader.AtEnd()) {
    STASIS_RETURN_IF_ERROR(reader.Next(&files.emplace_back()));
    STASIS_RETURN_IF_ERROR(mender.Mend(&files.back()));
  }
  if (!mender.changed()) return absl::OkStatus();
  ImageWriter image(kCommonMagic, kFilesMagic);
  for (const images::FileEntry& file : mender.TakeOutside()) image.Add(file);
  for (const images::FileEntry& file : files) image.Add(file);
  return image.Replace(images, kFilesImage);
}

}  // namespace stasis::criu
