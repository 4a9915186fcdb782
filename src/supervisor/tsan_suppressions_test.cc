// Debian's gRPC, protobuf and absl are built without ThreadSanitizer, which does not see their locks and so
// takes each hand-over of memory between their threads for a race. What has a frame of theirs in it is left
// out; with `race_top` instead, which leaves out less, the reports that remain are all of memory that gRPC
// allocated or frees.
#if defined(__SANITIZE_THREAD__)
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libgrpc.so\n"
         "called_from_lib:libgrpc++.so\n"
         "called_from_lib:libprotobuf.so\n"
         "race:^grpc::\n"
         "race:^grpc_\n"
         "race:libgrpc\n"
         "race:libgpr.so\n"
         "race:libprotobuf\n"
         "race:libupb.so\n"
         "race:libabsl_\n";
}
#endif
