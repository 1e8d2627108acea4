#!/bin/sh
# Process 1 of the guest (tests/lab/vm.py): a root made of the machine's files that nothing can be written through to,
# the modules that no autoload asks for, then the one command, its status, and the end.
#
# $VM_LINE is the device that is the command's standard input and output. In $VM_SCRATCH, a directory of the machine:
# "command" to run, "status" to leave, "modprobe" for the kernel to call.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs layers /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mkdir -m 1777 /mnt/upper/tmp
for folder in /tmp/rtlab-*; do
    mknod "/mnt/upper$folder" c 0 0 # overlayfs: not there. The labs of other processes are none of the guest's.
done
modprobe -d "$VM_SCRATCH" overlay
mount -t overlay root -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root

cd /mnt/root || exit
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm
mount -t devpts pts dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs run run
mkdir run/vm run/lock
if grep -q hostfs /proc/filesystems; then
    mount -t hostfs vm -o "$VM_SCRATCH" run/vm
else
    mount --bind "$VM_SCRATCH" run/vm
fi

# shellcheck disable=SC2016 # the inner shell expands these
exec chroot . /bin/sh -c '
    for module in ipv6 mpls_router mpls_iptunnel mpls_gso tun tap vhost_net; do modprobe -qd /run/vm $module; done
    echo /run/vm/modprobe >/proc/sys/kernel/modprobe
    echo 1 >/proc/sys/vm/overcommit_memory
    hostname guest
    ip link set lo up
    exec 3<>"$VM_LINE"
    if test -t 3; then stty raw -echo <&3; fi
    printf . >&3
    sh /run/vm/command <&3 >&3 3<&- 2>/dev/console
    echo $? >/run/vm/status
    sync
    exec poweroff -f
'
