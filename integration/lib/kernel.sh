# Where a command meets a kernel with ip_vs: this machine's own, else User-Mode Linux.
# shellcheck shell=bash

# A guest that is not done by then never will be: the whole kernel group takes a few minutes.
guest_seconds=1200
kernel=''

need_kernel() {
  [ -z "$kernel" ] || return 0
  need ip=iproute2 ipvsadm=ipvsadm ipset=ipset iptables=iptables modprobe=kmod sysctl=procps \
    conntrack=conntrack || return 1
  if integration/kernel/native sh -c 'ip link add probe type dummy && ipvsadm -Ln && ipset create p hash:ip,port,ip' \
    >/dev/null 2>&1; then
    kernel=native
  else
    need linux.uml=user-mode-linux || return 1
    kernel=uml
  fi
}

# Runs a command as root of a kernel that has ip_vs, in network namespaces of its own.
in_kernel() {
  case $kernel in
    native) "$top/integration/kernel/native" "$@" ;;
    uml) "$top/integration/kernel/uml" -t "$guest_seconds" -s "$top" -s "$(target_directory)" -- "$@" ;;
  esac
}
