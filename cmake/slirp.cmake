# SPDX-License-Identifier: Apache-2.0
# libslirp, as the target "slirp".  Its pkg-config file wants GLib's headers, which
# only its own build needs.
find_path(SLIRP_INCLUDE slirp/libslirp.h)
find_library(SLIRP_LIBRARY slirp)
if(NOT SLIRP_INCLUDE OR NOT SLIRP_LIBRARY)
  message(FATAL_ERROR "libslirp isn't there: install libslirp-dev, or set SLIRP_INCLUDE and SLIRP_LIBRARY")
endif()
add_library(slirp INTERFACE)
target_include_directories(slirp SYSTEM INTERFACE ${SLIRP_INCLUDE})
target_link_libraries(slirp INTERFACE ${SLIRP_LIBRARY})
