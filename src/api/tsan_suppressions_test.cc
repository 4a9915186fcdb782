// Debian's spdlog is built without ThreadSanitizer, which does not see the lock that guards the making of its
// registry, at the first line that is logged.
#if defined(__SANITIZE_THREAD__)
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_suppressions() { return "race:^spdlog::\n"; }
#endif
