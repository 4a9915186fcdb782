// The wire of types.API, field by field, against a table of the wire facts of containerd 0.2.9. The table is
// the contract; proto/types/api.proto must follow it, and may add fields from number 1000 on.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>

#include "types/api.pb.h"

namespace stasis::supervisor {
namespace {

// Method, request, response; "stream" for a response that is one.
constexpr char kMethods[] = R"(
GetServerVersion GetServerVersionRequest GetServerVersionResponse
CreateContainer CreateContainerRequest CreateContainerResponse
UpdateContainer UpdateContainerRequest UpdateContainerResponse
Signal SignalRequest SignalResponse
UpdateProcess UpdateProcessRequest UpdateProcessResponse
AddProcess AddProcessRequest AddProcessResponse
CreateCheckpoint CreateCheckpointRequest CreateCheckpointResponse
DeleteCheckpoint DeleteCheckpointRequest DeleteCheckpointResponse
ListCheckpoint ListCheckpointRequest ListCheckpointResponse
State StateRequest StateResponse
Events EventsRequest Event stream
Stats StatsRequest StatsResponse
)";

// Message, then NUMBER NAME TYPE for each field; [] is repeated, {} a map from string.
constexpr char kMessages[] = R"(
GetServerVersionRequest
UpdateProcessResponse
SignalResponse
CreateCheckpointResponse
DeleteCheckpointResponse
UpdateContainerResponse
GetServerVersionResponse 1 major uint32 2 minor uint32 3 patch uint32 4 revision string
CreateContainerRequest 1 id string 2 bundlePath string 3 checkpoint string 4 stdin string 5 stdout string 6 stderr string 7 labels string[] 8 noPivotRoot bool 9 runtime string 10 runtimeArgs string[] 11 checkpointDir string
CreateContainerResponse 1 container Container
UpdateContainerRequest 1 id string 2 pid string 3 status string 4 resources UpdateResource
UpdateResource 1 blkioWeight uint64 2 cpuShares uint64 3 cpuPeriod uint64 4 cpuQuota uint64 5 cpusetCpus string 6 cpusetMems string 7 memoryLimit uint64 8 memorySwap uint64 9 memoryReservation uint64 10 kernelMemoryLimit uint64 11 kernelTCPMemoryLimit uint64 12 blkioLeafWeight uint64 13 blkioWeightDevice WeightDevice[] 14 blkioThrottleReadBpsDevice ThrottleDevice[] 15 blkioThrottleWriteBpsDevice ThrottleDevice[] 16 blkioThrottleReadIopsDevice ThrottleDevice[] 17 blkioThrottleWriteIopsDevice ThrottleDevice[]
BlockIODevice 1 major int64 2 minor int64
WeightDevice 1 blkIODevice BlockIODevice 2 weight uint32 3 leafWeight uint32
ThrottleDevice 1 blkIODevice BlockIODevice 2 rate uint64
SignalRequest 1 id string 2 pid string 3 signal uint32
UpdateProcessRequest 1 id string 2 pid string 3 closeStdin bool 4 width uint32 5 height uint32
AddProcessRequest 1 id string 2 terminal bool 3 user User 4 args string[] 5 env string[] 6 cwd string 7 pid string 8 stdin string 9 stdout string 10 stderr string 11 capabilities string[] 12 apparmorProfile string 13 selinuxLabel string 14 noNewPrivileges bool 15 rlimits Rlimit[]
AddProcessResponse 1 systemPid uint32
Rlimit 1 type string 2 soft uint64 3 hard uint64
User 1 uid uint32 2 gid uint32 3 additionalGids uint32[]
CreateCheckpointRequest 1 id string 2 checkpoint Checkpoint 3 checkpointDir string
Checkpoint 1 name string 2 exit bool 3 tcp bool 4 unixSockets bool 5 shell bool 6 emptyNS string[]
DeleteCheckpointRequest 1 id string 2 name string 3 checkpointDir string
ListCheckpointRequest 1 id string 2 checkpointDir string
ListCheckpointResponse 1 checkpoints Checkpoint[]
StateRequest 1 id string
StateResponse 1 containers Container[] 2 machine Machine
ContainerState 1 status string
Container 1 id string 2 bundlePath string 3 processes Process[] 4 status string 5 labels string[] 6 pids uint32[] 7 runtime string
Process 1 pid string 2 terminal bool 3 user User 4 args string[] 5 env string[] 6 cwd string 7 systemPid uint32 8 stdin string 9 stdout string 10 stderr string 11 capabilities string[] 12 apparmorProfile string 13 selinuxLabel string 14 noNewPrivileges bool 15 rlimits Rlimit[]
Machine 1 cpus uint32 2 memory uint64
EventsRequest 2 timestamp Timestamp 3 storedOnly bool 4 id string
Event 1 type string 2 id string 3 status uint32 4 pid string 6 timestamp Timestamp
NetworkStats 1 name string 2 rx_bytes uint64 3 rx_Packets uint64 4 Rx_errors uint64 5 Rx_dropped uint64 6 Tx_bytes uint64 7 Tx_packets uint64 8 Tx_errors uint64 9 Tx_dropped uint64
CpuUsage 1 total_usage uint64 2 percpu_usage uint64[] 3 usage_in_kernelmode uint64 4 usage_in_usermode uint64
ThrottlingData 1 periods uint64 2 throttled_periods uint64 3 throttled_time uint64
CpuStats 1 cpu_usage CpuUsage 2 throttling_data ThrottlingData 3 system_usage uint64
PidsStats 1 current uint64 2 limit uint64
MemoryData 1 usage uint64 2 max_usage uint64 3 failcnt uint64 4 limit uint64
MemoryStats 1 cache uint64 2 usage MemoryData 3 swap_usage MemoryData 4 kernel_usage MemoryData 5 stats uint64{}
BlkioStatsEntry 1 major uint64 2 minor uint64 3 op string 4 value uint64
BlkioStats 1 io_service_bytes_recursive BlkioStatsEntry[] 2 io_serviced_recursive BlkioStatsEntry[] 3 io_queued_recursive BlkioStatsEntry[] 4 io_service_time_recursive BlkioStatsEntry[] 5 io_wait_time_recursive BlkioStatsEntry[] 6 io_merged_recursive BlkioStatsEntry[] 7 io_time_recursive BlkioStatsEntry[] 8 sectors_recursive BlkioStatsEntry[]
HugetlbStats 1 usage uint64 2 max_usage uint64 3 failcnt uint64 4 limit uint64
CgroupStats 1 cpu_stats CpuStats 2 memory_stats MemoryStats 3 blkio_stats BlkioStats 4 hugetlb_stats HugetlbStats{} 5 pids_stats PidsStats
StatsRequest 1 id string
StatsResponse 1 network_stats NetworkStats[] 2 cgroup_stats CgroupStats 4 timestamp Timestamp
)";

std::string TypeName(const google::protobuf::FieldDescriptor& field) {
  using Field = google::protobuf::FieldDescriptor;
  if (field.is_map()) {
    EXPECT_EQ(field.message_type()->map_key()->type(), Field::TYPE_STRING);
    return TypeName(*field.message_type()->map_value()) + "{}";
  }
  std::string name = field.type() == Field::TYPE_MESSAGE ? field.message_type()->name() : field.type_name();
  return field.is_repeated() ? name + "[]" : name;
}

const google::protobuf::FileDescriptor& File() { return *types::StateRequest::descriptor()->file(); }

TEST(WireTest, MethodsAreThoseOfTheTable) {
  const google::protobuf::ServiceDescriptor* service = File().FindServiceByName("API");
  ASSERT_NE(service, nullptr);
  EXPECT_EQ(service->full_name(), "types.API");
  std::istringstream lines(kMethods);
  int methods = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    std::istringstream words(line);
    std::string name, request, response, stream;
    words >> name >> request >> response >> stream;
    const google::protobuf::MethodDescriptor* method = service->FindMethodByName(name);
    ASSERT_NE(method, nullptr) << name;
    EXPECT_EQ(method->input_type()->name(), request);
    EXPECT_EQ(method->output_type()->name(), response);
    EXPECT_EQ(method->server_streaming(), stream == "stream") << name;
    EXPECT_FALSE(method->client_streaming()) << name;
    ++methods;
  }
  EXPECT_EQ(methods, 12);
  EXPECT_EQ(service->method_count(), methods);
}

TEST(WireTest, FieldsBelow1000AreThoseOfTheTable) {
  EXPECT_EQ(File().syntax(), google::protobuf::FileDescriptor::SYNTAX_PROTO3);
  std::istringstream lines(kMessages);
  std::set<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    std::istringstream words(line);
    std::string message_name, field_name, type;
    words >> message_name;
    seen.insert(message_name);
    const google::protobuf::Descriptor* message = File().FindMessageTypeByName(message_name);
    ASSERT_NE(message, nullptr) << message_name;
    std::set<int> numbers;
    for (int number; words >> number >> field_name >> type;) {
      numbers.insert(number);
      const google::protobuf::FieldDescriptor* field = message->FindFieldByNumber(number);
      ASSERT_NE(field, nullptr) << message_name << " " << number;
      EXPECT_EQ(field->name(), field_name) << message_name;
      EXPECT_EQ(TypeName(*field), type) << message_name << "." << field_name;
    }
    for (int i = 0; i < message->field_count(); ++i) {
      int number = message->field(i)->number();
      EXPECT_TRUE(number >= 1000 || numbers.contains(number)) << message_name << " " << number;
    }
  }
  for (int i = 0; i < File().message_type_count(); ++i) {
    EXPECT_TRUE(seen.contains(File().message_type(i)->name())) << File().message_type(i)->name();
  }
}

}  // namespace
}  // namespace stasis::supervisor
