#!/usr/bin/env bash
# Publishes fabricd and fabric as self-contained programs. See scripts/README.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/publish.sh [RUNTIME] [FOLDER]

  RUNTIME  linux-x64 (the default), linux-arm64, win-x64
  FOLDER   where to; default: artifacts/RUNTIME

Makes one folder with fabricd, fabric and the .NET runtime, and prints its path. Nothing else is needed where they run but
libssl3, and wireguard-go where the kernel has no WireGuard. Linux: the systemd unit lies beside them. Compiled ahead of
time: the first failover of a process is as quick as the next.
TEXT
}

runtime=linux-x64
case ${1:-} in
  --help | -h) usage; exit 0 ;;
  linux-x64 | linux-arm64 | win-x64) runtime=$1 ;;
  "") ;;
  *) say "unknown runtime: $1"; usage >&2; exit 2 ;;
esac
out=${2:-$root/artifacts/$runtime}
case $out in
  /*) ;;
  *) out=$PWD/$out ;;
esac

need_sdk "$root"
# A new folder takes the old one's name: what a former build left does not mix in, and a failure leaves the former whole.
next=$out.next
rm -rf "$next"
for project in Fabric.Gateway Fabric.Cli; do
  dotnet publish "$root/src/$project" -c Release -r "$runtime" --self-contained -p:PublishReadyToRun=true -o "$next" -v quiet --nologo >&2 ||
    fail "the publishing of $project failed"
done
case $runtime in
  linux-*) install -m 0644 "$root/scripts/systemd/fabricd.service" "$next/" ;;
esac
rm -rf "$out"
mv "$next" "$out"
printf '%s\n' "$out"
