#include "criu/protections.h"

#include <gtest/gtest.h>

namespace stasis::criu {
namespace {

TEST(ProtectionsTest, OneThatWasMadeSinceHasWhatItsParentHandsOn) {
  const auto process = [](pid_t pid, pid_t parent) {
    Process made;
    made.pid = pid;
    made.inside = pid - 100;
    made.parent = parent;
    made.state = 'S';
    return made;
  };
  std::vector<Process> processes = {process(101, 7),   process(102, 101), process(103, 102),
                                    process(104, 103), process(105, 101), process(106, 105),
                                    process(107, 101)};
  processes.back().state = 'Z';
  Protections protections;
  EXPECT_EQ(protections.Text(processes), "");
  protections.Note(processes[0], 0);
  protections.Note(processes[1], 1);
  protections.Note(processes[4], 3);
  protections.Note(processes[6], 1);
  EXPECT_EQ(protections.Text(processes), "2 1\n3 1\n4 1\n5 3\n");
}

TEST(ProtectionsTest, ATreeThatIsNoneEnds) {
  Process one, other;
  one.pid = other.parent = 8;
  other.pid = one.parent = 9;
  EXPECT_EQ(Protections().Text({one, other}), "");
}

}  // namespace
}  // namespace stasis::criu
