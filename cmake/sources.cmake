# SPDX-License-Identifier: Apache-2.0
# What is compiled into what.
file(GLOB LIBEVUM_SOURCES CONFIGURE_DEPENDS c_src/*.c)
foreach(part port attach init)
  string(TOUPPER ${part} upper)
  file(GLOB sources CONFIGURE_DEPENDS c_src/${part}/*.c)
  set(main ${sources})
  list(FILTER main INCLUDE REGEX "/${part}/(main|init)\\.c$")
  list(FILTER sources EXCLUDE REGEX "/${part}/(main|init)\\.c$")
  set(${upper}_MAIN ${main})
  set(${upper}_SOURCES ${sources})
endforeach()
