# stasis_room(NAME [LINK rooms...] [USE libraries...] [PRIVATE_USE libraries...])
#
# A room is a folder of src/: every x.cc in it is the room's library, every x_test.cc the room's
# tests. Its headers are reached as "NAME/x.h", through a build directory that holds one link named
# NAME; that directory is handed only to the rooms that LINK it, so a wrong include does not build.
# The directory is given by -iquote: <linux/...> of the kernel never finds a file of ours.
include(GoogleTest)

# Of a test, and of the programs that it starts.
set(STASIS_TEST_PROPERTIES TIMEOUT 120
    ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/cmake/tsan_suppressions.txt")

function(stasis_room name)
  cmake_parse_arguments(ROOM "" "" "LINK;USE;PRIVATE_USE" ${ARGN})
  set(source_dir ${CMAKE_SOURCE_DIR}/src/${name})
  set(include_dir ${CMAKE_BINARY_DIR}/rooms/${name})
  file(MAKE_DIRECTORY ${include_dir})
  if(NOT EXISTS ${include_dir}/${name})
    file(CREATE_LINK ${source_dir} ${include_dir}/${name} SYMBOLIC)
  endif()

  file(GLOB sources CONFIGURE_DEPENDS ${source_dir}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")

  set(links "")
  foreach(other ${ROOM_LINK})
    list(APPEND links stasis_${other})
  endforeach()

  if(sources)
    add_library(stasis_${name} STATIC ${sources})
    set(scope PUBLIC)
    target_link_libraries(stasis_${name} PRIVATE ${ROOM_PRIVATE_USE})
  else()
    add_library(stasis_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_compile_options(stasis_${name} ${scope} "SHELL:-iquote ${include_dir}")
  target_link_libraries(stasis_${name} ${scope} ${links} ${ROOM_USE})

  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE stasis_${name} ${ROOM_PRIVATE_USE} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                         PROPERTIES ${STASIS_TEST_PROPERTIES})
  endif()
endfunction()
