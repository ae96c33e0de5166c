# LLVM/MLIR 22 as distributed: the dylibs libLLVM and libMLIR.
list(APPEND CMAKE_PREFIX_PATH /usr/lib/llvm-22)
find_package(MLIR 22.1 QUIET CONFIG)
if(NOT MLIR_FOUND)
  message(FATAL_ERROR "MLIR 22.1 was not found under ${CMAKE_PREFIX_PATH}; run "
    "scripts/setup.sh, which installs it, or set MLIR_DIR to its lib/cmake/mlir")
endif()

# Set after find_package: the distribution's config says otherwise.
set(LLVM_LINK_LLVM_DYLIB ON)
set(MLIR_LINK_MLIR_DYLIB ON)
set(MLIR_BINARY_DIR ${CMAKE_BINARY_DIR})
set(LLVM_EXTERNAL_LIT ${LLVM_TOOLS_BINARY_DIR}/lit)
set(LLVM_RUNTIME_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/bin)
set(LLVM_LIBRARY_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/lib)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

separate_arguments(_definitions NATIVE_COMMAND "${LLVM_DEFINITIONS}")

# A library above Encoding: C++ against MLIR, no RTTI and no exceptions as LLVM is
# built. Encoding and the runtime never call this, so they cannot include MLIR.
function(qlinear_add_mlir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  qlinear_use_mlir(${name})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  qlinear_install(${name})
endfunction()

# MLIR's own include directories are no part of what is exported: where MLIR lies
# is found again on the machine of whoever uses the package (QLinearConfig.cmake).
function(qlinear_use_mlir name)
  target_include_directories(${name} SYSTEM PUBLIC
    "$<BUILD_INTERFACE:${MLIR_INCLUDE_DIRS}>" "$<BUILD_INTERFACE:${LLVM_INCLUDE_DIRS}>")
  target_include_directories(${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  # The distribution's libMLIR.so is on no default search path.
  set_property(TARGET ${name} APPEND PROPERTY INSTALL_RPATH ${LLVM_LIBRARY_DIR})
  target_compile_options(${name} PRIVATE -fno-rtti -fno-exceptions)
  target_compile_definitions(${name} PUBLIC ${_definitions})
endfunction()
