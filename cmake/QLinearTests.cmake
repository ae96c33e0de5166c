# What check-qlinear has to build first: tools, plugins and test programs.
function(qlinear_test_depends)
  set_property(GLOBAL APPEND PROPERTY QLINEAR_TEST_DEPENDS ${ARGN})
endfunction()

# A unit test program NAME (ends in "Tests"), run by check-qlinear. MLIR is linked
# only if the libraries under test bring it. QLinearUnitTests builds all of them.
function(qlinear_add_unittest name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  if(NOT CMAKE_CROSSCOMPILING)
    find_package(GTest REQUIRED)
  elseif(NOT TARGET GTest::gtest) # the distribution's sources
    set(INSTALL_GTEST OFF)
    set(BUILD_GMOCK OFF)
    add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/unittests)
  qlinear_test_depends(${name})
  if(NOT TARGET QLinearUnitTests)
    add_custom_target(QLinearUnitTests)
  endif()
  add_dependencies(QLinearUnitTests ${name})
endfunction()
