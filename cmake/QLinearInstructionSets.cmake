# The instruction sets of CPU kernels, read from the table that compiler and runtime have.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(_host x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(_host arm64)
else()
  set(_host other)
endif()

set(_table ${PROJECT_SOURCE_DIR}/include/qlinear/Support/InstructionSets.h)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${_table})
set(_entry "{\"([^\"]+)\", (Architecture::|kHost)([A-Za-z0-9_]+), \"([^\"]*)\", \"([^\"]*)\"}")
file(STRINGS ${_table} _lines REGEX "${_entry}")
set(QLINEAR_INSTRUCTION_SETS "")      # names
set(QLINEAR_HOST_INSTRUCTION_SETS "") # those of the architecture that is built for
foreach(_line IN LISTS _lines)
  string(REGEX MATCH "${_entry}" _ "${_line}")
  set(_name ${CMAKE_MATCH_1})
  set(_architecture ${CMAKE_MATCH_3})
  set(_cpu ${CMAKE_MATCH_4})
  string(REPLACE "," "" _features "${CMAKE_MATCH_5}") # "+a+b"
  if(_architecture STREQUAL Architecture) # kHostArchitecture
    set(_architecture ${_host})
  endif()
  # Flags of clang and GCC.
  set(_flags "")
  if(_architecture STREQUAL arm64)
    set(_flags -march=armv8-a${_features})
  elseif(_cpu)
    string(REPLACE "+" ";-m" _features "${_features}")
    set(_flags -march=${_cpu} ${_features})
  endif()
  list(APPEND QLINEAR_INSTRUCTION_SETS ${_name})
  set(QLINEAR_FLAGS_${_name} ${_flags})
  set(QLINEAR_CROSS_${_name} "") # what clang needs besides to compile for it here
  if(_architecture STREQUAL _host)
    list(APPEND QLINEAR_HOST_INSTRUCTION_SETS ${_name})
  elseif(_architecture STREQUAL arm64)
    set(QLINEAR_CROSS_${_name} --target=aarch64-linux-gnu)
  else()
    set(QLINEAR_CROSS_${_name} --target=x86_64-linux-gnu)
  endif()
endforeach()
if(NOT QLINEAR_HOST_INSTRUCTION_SETS)
  message(FATAL_ERROR "no instruction sets were found in ${_table}; the pattern in "
    "${CMAKE_CURRENT_LIST_FILE} has to match the lines of its table")
endif()
