#!/bin/sh
# Runs a command in a virtual machine whose kernel has WireGuard, for machines whose own kernel has none.
#
#   kernel-vm.sh COMMAND [ARGUMENT...]
#
# The machine is qemu with software emulation (no KVM needed). It boots a distribution kernel of /boot (KERNEL=VERSION picks
# one; default: the newest whose modules have WireGuard) and sees this machine's files, read-only, by 9p, with memory file
# systems on /tmp and /run. Exits with the command's exit code; 124 when it takes longer than LIMIT seconds (default 230).
#
# Needs: qemu-system-x86_64, busybox (static), cpio, xz, modprobe, a kernel with its modules (Debian: linux-image-amd64).
set -eu

limit=${LIMIT:-230}
kernel=${KERNEL:-$(for m in /lib/modules/*/kernel/drivers/net/wireguard/wireguard.ko*; do echo "${m#/lib/modules/}"; done \
  | cut -d/ -f1 | sort -V | tail -n 1)}
if [ ! -r "/boot/vmlinuz-$kernel" ]; then
  echo "kernel-vm.sh: no kernel /boot/vmlinuz-$kernel with WireGuard; install one (Debian: linux-image-amd64)" >&2
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/bin" "$work/root/sbin" "$work/root/modules" "$work/root/host"
cp "$(command -v busybox)" "$work/root/bin/busybox"

# The modules that reach this machine's files, in the order in which they load; all others come from there.
number=10
for module in virtio_pci 9pnet_virtio 9p; do
  modprobe -S "$kernel" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
done | awk '!seen[$0]++' | while read -r path; do
  number=$((number + 1))
  case $path in
    *.xz) xz -dc "$path" >"$work/root/modules/$number.ko" ;;
    *.zst) zstd -qdc "$path" >"$work/root/modules/$number.ko" ;;
    *) cp "$path" "$work/root/modules/$number.ko" ;;
  esac
done

# The command, as a script of the guest: each word quoted.
{
  echo '#!/bin/sh'
  echo "export PATH='$PATH:/usr/local/sbin:/usr/sbin:/sbin' HOME=/tmp DOTNET_CLI_HOME=/tmp TMPDIR=/tmp"
  [ -z "${DOTNET_ROOT:-}" ] || echo "export DOTNET_ROOT='$DOTNET_ROOT'"
  echo "cd '$PWD'"
  # A compiler that optimises later serves a slow processor badly.
  echo 'export DOTNET_TieredPGO=0 DOTNET_TC_BackgroundWorkerTimeoutMs=0'
  for word in "$@"; do
    printf "'%s' " "$(printf %s "$word" | sed "s/'/'\\\\''/g")"
  done
  echo
} >"$work/root/command"

cat >"$work/root/init" <<'INIT'
#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc && $bb mount -t proc proc /proc
for module in /modules/*.ko; do $bb insmod "$module"; done
$bb mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host
$bb mount -t proc proc /host/proc
$bb mount -t sysfs sys /host/sys
$bb mount -t devtmpfs dev /host/dev
$bb mount -t tmpfs tmp /host/tmp
$bb mount -t tmpfs run /host/run
$bb cp /command /host/run/command
$bb ip link set lo up
$bb chroot /host /bin/sh /run/command </host/dev/null
echo "kernel-vm: exit $?"
$bb poweroff -f
INIT

# The kernel calls this when somebody asks for what a module has.
cat >"$work/root/sbin/modprobe" <<'MODPROBE'
#!/bin/busybox sh
exec /bin/busybox chroot /host /sbin/modprobe "$@"
MODPROBE
chmod +x "$work/root/init" "$work/root/sbin/modprobe"
(cd "$work/root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs"

status=0
timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -no-reboot \
  -display none -monitor none -serial "file:$work/console" \
  -kernel "/boot/vmlinuz-$kernel" -initrd "$work/initramfs" -append 'console=ttyS0 quiet panic=-1 net.ifnames=0' \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
  -nic none </dev/null || status=$?
tr -d '\r' <"$work/console"
if [ "$status" -ne 0 ]; then
  exit "$status"
fi

exit "$(tr -d '\r' <"$work/console" | sed -n 's/^kernel-vm: exit //p' | tail -n 1 | grep . || echo 125)"
