# Options and settings of every target.
option(QLINEAR_BUILD_COMPILER
       "Build the compiler; OFF: the runtime and quant-pack only, for which LLVM is not needed" ON)
option(QLINEAR_BUILD_TESTS "Build the unit tests and configure lit" ON)
option(QLINEAR_BUILD_BENCHMARKS "Build the benchmarks" OFF)
set(QLINEAR_SANITIZE "" CACHE STRING
    "Sanitizers for all code, as in -fsanitize=: address;undefined, thread or empty")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

find_program(QLINEAR_CCACHE ccache DOC "Compiler cache; used if present")
if(QLINEAR_CCACHE)
  foreach(_language C CXX)
    if(NOT CMAKE_${_language}_COMPILER_LAUNCHER)
      set(CMAKE_${_language}_COMPILER_LAUNCHER ${QLINEAR_CCACHE})
    endif()
  endforeach()
endif()

add_compile_options(-Wall -Wextra -Wno-unused-parameter)
if(QLINEAR_SANITIZE)
  list(JOIN QLINEAR_SANITIZE "," _sanitize)
  # Without -fno-sanitize-recover, UBSan reports and the program goes on.
  add_compile_options(-fsanitize=${_sanitize} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${_sanitize})
endif()

include(GNUInstallDirs)

# The Python of scripts/setup.sh has what tests and documentation need.
if(NOT Python3_EXECUTABLE AND EXISTS ${PROJECT_SOURCE_DIR}/.venv/bin/python3)
  set(Python3_EXECUTABLE ${PROJECT_SOURCE_DIR}/.venv/bin/python3)
endif()
