#!/bin/sh
# usage: enter_kernel.sh KERNEL_ROOT STATE ARGUMENT...
# Runs the kernel of the guest with its own libraries. The caller has created a mount namespace, so
# these mounts are not visible outside and need no cleanup.
set -eu
root=$1 state=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$state" "$root/state"
exec chroot "$root" /usr/bin/linux.uml "$@"
