# qlinear_find_python_package(torch "torch.ops.qlinear in C++"): QLINEAR_TORCH_DIR is the folder of
# the package torch of a Python that was found, empty where there is none. It can be given; under
# sanitizers, and for another machine, it is not looked for.
function(qlinear_find_python_package package purpose)
  string(TOUPPER "QLINEAR_${package}_DIR" folder)
  set(find "import importlib.util as u; s = u.find_spec('${package}')
print(s.submodule_search_locations[0] if s else '', end='')")
  if(NOT ${folder} AND NOT QLINEAR_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
    foreach(python ${Python_EXECUTABLE} ${Python3_EXECUTABLE})
      execute_process(COMMAND ${python} -c "${find}" OUTPUT_VARIABLE found ERROR_QUIET)
      if(found AND NOT ${folder})
        set(${folder} ${found})
      endif()
    endforeach()
  endif()
  set(${folder} "${${folder}}" CACHE PATH "Folder of the Python package ${package}, for ${purpose}")
  set(${folder} "${${folder}}" PARENT_SCOPE)
endfunction()
