# `cmake --install`: a relocatable package with headers, libraries, the plugin,
# tools and QLinearConfig.cmake, which gives targets QLinear::NAME.
include(CMakePackageConfigHelpers)

# Libraries and tools find each other wherever the package lies.
set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
set(_qlinear_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/QLinear)

# Installs and exports targets of any kind. A library that an exported one links has to
# be exported too: CMake says so when it generates ("requires target ... that is not in
# any export set").
function(qlinear_install)
  install(TARGETS ${ARGN} EXPORT QLinearTargets
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  qlinear_test_depends(${ARGN}) # the package itself is tested
endfunction()

# A command-line tool: built into bin/, installed, and built before the tests run.
# With MLIR it is compiled as MLIR is.
function(qlinear_add_tool name)
  cmake_parse_arguments(ARG "MLIR" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_MLIR)
    qlinear_use_mlir(${name})
  endif()
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  qlinear_test_depends(${name})
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# A plugin for mlir-opt (--load-dialect-plugin, --load-pass-plugin) in lib/.
function(qlinear_add_plugin name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} MODULE ${ARG_SOURCES})
  qlinear_use_mlir(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  set_target_properties(${name} PROPERTIES PREFIX "")
  qlinear_test_depends(${name})
  install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

# Packages that exported libraries need to be linked, found again by
# QLinearConfig.cmake: qlinear_install_dependency(TBB nlohmann_json).
function(qlinear_install_dependency)
  set_property(GLOBAL APPEND PROPERTY QLINEAR_DEPENDENCIES ${ARGN})
endfunction()

# `pkg-config --cflags --libs NAME`, for programs that are built without CMake:
# qlinear_install_pkgconfig(qlinear-runtime QLinearRuntime "what it is").
function(qlinear_install_pkgconfig _name _library _description)
  file(RELATIVE_PATH _to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/qlinear.pc.in
    ${PROJECT_BINARY_DIR}/pkgconfig/${_name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/pkgconfig/${_name}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

function(qlinear_install_package)
  get_property(QLINEAR_DEPENDENCIES GLOBAL PROPERTY QLINEAR_DEPENDENCIES)
  list(REMOVE_DUPLICATES QLINEAR_DEPENDENCIES)
  # Sources and what tablegen made; the .td files too, for dialects on top of ours.
  set(_generated "")
  if(QLINEAR_BUILD_COMPILER)
    set(_generated ${PROJECT_BINARY_DIR}/include/)
  endif()
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ ${_generated}
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN "*.td"
    PATTERN CMakeFiles EXCLUDE)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/runtime/include/
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/qlinear)

  install(EXPORT QLinearTargets NAMESPACE QLinear:: DESTINATION ${_qlinear_cmake_dir})
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/QLinearConfig.cmake.in
    ${PROJECT_BINARY_DIR}/cmake/QLinearConfig.cmake
    INSTALL_DESTINATION ${_qlinear_cmake_dir}
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_BINDIR CMAKE_INSTALL_LIBDIR)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/QLinearConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/cmake/QLinearConfig.cmake
    ${PROJECT_BINARY_DIR}/cmake/QLinearConfigVersion.cmake DESTINATION ${_qlinear_cmake_dir})
endfunction()
