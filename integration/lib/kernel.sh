# Where a command meets a kernel with ip_vs: this machine's own, else User-Mode Linux.
# shellcheck shell=bash

# A guest that is not done by then never will be: the whole kernel group takes a few minutes.
guest_seconds=1200
# Six times as long, for benches: under QEMU ipvsadm alone takes half an hour for its five times three tables.
qemu_seconds=7200
# A thousand kills take three seconds each, and up to four times that on a busy machine.
long_seconds=14400
kernel=''

# A bit of each thing that the topology and the agent need of a kernel.
kernel_probe='
  ip link add probe0 type dummy &&
  ip link add probe1 type bridge && [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] &&
  ip link add probe2 type veth peer name probe3 &&
  ipset create probe hash:ip,port,ip &&
  ipvsadm -A -t 192.0.2.1:80 -s rr'

need_kernel() {
  [ -z "$kernel" ] || return 0
  need ip=iproute2 ipvsadm=ipvsadm ipset=ipset iptables=iptables modprobe=kmod sysctl=procps \
    conntrack=conntrack nft=nftables || return 1
  if integration/kernel/native sh -c "$kernel_probe" >/dev/null 2>&1; then
    kernel=native
  else
    need linux.uml=user-mode-linux || return 1
    kernel=uml
  fi
}

# What it takes to boot Debian's kernel under QEMU.
need_qemu() {
  need qemu-system-x86_64=qemu-system-x86 busybox=busybox cpio=cpio modprobe=kmod || return 1
  compgen -G '/boot/vmlinuz-*-cloud-amd64' >/dev/null || need vmlinuz=linux-image-cloud-amd64
}

# Runs a command as root of a kernel that has ip_vs, in network namespaces of its own.
in_kernel() {
  case $kernel in
    native) "$top/integration/kernel/native" "$@" ;;
    uml) "$top/integration/kernel/uml" -m 2G -t "$guest_seconds" -s "$top" -s "$(target_directory)" -- "$@" ;;
  esac
}
