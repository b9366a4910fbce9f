#!/usr/bin/env bash
# Measures what the project promises: each subcommand is a program. See scripts/README.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/bench.sh failover [--json FILE] [--only SECTION,...] [--quick] [--cuts N] [--bytes GIB] [--timeline]

  failover      what a failover costs the application, in network namespaces over emulated links (root; about 25 minutes)

  --json FILE   write the figures there
  --only S,...  only these sections: pause, mirrored, detect, false, flap, planned, hashes
  --quick       a tenth of everything, for trying: its figures prove nothing
  --cuts N      silent cuts in each direction, 100 by default
  --bytes GIB   of hashed streams, 10 by default
  --timeline    print what happened at a typical cut
  --help        this text

Exit code: 0 when every figure that was measured met its goal, 1 when one did not, 2 when the command line is wrong.
TEXT
}

# build PROJECT: in Release, quietly unless it fails.
build() {
  say "building (Release)"
  local log
  log=$(mktemp)
  if ! dotnet build "$root/$1" -c Release -v q --nologo >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "the build failed"
  fi
  rm -f "$log"
}

failover() {
  is_root || fail "network namespaces and TUN devices need root"
  [ -c /dev/net/tun ] || fail "/dev/net/tun is missing: the emulated links are TUN devices"
  ensure_packages ip=iproute2 curl=curl setsid=util-linux
  build tests/Fabric.Lab
  # As shipped: compiled ahead of time, or the first cuts would measure the compiler.
  say "publishing"
  FABRIC_LAB_PROGRAMS=$("$root/scripts/publish.sh")
  export FABRIC_LAB_PROGRAMS
  # exec: a Ctrl-C or SIGTERM reaches the program that cleans up, and its exit code is ours.
  exec dotnet "$root/tests/Fabric.Lab/bin/Release/net10.0/Fabric.Lab.dll" failover "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  failover) ;;
  --help | -h) usage; exit 0 ;;
  *) say "unknown command: ${command:-none}"; usage >&2; exit 2 ;;
esac
for argument in "$@"; do
  case $argument in
    --help | -h) usage; exit 0 ;;
  esac
done

need_sdk "$root"
"$command" "$@"
