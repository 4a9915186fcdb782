#include "image/image_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <thread>

#include "base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "image/archive_builder.h"
#include "image/root_user.h"
#include "linux/files.h"
#include "linux/mounts.h"

namespace stasis::image {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Layers = std::vector<std::vector<TestEntry>>;

ContainerId Id(char digit) { return *ContainerId::Parse(std::string(64, digit)); }
Status Unused(const Image&) { return absl::OkStatus(); }

std::string ConfigFor(const std::vector<std::string>& tars, const std::string& cmd = "sh") {
  Json diff_ids = Json::array();
  for (const std::string& tar : tars) diff_ids.push_back(Sha256Of(tar).str());
  return DumpJson({{"architecture", "amd64"},
                   {"os", "linux"},
                   {"created", "2024-01-02T03:04:05Z"},
                   {"config", {{"Cmd", {cmd}}}},
                   {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}});
}

// As `docker save` writes it; the manifest comes last.
std::string DockerArchive(const Layers& layers, const std::vector<std::string>& tags,
                          const char* filter = nullptr, const std::string& cmd = "sh") {
  std::vector<std::string> tars;
  std::vector<TestEntry> entries;
  Json paths = Json::array();
  for (size_t i = 0; i < layers.size(); ++i) {
    tars.push_back(MakeTar(layers[i]));
    std::string path = "layer" + std::to_string(i) + "/layer.tar";
    entries.push_back(File(path, filter ? MakeTar(layers[i], filter) : tars.back()));
    paths.push_back(path);
  }
  entries.push_back(File("config.json", ConfigFor(tars, cmd)));
  Json manifest = Json::array({{{"Config", "config.json"}, {"RepoTags", tags}, {"Layers", paths}}});
  entries.push_back(File("manifest.json", DumpJson(manifest)));
  return MakeTar(entries);
}

TestEntry Blob(const std::string& content, Json* descriptor) {
  (*descriptor)["digest"] = Sha256Of(content).str();
  (*descriptor)["size"] = content.size();
  return File("blobs/sha256/" + Hex(Sha256Of(content)), content);
}

std::string OciLayout(const std::vector<TestEntry>& layer, const std::string& name) {
  std::string tar = MakeTar(layer), zipped = MakeTar(layer, "gzip");
  Json config, blob, manifest, nested, index;
  std::vector<TestEntry> entries = {Dir("blobs"), File("oci-layout", R"({"imageLayoutVersion":"1.0.0"})")};
  entries.push_back(Blob(ConfigFor({tar}), &config));
  entries.push_back(Blob(zipped, &blob));
  entries.push_back(
      Blob(DumpJson({{"schemaVersion", 2}, {"config", config}, {"layers", {blob}}}), &manifest));
  manifest["platform"] = {{"os", "linux"}, {"architecture", "amd64"}};
  Json other = manifest;
  other["platform"]["architecture"] = "s390x";
  other["digest"] = Sha256Of("not here").str();
  entries.push_back(Blob(DumpJson({{"manifests", {other, manifest}}}), &nested));
  nested["mediaType"] = "application/vnd.oci.image.index.v1+json";
  nested["annotations"] = {{"org.opencontainers.image.ref.name", name}};
  entries.push_back(File("index.json", DumpJson({{"schemaVersion", 2}, {"manifests", {nested}}})));
  return MakeTar(entries);
}

class ImageStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: owners, mounts";
    auto directory = TemporaryDirectory::Create("/tmp", "stasis-image-");
    ASSERT_TRUE(directory.ok()) << Message(directory.status());
    directory_.emplace(*std::move(directory));
    Reopen();
  }

  void TearDown() override {
    if (!directory_) return;
    EXPECT_TRUE(UnmountBelow(directory_->path()).ok());
    store_.reset();
  }

  void Reopen() {
    store_.reset();
    auto store = ImageStore::Open(Root());
    ASSERT_TRUE(store.ok()) << Message(store.status());
    store_ = *std::move(store);
  }

  std::string Root() const { return directory_->path() + "/images"; }

  StatusOr<std::vector<Image>> Load(const std::string& bytes) {
    lines_.clear();
    return store_->Load(BytesOf(bytes), [this](const std::string& line) { lines_.push_back(line); }, {});
  }
  Image MustLoad(const std::string& bytes) {
    StatusOr<std::vector<Image>> images = Load(bytes);
    EXPECT_TRUE(images.ok()) << Message(images.status());
    return images.ok() && !images->empty() ? images->front() : Image{Sha256Of(""), {}, {}, {}, {}, {}, 0};
  }

  // Layers, spooled archives and roots that are on disk, half-made ones too.
  std::vector<std::string> OnDisk() const {
    std::vector<std::string> out;
    for (const char* part : {"layers", "spool", "roots"}) {
      std::vector<std::string> names = *ListDirectory(Root() + "/" + part);
      for (const std::string& name : names) {
        if (name != "l" && name != "empty") out.push_back(name);
      }
    }
    std::vector<std::string> links = *ListDirectory(Root() + "/layers/l");
    for (const std::string& name : links) out.push_back("l/" + name);
    return out;
  }

  std::optional<TemporaryDirectory> directory_;
  std::unique_ptr<ImageStore> store_;
  std::vector<std::string> lines_;
};

const Layers kTwoLayers = {
    {Dir("etc"), File("etc/a", "one"), File("etc/b", "b"), Dir("old"), File("old/x")},
    {Dir("etc"), File("etc/a", "two"), File("etc/.wh.b"), Dir("old"), File("old/.wh..wh..opq")}};

TEST_F(ImageStoreTest, ADockerArchiveIsLoadedInEveryCompression) {
  for (const char* filter : {"none", "gzip", "zstd"}) {
    bool plain = std::string(filter) == "none";
    Image image = MustLoad(DockerArchive(kTwoLayers, {"app:1"}, plain ? nullptr : filter));
    EXPECT_THAT(image.tags, ElementsAre("app:1"));
    EXPECT_THAT(image.layers, SizeIs(2));
    EXPECT_EQ(image.size, 7u);
    EXPECT_EQ((*image.config)["config"]["Cmd"][0], "sh");
    EXPECT_EQ(image.created, absl::FromUnixSeconds(1704164645));
    EXPECT_THAT(lines_, ElementsAre("Loaded image: app:1"));
    EXPECT_TRUE(store_->Remove("app:1", false, Unused).ok());
    EXPECT_THAT(OnDisk(), IsEmpty()) << filter;
  }
}

TEST_F(ImageStoreTest, AnOciLayoutIsLoadedForThisMachine) {
  Image image = MustLoad(OciLayout({File("f", "x")}, "docker.io/library/app:2"));
  EXPECT_THAT(image.tags, ElementsAre("app:2"));
  // A tag alone is no name.
  ASSERT_TRUE(store_->Remove("app:2", false, Unused).ok());
  image = MustLoad(OciLayout({File("f", "x")}, "latest"));
  EXPECT_THAT(image.tags, IsEmpty());
  EXPECT_THAT(lines_, ElementsAre("Loaded image ID: " + image.id.str()));
}

TEST_F(ImageStoreTest, ImagesSurviveARestartAndHalfMadeThingsDoNot) {
  Image image = MustLoad(DockerArchive(kTwoLayers, {"app:1", "other"}));
  std::vector<std::string> before = OnDisk();
  ASSERT_TRUE(MakeDirectories(Root() + "/layers/.aside-1/diff").ok());
  ASSERT_TRUE(MakeDirectories(Root() + "/layers/" + std::string(64, 'f') + "/diff").ok());
  ASSERT_TRUE(MakeDirectories(Root() + "/spool/.aside-2").ok());
  ASSERT_TRUE(MakeDirectories(Root() + "/roots/.aside-3").ok());
  ASSERT_EQ(::symlink("../gone/diff", (Root() + "/layers/l/0123456789").c_str()), 0);
  Reopen();
  EXPECT_EQ(OnDisk(), before);
  StatusOr<Image> found = store_->Find("app:1");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->id, image.id);
  EXPECT_THAT(found->tags, ElementsAre("app:1", "other:latest"));
  EXPECT_EQ(found->size, image.size);
}

TEST_F(ImageStoreTest, ImagesAreFoundByNameIdAndPrefix) {
  Image image = MustLoad(DockerArchive(kTwoLayers, {"app"}));
  MustLoad(DockerArchive(kTwoLayers, {"app2"}, nullptr, "other"));
  EXPECT_THAT(store_->List(), SizeIs(2));
  std::string hex = Hex(image.id);
  for (const std::string& name : {std::string("app"), std::string("app:latest"), image.id.str(), hex,
                                  hex.substr(0, 12), "sha256:" + hex.substr(0, 12)}) {
    StatusOr<Image> found = store_->Find(name);
    ASSERT_TRUE(found.ok()) << name;
    EXPECT_EQ(found->id, image.id);
  }
  EXPECT_EQ(Message(store_->Find("none").status()), "No such image: none:latest");
  EXPECT_EQ(store_->Find("none").status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(store_->Find("").ok());
  EXPECT_FALSE(store_->Find("sha256:").ok());
}

TEST_F(ImageStoreTest, RemovingFollowsDockersRules) {
  Image image = MustLoad(DockerArchive(kTwoLayers, {"a", "b"}));
  auto used = [](const Image&) { return FailedPrecondition("conflict: in use"); };
  EXPECT_EQ(Message(store_->Remove(image.id.str(), false, Unused).status()),
            "conflict: unable to delete " + Hex(image.id).substr(0, 12) +
                " (must be forced) - image is referenced in multiple repositories");
  EXPECT_THAT(store_->Remove("a", false, used)->untagged, ElementsAre("a:latest"));
  EXPECT_EQ(Message(store_->Remove("b", false, used).status()), "conflict: in use");
  EXPECT_EQ(Message(store_->Remove(image.id.str(), true, used).status()), "conflict: in use");
  EXPECT_THAT(store_->Remove("b", true, used)->deleted, IsEmpty());
  EXPECT_THAT(store_->Find(image.id.str())->tags, IsEmpty());
  StatusOr<RemoveResult> gone = store_->Remove(Hex(image.id).substr(0, 12), false, Unused);
  ASSERT_TRUE(gone.ok());
  EXPECT_THAT(gone->deleted, ElementsAre(image.id.str(), image.layers[1].str(), image.layers[0].str()));
  EXPECT_THAT(store_->List(), IsEmpty());
  EXPECT_THAT(OnDisk(), IsEmpty());
}

TEST_F(ImageStoreTest, ATagMovesAndSharedLayersStay) {
  Image first = MustLoad(DockerArchive(kTwoLayers, {"app"}));
  Image second = MustLoad(DockerArchive({kTwoLayers[0]}, {"app"}));
  EXPECT_THAT(lines_, Contains(HasSubstr("renaming the old one with ID " + first.id.str())));
  EXPECT_EQ(store_->Find("app")->id, second.id);
  ASSERT_TRUE(store_->Tag(first.id, "back:1").ok());
  StatusOr<RemoveResult> gone = store_->Remove("back:1", false, Unused);
  ASSERT_TRUE(gone.ok());
  EXPECT_THAT(gone->deleted, ElementsAre(first.id.str(), first.layers[1].str()));
  EXPECT_EQ(store_->Tag(first.id, "x").code(), StatusCode::kNotFound);
  EXPECT_FALSE(store_->Tag(second.id, "x@" + first.id.str()).ok());
}

TEST_F(ImageStoreTest, AFailedLoadLeavesNothing) {
  std::string good = DockerArchive(kTwoLayers, {"app"});
  EXPECT_FALSE(Load(good.substr(0, good.size() / 2)).ok());
  EXPECT_FALSE(Load("").ok());
  EXPECT_THAT(Message(Load(MakeTar({File("a")})).status()),
              HasSubstr("neither manifest.json nor index.json"));
  // The second layer is hostile: the first goes too.
  EXPECT_THAT(Message(Load(DockerArchive({{File("a")}, {File("../b")}}, {"app"})).status()),
              HasSubstr(".. refused"));
  EXPECT_FALSE(Load(MakeTar({File("../manifest.json")})).ok());
  EXPECT_FALSE(Load(MakeTar({File("/manifest.json")})).ok());
  EXPECT_FALSE(Load(MakeTar({Symlink("manifest.json", "../../etc/passwd")})).ok());
  EXPECT_THAT(Message(Load(MakeTar({Symlink("manifest.json", "m"), Symlink("m", "manifest.json")})).status()),
              HasSubstr("too many links"));
  EXPECT_FALSE(Load(DockerArchive(kTwoLayers, {"Bad Name"})).ok());
  EXPECT_THAT(OnDisk(), IsEmpty());
  EXPECT_THAT(store_->List(), IsEmpty());
}

TEST_F(ImageStoreTest, ErrorsShowNamesAndDoNotLetThemSpeakToTheTerminal) {
  for (const std::string& archive :
       {MakeTar({File("../\x1b[2J\a\n")}), DockerArchive({{File("../\x1b[2J\a\n")}}, {"app"})}) {
    EXPECT_THAT(Message(Load(archive).status()), HasSubstr("../\\x1b[2J\\x07\\x0a"));
  }
  StatusOr<Image> image = store_->Import(BytesOf(MakeTar({File("/\x1b[2J")})), {.reference = "app"}, {});
  EXPECT_EQ(Message(image.status()), "layer: absolute path refused: /\\x1b[2J");
}

// A megabyte of archive may list the same configuration a thousand times.
TEST_F(ImageStoreTest, AConfigurationListedOftenIsOneImageWithAllTags) {
  std::string tar = MakeTar({File("a")});
  Json manifest = Json::array();
  for (int i = 0; i < 1000; ++i) {
    std::string tag = "app:" + std::to_string(i % 3);
    manifest.push_back({{"Config", i % 2 ? "c.json" : "link"}, {"RepoTags", {tag}}, {"Layers", {"l.tar"}}});
  }
  StatusOr<std::vector<Image>> images =
      Load(MakeTar({File("l.tar", tar), File("c.json", ConfigFor({tar})), Symlink("link", "c.json"),
                    File("manifest.json", DumpJson(manifest))}));
  ASSERT_TRUE(images.ok()) << Message(images.status());
  ASSERT_THAT(*images, SizeIs(1));
  EXPECT_THAT(images->front().tags, ElementsAre("app:0", "app:1", "app:2"));
}

TEST_F(ImageStoreTest, LargeConfigurationsAreRefusedOneByOneAndInAll) {
  std::string tar = MakeTar({File("a")});
  const auto archive = [&](size_t count, size_t size) {
    std::vector<TestEntry> entries = {File("l.tar", tar)};
    Json manifest = Json::array();
    for (size_t i = 0; i < count; ++i) {
      std::string path = std::to_string(i) + ".json";
      std::string config = ConfigFor({tar}, "sh" + path);
      entries.push_back(File(path, config + std::string(size - config.size(), ' ')));
      manifest.push_back({{"Config", path}, {"Layers", {"l.tar"}}});
    }
    entries.push_back(File("manifest.json", DumpJson(manifest)));
    return MakeTar(entries);
  };
  EXPECT_TRUE(Load(archive(1, 1 << 20)).ok());
  EXPECT_THAT(Message(Load(archive(1, (1 << 20) + 1)).status()), HasSubstr("too large: 0.json"));
  EXPECT_THAT(Message(Load(archive(17, 1 << 20)).status()), HasSubstr("configurations are too large"));
}

TEST_F(ImageStoreTest, HolesOfAnArchivesFilesCountAsWhatTheyAreReadAs) {
  TestEntry sparse = File("blob", std::string(4096, 'x'));
  sparse.data = {{0, 4096}};
  sparse.holes = int64_t{8} << 40;
  EXPECT_THAT(Message(Load(MakeTar({sparse})).status()), HasSubstr("too large: blob"));
  EXPECT_THAT(OnDisk(), IsEmpty());
  // The hole at the end is part of the layer, whose bytes behind its end are hashed too.
  std::string tar = MakeTar({File("a", "x")}), padded = tar + std::string(1 << 20, '\0');
  TestEntry layer = File("l.tar", tar);
  layer.data = {{0, static_cast<int64_t>(tar.size())}};
  layer.holes = 1 << 20;
  EXPECT_TRUE(Load(MakeTar({layer, File("c.json", ConfigFor({padded})),
                            File("manifest.json", R"([{"Config":"c.json","Layers":["l.tar"]}])")}))
                  .ok());
}

TEST_F(ImageStoreTest, DigestsAreChecked) {
  std::string other = MakeTar({File("other")});
  std::vector<TestEntry> entries = {
      File("l.tar", MakeTar({File("a")})), File("c.json", ConfigFor({other})),
      File("manifest.json", R"([{"Config":"c.json","RepoTags":["a"],"Layers":["l.tar"]}])")};
  EXPECT_THAT(Message(Load(MakeTar(entries)).status()), HasSubstr("layer digest mismatch"));
  EXPECT_THAT(OnDisk(), IsEmpty());
}

TEST_F(ImageStoreTest, AnImportBecomesAnImageOfOneLayer) {
  StatusOr<Image> image =
      store_->Import(BytesOf(MakeTar({Dir("bin"), File("bin/sh", "x")}, "gzip")),
                     {.reference = "mine", .message = "hello", .changes = {"CMD [\"sh\"]", "ENV A=b"}}, {});
  ASSERT_TRUE(image.ok()) << Message(image.status());
  EXPECT_THAT(image->tags, ElementsAre("mine:latest"));
  EXPECT_EQ((*image->config)["config"]["Cmd"][0], "sh");
  EXPECT_EQ((*image->config)["history"][0]["comment"], "hello");
  EXPECT_EQ(oci::FormatPlatform(image->platform), oci::FormatPlatform(oci::NativePlatform()));
  EXPECT_FALSE((*image->config).contains("variant"));
  EXPECT_FALSE(
      store_->Import(BytesOf(MakeTar({File("a")})), {.reference = "mine", .changes = {"RUN true"}}, {}).ok());
  EXPECT_FALSE(store_->Import(BytesOf("nothing"), {}, {}).ok());
  EXPECT_THAT(store_->List(), SizeIs(1));
}

TEST_F(ImageStoreTest, AnImportForAnotherPlatformIsStillThatAfterARestart) {
  StatusOr<Image> image = store_->Import(BytesOf(MakeTar({File("a")})),
                                         {.reference = "mine", .platform = {"linux", "arm", "v6"}}, {});
  ASSERT_TRUE(image.ok()) << Message(image.status());
  Reopen();
  EXPECT_EQ(oci::FormatPlatform(store_->Find("mine")->platform), "linux/arm/v6");
}

TEST_F(ImageStoreTest, ALoadIsCancelled) {
  std::stop_source stop;
  std::string archive = DockerArchive(kTwoLayers, {"app"});
  auto read = [inner = BytesOf(archive, 1000), &stop](char* out, size_t size) {
    stop.request_stop();
    return inner(out, size);
  };
  EXPECT_EQ(store_
                ->Load(
                    read, [](const std::string&) {}, stop.get_token())
                .status()
                .code(),
            StatusCode::kCancelled);
  EXPECT_THAT(OnDisk(), IsEmpty());
}

TEST_F(ImageStoreTest, TheSameImageIsLoadedTwiceAtATime) {
  std::string archive = DockerArchive(kTwoLayers, {"app"});
  std::vector<Status> results(4);
  {
    std::vector<std::jthread> threads;
    threads.reserve(results.size());
    for (Status& result : results) {
      threads.emplace_back(
          [&] { result = store_->Load(BytesOf(archive), [](const std::string&) {}, {}).status(); });
    }
  }
  for (const Status& result : results) EXPECT_TRUE(result.ok()) << Message(result);
  EXPECT_THAT(OnDisk(), SizeIs(4));  // two layers and their links
}

TEST_F(ImageStoreTest, ARootShowsTheLayersAndKeepsItsOwnWrites) {
  Image image = MustLoad(DockerArchive(kTwoLayers, {"app"}));
  ASSERT_TRUE(store_->CreateRoot(Id('a'), image).ok());
  ASSERT_TRUE(store_->CreateRoot(Id('a'), image).ok());
  StatusOr<std::string> root = store_->MountRoot(Id('a'), image);
  ASSERT_TRUE(root.ok()) << Message(root.status());
  EXPECT_EQ(*store_->MountRoot(Id('a'), image), *root);
  EXPECT_EQ(*ReadFile(*root + "/etc/a"), "two");
  EXPECT_THAT(*ListDirectory(*root + "/etc"), ElementsAre("a"));
  EXPECT_THAT(*ListDirectory(*root + "/old"), IsEmpty());
  ASSERT_TRUE(WriteFileAtomically(*root + "/mine", "m").ok());
  EXPECT_EQ(*ReadFile(store_->UpperDirectory(Id('a')) + "/mine"), "m");
  const auto lower = store_->LowerDirectories(Id('a'));
  ASSERT_TRUE(lower.ok()) << Message(lower.status());
  ASSERT_THAT(*lower, SizeIs(2));
  EXPECT_EQ(*ReadFile(lower->front() + "/etc/a"), "two");
  EXPECT_EQ(*ReadFile(lower->back() + "/etc/a"), "one");
  EXPECT_EQ(store_->LowerDirectories(Id('b')).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(store_->UnmountRoot(Id('a')).ok());
  ASSERT_TRUE(store_->UnmountRoot(Id('a')).ok());
  EXPECT_THAT(*ListDirectory(*root), IsEmpty());
  Reopen();
  ASSERT_TRUE(store_->MountRoot(Id('a'), image).ok());
  EXPECT_EQ(*ReadFile(*root + "/mine"), "m");
  ASSERT_TRUE(store_->RemoveRoot(Id('a')).ok());
  ASSERT_TRUE(store_->RemoveRoot(Id('a')).ok());
  EXPECT_FALSE(Exists(*root));
}

TEST_F(ImageStoreTest, AReplacedLayerIsKeptOrRevertedWhateverDiedInBetween) {
  Image image = MustLoad(DockerArchive(kTwoLayers, {"app"}));
  const ContainerId id = Id('a');
  ASSERT_TRUE(store_->CreateRoot(id, image).ok());
  const std::string upper = store_->UpperDirectory(id);
  const std::string parent = upper.substr(0, upper.rfind('/'));
  ASSERT_TRUE(WriteFileAtomically(upper + "/file", "first").ok());
  const auto replace = [&](const std::string& text) {
    return store_->ReplaceUpper(id, [&](int directory) { return WriteFileDurably(directory, "file", text); });
  };
  ASSERT_TRUE(store_->RevertUpper(id).ok()) << "of nothing";
  EXPECT_EQ(*ReadFile(upper + "/file"), "first");
  ASSERT_TRUE(replace("second").ok());
  // A crash, and then another restore: it was not for the second that somebody asked to have it back.
  Reopen();
  EXPECT_TRUE(store_->IsUpperReplaced(id));
  ASSERT_TRUE(replace("third").ok());
  EXPECT_EQ(*ReadFile(upper + "/file"), "third");
  ASSERT_TRUE(store_->RevertUpper(id).ok());
  EXPECT_EQ(*ReadFile(upper + "/file"), "first");
  // A crash between its two renames, and while a layer was being made.
  ASSERT_TRUE(replace("fourth").ok());
  ASSERT_EQ(::rename(upper.c_str(), (parent + "/.aside-1").c_str()), 0);
  Reopen();
  ASSERT_TRUE(store_->MountRoot(id, image).ok());
  EXPECT_EQ(*ReadFile(upper + "/file"), "first");
  ASSERT_TRUE(replace("fifth").ok());
  EXPECT_FALSE(Exists(parent + "/.aside-1"));
  ASSERT_TRUE(store_->KeepUpper(id).ok());
  ASSERT_TRUE(store_->KeepUpper(id).ok());
  ASSERT_TRUE(store_->RevertUpper(id).ok());
  EXPECT_EQ(*ReadFile(upper + "/file"), "fifth");
  ASSERT_THAT(*store_->KeptUppers(id), SizeIs(1));
  EXPECT_EQ(*ReadFile(store_->KeptUppers(id)->front().path + "/file"), "first");
  // Another one does not take its place, also where the clock says the same time.
  ASSERT_TRUE(replace("sixth").ok());
  ASSERT_TRUE(store_->KeepUpper(id).ok());
  Reopen();
  std::vector<KeptUpper> kept = *store_->KeptUppers(id);
  ASSERT_THAT(kept, SizeIs(2));
  EXPECT_EQ(*ReadFile(kept[1].path + "/file"), "fifth");
  EXPECT_GE(kept[1].at - kept[0].at, absl::Milliseconds(1));
  ASSERT_TRUE(store_->RemoveKeptUpper(kept[0]).ok());
  // One that an earlier engine kept by another name.
  ASSERT_EQ(::mkdir((parent + "/upper-before-restore").c_str(), 0700), 0);
  kept = *store_->KeptUppers(id);
  ASSERT_THAT(kept, SizeIs(2));
  EXPECT_EQ(kept[0].path, parent + "/upper-before-restore");
  EXPECT_EQ(*ReadFile(kept[1].path + "/file"), "fifth");
  ASSERT_TRUE(store_->RemoveRoot(id).ok());
  EXPECT_THAT(*store_->KeptUppers(id), IsEmpty());
}

TEST_F(ImageStoreTest, LayersStayWhileARootStandsOnThem) {
  Image image = MustLoad(DockerArchive(kTwoLayers, {"app"}));
  ASSERT_TRUE(store_->CreateRoot(Id('a'), image).ok());
  EXPECT_THAT(store_->Remove("app", true, Unused)->deleted, ElementsAre(image.id.str()));
  EXPECT_EQ(store_->CreateRoot(Id('b'), image).code(), StatusCode::kNotFound);
  Reopen();
  StatusOr<std::string> root = store_->MountRoot(Id('a'), image);
  ASSERT_TRUE(root.ok()) << Message(root.status());
  EXPECT_EQ(*ReadFile(*root + "/etc/a"), "two");
  ASSERT_TRUE(store_->RemoveRoot(Id('a')).ok());
  Reopen();
  EXPECT_THAT(OnDisk(), IsEmpty());
}

TEST_F(ImageStoreTest, ADamagedImageKeepsWhatItNamesAndIsMadeWholeByALoad) {
  const std::string archive = DockerArchive(kTwoLayers, {"app"});
  const Image image = MustLoad(archive);
  const std::vector<std::string> before = OnDisk();
  const std::string config = Root() + "/content/sha256/" + Hex(image.id);
  const std::string list = Root() + "/images.json";
  const std::string text = *ReadFile(list);
  const auto without_layers = [&] {  // as an earlier program wrote it
    Json document = *ParseJson(text);
    document["images"][0].erase("layers");
    return DumpJson(document);
  };
  for (const bool listed : {true, false}) {
    ASSERT_TRUE(WriteFileDurably(list, listed ? text : without_layers()).ok());
    ASSERT_TRUE(WriteFileDurably(config, "torn").ok());
    Reopen();
    EXPECT_EQ(OnDisk(), before) << listed;
    const auto found = store_->Find("app");
    ASSERT_TRUE(found.ok());
    EXPECT_THAT(found->damage, HasSubstr("damaged"));
    EXPECT_EQ(found->size, image.size);
    EXPECT_EQ(store_->CreateRoot(Id('a'), *found).code(), StatusCode::kDataLoss);
    ASSERT_TRUE(store_->Tag(image.id, "kept").ok());  // the list is written
    Reopen();
    EXPECT_EQ(OnDisk(), before) << listed;
    MustLoad(archive);
    EXPECT_EQ(store_->Find("kept")->damage, "");
    EXPECT_EQ(store_->Find("app")->layers, image.layers);
    ASSERT_TRUE(store_->Remove("kept", true, Unused).ok());
  }
  ASSERT_TRUE(WriteFileDurably(config, "torn").ok());
  Reopen();
  EXPECT_THAT(store_->Remove("app", false, Unused)->deleted, Contains(image.id.str()));
  EXPECT_THAT(OnDisk(), IsEmpty());
}

TEST_F(ImageStoreTest, NothingIsCollectedWhileAListOfLayersCannotBeRead) {
  const Image image = MustLoad(DockerArchive(kTwoLayers, {"app"}));
  ASSERT_TRUE(store_->CreateRoot(Id('a'), image).ok());
  ASSERT_TRUE(WriteFileDurably(Root() + "/roots/" + Id('a').str() + "/layers", "").ok());
  const std::vector<std::string> before = OnDisk();
  ASSERT_TRUE(store_->Remove("app", true, Unused).ok());
  Reopen();
  EXPECT_EQ(OnDisk(), before);
  ASSERT_TRUE(store_->RemoveRoot(Id('a')).ok());
  Reopen();
  EXPECT_THAT(OnDisk(), IsEmpty());
}

TEST_F(ImageStoreTest, AListOfImagesThatIsLostIsMadeAgain) {
  const Image image = MustLoad(DockerArchive(kTwoLayers, {"app"}));
  const std::vector<std::string> before = OnDisk();
  const std::string list = Root() + "/images.json";
  ASSERT_TRUE(RemoveTree(list).ok());
  Reopen();
  EXPECT_EQ(OnDisk(), before);
  ASSERT_THAT(store_->List(), SizeIs(1));
  EXPECT_EQ(store_->List()[0].id, image.id);
  EXPECT_EQ(store_->List()[0].size, image.size);
  EXPECT_THAT(store_->List()[0].tags, IsEmpty());
  ASSERT_TRUE(WriteFileDurably(list, "torn{").ok());
  const auto refused = ImageStore::Open(Root());
  EXPECT_EQ(refused.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(Message(refused.status()), HasSubstr("images.json"));
  store_ = *ImageStore::Open(Root(), /*recover=*/true);
  EXPECT_EQ(OnDisk(), before);
  EXPECT_THAT(store_->List(), SizeIs(1));
  EXPECT_EQ(*ReadFile(list + ".damaged"), "torn{");
}

TEST_F(ImageStoreTest, ALayerThatComesTwiceAndNoLayersAtAllAreMounted) {
  Image twice = MustLoad(DockerArchive({kTwoLayers[0], kTwoLayers[1], kTwoLayers[0]}, {"twice"}));
  Image none = MustLoad(DockerArchive({}, {"none"}));
  ASSERT_TRUE(store_->CreateRoot(Id('a'), twice).ok());
  ASSERT_TRUE(store_->CreateRoot(Id('b'), none).ok());
  StatusOr<std::string> first = store_->MountRoot(Id('a'), twice);
  ASSERT_TRUE(first.ok()) << Message(first.status());
  EXPECT_EQ(*ReadFile(*first + "/etc/a"), "one");
  EXPECT_EQ(*ReadFile(*first + "/etc/b"), "b");
  StatusOr<std::string> second = store_->MountRoot(Id('b'), none);
  ASSERT_TRUE(second.ok()) << Message(second.status());
  EXPECT_THAT(*ListDirectory(*second), IsEmpty());
  EXPECT_THAT(*store_->LowerDirectories(Id('a')), SizeIs(2));
  EXPECT_THAT(*store_->LowerDirectories(Id('b')), SizeIs(1));
}

// A line of mountinfo beyond a page is one that CRIU cannot read (moby#37808).
TEST_F(ImageStoreTest, AsManyLayersAsDockerAllowsFitIntoALineOfMountinfo) {
  for (size_t count : {60, 127}) {
    Layers layers;
    for (size_t i = 0; i < count; ++i) layers.push_back({File("f" + std::to_string(i), std::to_string(i))});
    Image image = MustLoad(DockerArchive(layers, {"tall"}));
    ContainerId id = Id(count == 60 ? 'a' : 'b');
    ASSERT_TRUE(store_->CreateRoot(id, image).ok());
    StatusOr<std::string> root = store_->MountRoot(id, image);
    ASSERT_TRUE(root.ok()) << Message(root.status());
    EXPECT_THAT(*ListDirectory(*root), SizeIs(count));
    EXPECT_EQ(*ReadFile(*root + "/f0"), "0");
    std::string mounts = *ReadFile("/proc/self/mountinfo");
    size_t at = mounts.find(*root + " ");
    ASSERT_NE(at, mounts.npos);
    size_t line = mounts.find('\n', at) - mounts.rfind('\n', at);
    EXPECT_LT(line, 3000u);
  }
}

TEST_F(ImageStoreTest, AWorkingDirectoryOfOursStaysWhereItIs) {
  char before[4096], after[4096];
  ASSERT_NE(::getcwd(before, sizeof before), nullptr);
  Image image = MustLoad(DockerArchive(kTwoLayers, {"app"}));
  ASSERT_TRUE(store_->CreateRoot(Id('a'), image).ok());
  ASSERT_TRUE(store_->MountRoot(Id('a'), image).ok());
  ASSERT_NE(::getcwd(after, sizeof after), nullptr);
  EXPECT_STREQ(before, after);
}

TEST_F(ImageStoreTest, PathsThatWouldEndInMountOptionsAreRefused) {
  for (const char* root : {"relative", "/tmp/a,b", "/tmp/a:b", "/tmp/a\\b"})
    EXPECT_FALSE(ImageStore::Open(root).ok());
}

TEST_F(ImageStoreTest, UsersAreReadFromTheRootAndNowhereElse) {
  std::string root = directory_->path() + "/r";
  ASSERT_TRUE(MakeDirectories(root + "/etc").ok());
  EXPECT_EQ(ResolveUserInRoot(root, "")->uid, 0u);
  EXPECT_FALSE(ResolveUserInRoot(root, "root").ok());
  ASSERT_EQ(::symlink("/real", (root + "/etc/passwd").c_str()), 0);
  ASSERT_TRUE(WriteFileAtomically(root + "/real", "root:x:0:0::/root:/bin/sh\nme:x:5:6::/home/me:\n").ok());
  EXPECT_EQ(ResolveUserInRoot(root, "me")->gid, 6u);
  ASSERT_EQ(::mkfifo((root + "/etc/group").c_str(), 0600), 0);
  EXPECT_THAT(Message(ResolveUserInRoot(root, "me").status()), HasSubstr("not a regular file"));
  ASSERT_EQ(::unlink((root + "/etc/group").c_str()), 0);
  ASSERT_EQ(::mknod((root + "/etc/group").c_str(), S_IFCHR | 0600, makedev(1, 5)), 0);
  EXPECT_THAT(Message(ResolveGroupInRoot(root, "me").status()), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace stasis::image
