#!/bin/sh
# usage: enter_kernel.sh KERNEL_ROOT STATE ARGUMENT...
# Runs the guest's kernel with the libraries it was linked with. The caller has made a mount
# namespace, so nothing here is seen outside, or has to be undone.
set -eu
root=$1 state=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$state" "$root/state"
exec chroot "$root" /usr/bin/linux.uml "$@"
