# SPDX-License-Identifier: Apache-2.0
# What is compiled into what.  Each program is its main and the rest, which its tests link too.
function(evum_sources name dir)
  list(TRANSFORM ARGN PREPEND ${PROJECT_SOURCE_DIR}/${dir}/)
  list(TRANSFORM ARGN APPEND .c)
  set(${name} ${ARGN} PARENT_SCOPE)
endfunction()

evum_sources(LIBEVUM_SOURCES c_src
  agent argv children config jail jail_child jail_plan kernel_elf landlock layer mconsole
  probe reaper rings rundir seccomp vm vm_agent vm_console vm_mconsole
  vm_nic vm_program vm_stop)

set(PORT_MAIN ${PROJECT_SOURCE_DIR}/c_src/port/main.c)
evum_sources(PORT_SOURCES c_src/port
  backlog batch bulk burst call event flows frames input offers request rpc start term wire)

set(ATTACH_MAIN ${PROJECT_SOURCE_DIR}/c_src/attach/main.c)
evum_sources(ATTACH_SOURCES c_src/attach
  beam bridge find link tty)

set(INIT_MAIN ${PROJECT_SOURCE_DIR}/c_src/init/init.c)
evum_sources(INIT_SOURCES c_src/init
  agent boot builtin cmdline diff dir disk etc files frame freeze get guardian held inner input interface
  klog limit line module mount names net net_command net_names nic node notify oom output
  outq path proc pty put resolve rtnl rtnl_message run seen share spawn spool streams
  temporary user watch watch_file watch_init watch_net watch_port)

set(UPLINK_MAIN ${PROJECT_SOURCE_DIR}/c_src/uplink/main.c)
evum_sources(UPLINK_SOURCES c_src
  landlock port/batch port/rpc port/start port/term port/wire
  uplink/call uplink/confine uplink/datagrams uplink/device uplink/filter uplink/forward uplink/gather
  uplink/gso uplink/nat uplink/packet uplink/polls uplink/segments uplink/tap
  uplink/uplink)

set(FILE_MAIN ${PROJECT_SOURCE_DIR}/c_src/file/main.c)
evum_sources(FILE_SOURCES c_src
  children file/copy file/tool port/rpc port/start port/term port/wire)
