# `cpack --config build/release/CPackConfig.cmake`: a package for Debian and Ubuntu of what
# `cmake --install` installs, below /usr.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME qlinear)
set(CPACK_PACKAGE_VENDOR QLinear)
set(CPACK_PACKAGE_CONTACT "QLinear's contributors <contributors@qlinear.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
# LLVM, MLIR, oneTBB, fmt by what the files are linked with; the rest by hand.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
if(QLINEAR_TORCH_DIR) # of no package: its operators are loaded where PyTorch is
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${QLINEAR_TORCH_DIR}/lib)
endif()
set(CPACK_DEBIAN_PACKAGE_DEPENDS "lld-22 | lld | gcc, python3")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "python3-numpy")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libmlir-22-dev, nlohmann-json3-dev, libtbb-dev, libfmt-dev, libxxhash-dev")
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/debian/link_python.cmake @ONLY CONTENT [=[
# Python finds packages of Debian in one folder.
set(_folder "${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/lib/python3/dist-packages")
file(MAKE_DIRECTORY "${_folder}")
file(CREATE_LINK "../../../@CMAKE_INSTALL_LIBDIR@/python/qlinear" "${_folder}/qlinear" SYMBOLIC)
]=])
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_BINARY_DIR}/debian/link_python.cmake)
# Makes the list of libraries anew.
file(WRITE ${PROJECT_BINARY_DIR}/debian/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/triggers)
include(CPack)
