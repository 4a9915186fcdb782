#include "image/changes.h"

#include "gtest/gtest.h"

namespace stasis::image {
namespace {

Json Apply(const std::vector<std::string>& lines) {
  Json config = Json::object();
  for (const std::string& line : lines) {
    Status status = ApplyChange(line, &config);
    EXPECT_TRUE(status.ok()) << line << ": " << Message(status);
  }
  return config;
}

TEST(ChangesTest, LinesOfADockerfileBecomeTheConfiguration) {
  Json config = Apply({"CMD [\"sh\", \"-c\", \"true\"]", "entrypoint /init now", "ENV A=b C=\"d e\" A=f",
                       "ENV OLD some value", "EXPOSE 80 53/udp", "LABEL a=b", "STOPSIGNAL SIGINT",
                       "USER redis", "VOLUME [\"/data\"]", "VOLUME /x /y", "WORKDIR /srv", "WORKDIR app"});
  EXPECT_EQ(config, *ParseJson(R"({"Cmd":["sh","-c","true"],"Entrypoint":["/bin/sh","-c","/init now"],
      "Env":["C=d e","A=f","OLD=some value"],"ExposedPorts":{"80/tcp":{},"53/udp":{}},"Labels":{"a":"b"},
      "StopSignal":"SIGINT","User":"redis","Volumes":{"/data":{},"/x":{},"/y":{}},"WorkingDir":"/srv/app"})"));
}

TEST(ChangesTest, OtherLinesAreRefused) {
  for (const char* line :
       {"", "RUN true", "CMD", "ENV A", "ENV \"A=b", "EXPOSE http", "EXPOSE 70000", "LABEL =b"}) {
    Json config = Json::object();
    EXPECT_EQ(ApplyChange(line, &config).code(), StatusCode::kInvalidArgument) << line;
  }
}

}  // namespace
}  // namespace stasis::image
