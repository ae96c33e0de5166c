# Run by each build: writes OUTPUT, with the commit of SOURCE if it is a checkout, and
# leaves it alone where nothing has changed.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND git rev-parse --short=12 HEAD
  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit ERROR_QUIET RESULT_VARIABLE status
  OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT status EQUAL 0)
  set(commit "")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT
"#define QLINEAR_VERSION \"@VERSION@\"
#define QLINEAR_COMMIT \"@commit@\"
")
