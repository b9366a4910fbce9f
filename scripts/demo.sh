#!/usr/bin/env bash
# Three sites on this machine, a service of one called from another, and a line that goes dark. See scripts/README.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/demo.sh [--no-root] [--keep] [--json FILE] | --remove

  --no-root    three gateways on loopback instead of in network namespaces (the default when not root)
  --keep       leave it running at the end, and print the commands to try
  --json FILE  write the results there
  --remove     remove a demo that was kept, or killed
  --help       this text

Exit code: 0 when each step held, 1 when one did not, 2 when the command line is wrong.
TEXT
}

mode=namespaces
is_root || mode=loopback
command=demo
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --no-root) mode=loopback ;;
    --keep) arguments+=(--keep) ;;
    --json)
      [ $# -ge 2 ] || { say "--json needs a file"; usage >&2; exit 2; }
      case $2 in
        /*) arguments+=(--json "$2") ;;
        *) arguments+=(--json "$PWD/$2") ;;
      esac
      shift
      ;;
    --remove) command=remove ;;
    --help | -h) usage; exit 0 ;;
    *) say "unknown option: $1"; usage >&2; exit 2 ;;
  esac
  shift
done

need_sdk "$root"
packages=(nginx=nginx-light redis-server=redis-server redis-cli=redis-tools curl=curl kdig=knot-dnsutils)
if [ "$mode" = namespaces ]; then
  packages+=(ip=iproute2 nft=nftables wg=wireguard-tools wireguard-go=wireguard-go ping=iputils-ping)
fi
ensure_packages "${packages[@]}"

# The lab's project builds the programs along.
say "building (Release)"
log=$(mktemp)
if ! dotnet build "$root/tests/Fabric.Lab" -c Release -v q --nologo >"$log" 2>&1; then
  cat "$log" >&2
  rm -f "$log"
  fail "the build failed"
fi
rm -f "$log"

# exec: a Ctrl-C or SIGTERM reaches the program that cleans up, and its exit code is ours.
exec dotnet "$root/tests/Fabric.Lab/bin/Release/net10.0/Fabric.Lab.dll" "$command" --mode "$mode" "${arguments[@]}"
