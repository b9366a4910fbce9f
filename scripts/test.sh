#!/usr/bin/env bash
# Builds everything with warnings as errors, and runs every test. See scripts/README.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/test.sh [--no-skips] [--filter EXPRESSION] [PROJECT...]

  PROJECT      run only these: Routing, Fabric.Routing.Tests, Lab, Architecture ...
  --filter E   passed to dotnet test, e.g. --filter 'FullyQualifiedName~Dns'
  --no-skips   a skipped test fails the run (always so with CI=true)
  --help       this text

As root it installs the Debian packages that tests need, and runs the lab in network namespaces. Results: TestResults/*.trx.
Exit code: 0 when all that ran passed, 1 when not, 2 when the command line is wrong.
TEXT
}

no_skips=no
[ "${CI:-}" != true ] || no_skips=yes
filter=()
wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    --no-skips) no_skips=yes ;;
    --filter)
      [ $# -ge 2 ] || { say "--filter needs an expression"; exit 2; }
      filter=(--filter "$2")
      shift
      ;;
    --help | -h) usage; exit 0 ;;
    -*) say "unknown option: $1"; usage >&2; exit 2 ;;
    *) wanted+=("$1") ;;
  esac
  shift
done

need_sdk "$root"
packages=(
  nginx=nginx-light nghttp=nghttp2-client redis-server=redis-server redis-cli=redis-tools curl=curl kdig=knot-dnsutils
  ip=iproute2 nft=nftables wg=wireguard-tools wireguard-go=wireguard-go ping=iputils-ping setpriv=util-linux
  shellcheck=shellcheck python3=python3
  /usr/lib/python3/dist-packages/grpc=python3-grpcio
  /usr/lib/python3/dist-packages/google/protobuf=python3-protobuf
  systemd-nspawn=systemd-container systemd-analyze=systemd debootstrap=debootstrap
  knotd=knot musl-gcc=musl-tools delv=bind9-dnsutils node=nodejs getent=libc-bin unshare=util-linux
  /usr/share/zoneinfo/Europe/Paris=tzdata
  chromium=chromium tcpdump=tcpdump
  avahi-daemon=avahi-daemon avahi-browse=avahi-utils dbus-daemon=dbus-daemon
  dig=bind9-dnsutils dnsmasq=dnsmasq-base openssl=openssl fish=fish zsh=zsh
  kubectl=kubernetes-client capsh=libcap2-bin setcap=libcap2-bin ruby=ruby vagrant=vagrant qemu-system-x86_64=qemu-system-x86 busybox=busybox-static cpio=cpio xz=xz-utils
)
# The kernel driver of WireGuard is tested in a virtual machine with a distribution's kernel. A kernel is not installed on a
# developer's machine for that: where there is none with WireGuard, that test is skipped, and says so.
if [ "${CI:-}" = true ] && ! compgen -G '/lib/modules/*/kernel/drivers/net/wireguard/wireguard.ko*' >/dev/null; then
  packages+=(/a-kernel-with-wireguard=linux-image-amd64)
fi
if is_root; then
  ensure_packages "${packages[@]}"
fi

# Every folder under tests/ with a project that xunit runs.
projects=()
for file in "$root"/tests/*/*.csproj; do
  name=$(basename "$file" .csproj)
  case $name in
    Fabric.Testing | Fabric.Benchmarks) continue ;;
  esac
  if [ "${#wanted[@]}" -gt 0 ]; then
    found=no
    for want in "${wanted[@]}"; do
      case $name in
        "$want" | "Fabric.$want" | "Fabric.$want.Tests") found=yes ;;
      esac
    done
    [ "$found" = yes ] || continue
  fi
  projects+=("$name")
done
[ "${#projects[@]}" -gt 0 ] || { say "no test project is called ${wanted[*]}"; exit 2; }

results=$root/TestResults
rm -rf "$results"
mkdir -p "$results"
cd "$root"

say "building"
if [ "${#wanted[@]}" -eq 0 ]; then
  dotnet build Fabric.sln -c Release -v q --nologo
else
  for target in "${projects[@]/#/tests/}"; do
    dotnet build "$target" -c Release -v q --nologo
  done
fi

# The lab runs the programs as they are shipped: compiled ahead of time, they start in a third of the time, and it starts them hundreds of times.
if [ "${#filter[@]}" -eq 0 ] && [[ " ${projects[*]} " == *" Fabric.Lab "* ]]; then
  say "publishing"
  FABRIC_LAB_PROGRAMS=$("$root/scripts/publish.sh" linux-x64)
  export FABRIC_LAB_PROGRAMS
fi

# counter NAME FILE: one of the counters of a trx.
counter() {
  grep -o '<Counters [^>]*' "$2" | grep -o " $1=\"[0-9]*\"" | grep -o '[0-9]*'
}

# No test takes half as long.
hang_limit=8m
failed=0
skipped_total=0
for name in "${projects[@]}"; do
  started=$(date +%s)
  status=0
  # The console logger at "minimal" is what says why a test failed. A test that hangs ends its project, and is named.
  dotnet test "tests/$name" -c Release --no-build --nologo --logger "console;verbosity=minimal" \
    --results-directory "$results" --logger "trx;LogFileName=$name.trx" \
    --blame-hang-timeout "$hang_limit" --blame-hang-dump-type none "${filter[@]}" >"$results/$name.log" 2>&1 || status=$?
  trx=$results/$name.trx
  if [ ! -s "$trx" ]; then
    if [ "$status" -eq 0 ] && [ "${#filter[@]}" -gt 0 ]; then
      continue
    fi
    if [ "$status" -eq 0 ] && grep -q 'No test is available' "$results/$name.log"; then
      printf '%-28s no tests\n' "$name"
      continue
    fi
    printf '%-28s DID NOT RUN (exit %s)\n' "$name" "$status"
    tail -n 40 "$results/$name.log"
    failed=1
    continue
  fi
  total=$(counter total "$trx")
  passed=$(counter passed "$trx")
  bad=$(counter failed "$trx")
  skipped=$((total - passed - bad))
  printf '%-28s %5d passed %3d failed %3d skipped  %4ds\n' "$name" "$passed" "$bad" "$skipped" "$(($(date +%s) - started))"
  if [ "$status" -ne 0 ]; then
    failed=1
    # What failed, and why.
    grep -v '^ *$' "$results/$name.log" | tail -n 120
  fi
  if [ "$skipped" -gt 0 ]; then
    skipped_total=$((skipped_total + skipped))
    grep 'outcome="NotExecuted"' "$trx" | grep -o 'testName="[^"]*"' | sed 's/testName="\(.*\)"/    skipped: \1/'
  fi
done

if [ "$skipped_total" -gt 0 ] && [ "$no_skips" = yes ]; then
  say "$skipped_total tests were skipped, and this run allows none"
  failed=1
fi
if [ "$failed" -eq 0 ]; then
  say "all passed"
else
  say "FAILED; logs and results: $results"
fi
exit "$failed"
