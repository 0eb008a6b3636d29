#!/bin/busybox sh
export PATH=/usr/local/bin:/usr/bin:/usr/sbin DM_DISABLE_UDEV=1
/bin/busybox mkdir -p /usr/local/bin /run/cryptsetup
/bin/busybox --install -s /usr/local/bin
ln -sf /usr/local/bin/modprobe /usr/sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mkdir -p /run/cryptsetup /run/lock
for module in virtio_pci virtio_blk dm-mod dm-crypt dm-integrity dm-verity ext4; do
  modprobe "$module" 2>/dev/null
done
# Which disk is which stands in its serial number; the order of their names is the kernel's affair.
for block in /sys/block/vd*; do
  serial=$(cat "$block/serial")
  ln -s "/dev/${block##*/}" "/disk/${serial#disk}"
done
tr -d '\000' < /disk/script > /tmp/script
stty -F /dev/ttyS1 raw
{
  echo "@oracle-begin $(uname -r)"
  cd /tmp
  sh /tmp/script
  echo "@oracle-end $?"
} > /dev/ttyS1 2>&1 < /dev/null
sync
poweroff -f
