#include "engine/image_filter.h"

#include "base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

image::Image MakeImage(std::vector<std::string> tags, int64_t created) {
  auto config = std::make_shared<const Json>(Json{{"config", {{"Labels", {{"role", "front"}}}}}});
  return {Sha256Of(""), std::move(tags), {}, std::move(config), absl::FromUnixSeconds(created), {}, 0};
}

const image::Image kOld = MakeImage({"app/web:1", "other:1", "web:1", "web:2"}, 100);
const image::Image kNew = MakeImage({}, 200);

StatusOr<ImageFilter> Create(const backend::Filters& filters) {
  return ImageFilter::Create(filters, [](const std::string& reference) -> StatusOr<image::Image> {
    if (reference == "old") return kOld;
    if (reference == "new") return kNew;
    return NotFound("No such image: " + reference);
  });
}

bool Matches(const backend::Filters& filters, const image::Image& image) {
  const StatusOr<ImageFilter> filter = Create(filters);
  EXPECT_TRUE(filter.ok()) << filter.status();
  return filter.ok() && filter->Matches(image);
}

std::vector<std::string> Tags(const std::string& reference) {
  return Create({{"reference", {reference}}})->TagsOf(kOld);
}

TEST(ImageFilterTest, AReferenceChoosesTagsAndNotWholeImages) {
  EXPECT_THAT(Tags("web"), ElementsAre("web:1", "web:2"));
  EXPECT_THAT(Tags("web:1"), ElementsAre("web:1"));
  EXPECT_THAT(Tags("*:1"), ElementsAre("other:1", "web:1"));
  EXPECT_THAT(Tags("app/*"), ElementsAre("app/web:1"));
  EXPECT_THAT(Tags("we?:[!1]"), ElementsAre("web:2"));
  EXPECT_THAT(Tags(std::string(300, '*')), IsEmpty());
  EXPECT_TRUE(Matches({{"reference", {"nosuch", "web"}}}, kOld));
  EXPECT_FALSE(Matches({{"reference", {"nosuch"}}}, kOld));
  EXPECT_FALSE(Matches({{"reference", {"*"}}}, kNew));
  EXPECT_THAT(Create({})->TagsOf(kOld), ElementsAre("app/web:1", "other:1", "web:1", "web:2"));
}

TEST(ImageFilterTest, TimesAreThoseOfOtherImagesOrMoments) {
  EXPECT_TRUE(Matches({{"before", {"new"}}}, kOld));
  EXPECT_FALSE(Matches({{"before", {"new"}}}, kNew));
  EXPECT_TRUE(Matches({{"since", {"old"}}}, kNew));
  EXPECT_FALSE(Matches({{"since", {"old"}}}, kOld));
  EXPECT_TRUE(Matches({{"until", {"150"}}}, kOld));
  EXPECT_FALSE(Matches({{"until", {"1970-01-01T00:02:30Z"}}}, kNew));
  EXPECT_TRUE(Matches({{"until", {"24h"}}}, kNew));
  EXPECT_EQ(Message(Create({{"before", {"nosuch"}}}).status()), "No such image: nosuch");
  EXPECT_EQ(Message(Create({{"until", {"soon"}}}).status()), "invalid filter 'until=[soon]'");
}

TEST(ImageFilterTest, LabelsAndDanglingAreAskedFor) {
  EXPECT_TRUE(Matches({{"label", {"role", "role=front"}}}, kOld));
  EXPECT_FALSE(Matches({{"label", {"role=back"}}}, kOld));
  EXPECT_TRUE(Matches({{"dangling", {"true"}}}, kNew));
  EXPECT_FALSE(Matches({{"dangling", {"1"}}}, kOld));
  EXPECT_TRUE(Matches({{"dangling", {"false"}}}, kOld));
  EXPECT_EQ(Message(Create({{"dangling", {"invalid"}}}).status()), "invalid filter 'dangling=[invalid]'");
  EXPECT_EQ(Message(Create({{"nosuch", {"x"}}}).status()), "invalid filter 'nosuch'");
}

}  // namespace
}  // namespace stasis::engine
