#!/usr/bin/env bash
# Measures what the project promises: each subcommand is a program. See scripts/README.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/bench.sh failover [--json FILE] [--only SECTION,...] [--quick] [--cuts N] [--bytes GIB] [--timeline]
       scripts/bench.sh soak [--json FILE] [--minutes N]
       scripts/bench.sh tunnel [--json FILE] [--only FIGURE,...] [--quick] [--rounds N] [--driver DRIVER]
       scripts/bench.sh dns [--json FILE] [--quick] [--rounds N] [--names N,...]

  failover      what a failover costs the application, in network namespaces over emulated links (root; about 25 minutes)
  soak          whether memory or descriptors grow under mixed load with a fault each minute, in such namespaces (root; an hour)
  tunnel        the tunnel beside HAProxy, nginx and stunnel, on loopback (about 11 minutes)
  dns           the name server beside Knot DNS, Unbound, BIND 9 and dnsmasq, on loopback (about 15 minutes)

  --json FILE   write the figures there
  --quick       a tenth of everything, for trying: its figures prove nothing (not of soak: --minutes 4)
  --help        this text

 failover:
  --only S,...  only these sections: pause, mirrored, detect, false, flap, planned, hashes
  --cuts N      silent cuts in each direction, 100 by default
  --bytes GIB   of hashed streams, 10 by default
  --timeline    print what happened at a typical cut

 soak:
  --minutes N   how long, 60 by default, at least 2

 tunnel:
  --only F,...  only these figures: bulk_1, cpu_per_gib, bulk_8, rps_32, p99_32, mixed_p99, mixed_rps, conns_per_s,
                idle_kib, rss_after_load, telemetry_throughput_cost, telemetry_cpu_cost
  --rounds N    of all contestants, 5 by default
  --driver D    of the tunnel: portable, linux, auto; both (the default) is portable and auto, each in its column

 dns:
  --rounds N    of all contestants, 5 by default
  --names N,... names in the zone, 1000 and 100000 by default; the figures are of the one that is worse

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

# lab ARGUMENT...: the program that measures, on fabricd as shipped.
lab() {
  build tests/Fabric.Lab
  # As shipped: compiled ahead of time, or the first moments would measure the compiler.
  say "publishing"
  FABRIC_LAB_PROGRAMS=$("$root/scripts/publish.sh")
  export FABRIC_LAB_PROGRAMS
  # exec: a Ctrl-C or SIGTERM reaches the program that cleans up, and its exit code is ours.
  exec dotnet "$root/tests/Fabric.Lab/bin/Release/net10.0/Fabric.Lab.dll" "$@"
}

# namespaces SUBCOMMAND ARGUMENT...: on a fabric in network namespaces.
namespaces() {
  is_root || fail "network namespaces and TUN devices need root"
  [ -c /dev/net/tun ] || fail "/dev/net/tun is missing: the emulated links are TUN devices"
  ensure_packages ip=iproute2 curl=curl setsid=util-linux
  lab "$@"
}

failover() {
  namespaces failover "$@"
}

soak() {
  namespaces soak "$@"
}

tunnel() {
  ensure_packages haproxy=haproxy nginx=nginx-light /usr/lib/nginx/modules/ngx_stream_module.so=libnginx-mod-stream \
    stunnel4=stunnel4 setsid=util-linux
  # Thousands of connections, for everybody alike.
  ulimit -n "$(ulimit -Hn)"
  lab tunnel "$@"
}

dns() {
  ensure_packages knotd=knot unbound=unbound named=bind9 dnsmasq=dnsmasq-base dnsperf=dnsperf setsid=util-linux
  build tests/Fabric.Benchmarks
  build tests/Fabric.Lab
  exec dotnet "$root/tests/Fabric.Lab/bin/Release/net10.0/Fabric.Lab.dll" dns "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  failover | soak | tunnel | dns) ;;
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
