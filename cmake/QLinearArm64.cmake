# Beside a build for x86-64 the same sources for arm64, as far as tests run them under
# QEMU: the runtime, quant-run, the tests of kernels. Where what scripts/setup.sh installs
# for it is missing, those tests are skipped.
set(QLINEAR_ARM64 "")
find_program(QLINEAR_QEMU_ARM64 qemu-aarch64 DOC "Runs programs of arm64 in tests")
if(QLINEAR_QEMU_ARM64 AND NOT QLINEAR_SANITIZE AND NOT CMAKE_CROSSCOMPILING
    AND EXISTS ${PROJECT_SOURCE_DIR}/.sysroot-arm64/usr)
  include(ExternalProject)
  set(QLINEAR_ARM64 ${PROJECT_BINARY_DIR}/arm64)
  ExternalProject_Add(qlinear-arm64
    SOURCE_DIR ${PROJECT_SOURCE_DIR}
    BINARY_DIR ${QLINEAR_ARM64}
    PREFIX ${QLINEAR_ARM64}/external
    CMAKE_ARGS -DCMAKE_TOOLCHAIN_FILE=${PROJECT_SOURCE_DIR}/cmake/arm64.cmake
      -DQLINEAR_BUILD_COMPILER=OFF -DCMAKE_BUILD_TYPE=Release
      -DQLINEAR_CCACHE=${QLINEAR_CCACHE}
    BUILD_COMMAND ${CMAKE_COMMAND} --build <BINARY_DIR>
      --target quant-run CpuKernelsTests MetadataTests
    BUILD_ALWAYS ON
    EXCLUDE_FROM_ALL ON
    INSTALL_COMMAND "")
  qlinear_test_depends(qlinear-arm64)
endif()
