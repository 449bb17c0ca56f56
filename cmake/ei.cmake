# SPDX-License-Identifier: Apache-2.0
# ei, the C half of Erlang's external term format, as the target "ei".
# OTP knows where it is; the name of the directory carries a version.
if(NOT EI_DIR)
  execute_process(
    COMMAND erl -noshell -eval
      "io:put_chars(code:lib_dir(erl_interface)), halt()."
    OUTPUT_VARIABLE ei_dir RESULT_VARIABLE ei_failed ERROR_QUIET)
  if(ei_failed)
    message(FATAL_ERROR "erl didn't say where erl_interface is: install erlang-dev, or set EI_DIR")
  endif()
  set(EI_DIR "${ei_dir}" CACHE PATH "erl_interface of OTP" FORCE)
endif()
find_library(EI_LIBRARY ei PATHS ${EI_DIR}/lib NO_DEFAULT_PATH REQUIRED)
find_package(Threads REQUIRED)
add_library(ei INTERFACE)
target_include_directories(ei SYSTEM INTERFACE ${EI_DIR}/include)
target_link_libraries(ei INTERFACE ${EI_LIBRARY} Threads::Threads)
