#!/usr/bin/env bash
# Builds everything with warnings as errors, and runs every test. See scripts/README.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/test.sh [--no-skips] [--unsteady N] [--filter EXPRESSION] [PROJECT...]

  PROJECT      run only these: Routing, Fabric.Routing.Tests, Lab, Architecture ...
  --filter E   passed to dotnet test, e.g. --filter 'FullyQualifiedName~Dns'
  --no-skips   a skipped test fails the run (always so with CI=true)
  --unsteady N a test that fails is run once more, alone: up to N in all that pass then are told, and fail nothing (default 0;
               3 with CI=true)
  --help       this text

As root it installs the Debian packages that tests need, and runs the lab in network namespaces. Results: TestResults/*.trx.
Exit code: 0 when all that ran passed, 1 when not, 2 when the command line is wrong.
TEXT
}

no_skips=no
unsteady_limit=0
if [ "${CI:-}" = true ]; then
  no_skips=yes
  unsteady_limit=3
fi
filter=()
wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    --no-skips) no_skips=yes ;;
    --unsteady)
      [[ "${2:-}" =~ ^[0-9]{1,3}$ ]] || { say "--unsteady needs a number from 0 to 999"; exit 2; }
      unsteady_limit=$2
      shift
      ;;
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

# run_tests RESULT PROJECT [OPTION...]: its tests, into RESULT.log and RESULT.trx. The console logger at "minimal" is what says why a
# test failed. A test that hangs ends its project, and is named. A shell starts jobs in the background with SIGINT ignored, which their
# programs inherit: those of tests are to be interrupted.
run_tests() {
  local result=$1 name=$2
  shift 2
  env --default-signal=INT,QUIT "${around[@]}" dotnet test "$root/tests/$name/bin/Release/net10.0/$name.dll" --nologo \
    --logger "console;verbosity=minimal" --results-directory "$results" --logger "trx;LogFileName=$result.trx" \
    --blame-hang-timeout "$hang_limit" --blame-hang-dump-type none "$@" >"$results/$result.log" 2>&1
}

# test_project RESULT PROJECT [OPTION...]: runs its tests, and tells how they went. For later, in files, as several run side by side:
# RESULT.failed, how many failed or "all" for a run that did not end; RESULT.skipped, how many were.
test_project() {
  local result=$1 started status=0 trx=$results/$1.trx total passed bad skipped
  started=$(date +%s)
  run_tests "$@" "${filter[@]}" || status=$?
  if [ ! -s "$trx" ]; then
    if [ "$status" -eq 0 ] && grep -q 'No test is available\|No test matches' "$results/$result.log"; then
      printf '%-28s no tests\n' "$result"
      return
    fi
    printf '%-28s DID NOT RUN (exit %s)\n' "$result" "$status"
    tail -n 40 "$results/$result.log"
    echo all >"$results/$result.failed"
    return
  fi
  total=$(counter total "$trx")
  passed=$(counter passed "$trx")
  bad=$(counter failed "$trx")
  skipped=$((total - passed - bad))
  printf '%-28s %5d passed %3d failed %3d skipped  %4ds\n' "$result" "$passed" "$bad" "$skipped" "$(($(date +%s) - started))"
  if [ "$status" -ne 0 ]; then
    # What failed, and why.
    grep -v '^ *$' "$results/$result.log" | tail -n 120
    if [ "$bad" -eq 0 ] || grep -q 'Test Run Aborted' "$results/$result.log"; then
      bad=all
    fi
    echo "$bad" >"$results/$result.failed"
  fi
  if [ "$skipped" -gt 0 ]; then
    echo "$skipped" >"$results/$result.skipped"
    grep 'outcome="NotExecuted"' "$trx" | grep -o 'testName="[^"]*"' | sed 's/testName="\(.*\)"/    skipped: \1/'
  fi
}

# passes_alone RESULT COUNT: whether the COUNT tests that failed pass when they are run once more, with nothing else beside them. One
# that does is unsteady, which is a fault to be mended: it is told, and more of them than are allowed fail the run.
passes_alone() {
  local result=$1 count=$2 methods expression
  [ "$count" != all ] && [ "$((unsteady_total + count))" -le "$unsteady_limit" ] || return 1
  mapfile -t methods < <(sed -n 's/^  Failed \([A-Za-z0-9_.+]*\).*/\1/p' "$results/$result.log" | sort -u)
  [ "${#methods[@]}" -gt 0 ] || return 1
  expression=$(printf '|FullyQualifiedName=%s' "${methods[@]}")
  run_tests "$result.again" "${result%.Apart}" --filter "${expression#|}" || return 1
  unsteady_total=$((unsteady_total + count))
  printf '    unsteady, passed when run again: %s\n' "${methods[@]}"
}

# A network, a /run, an /etc and a folder for temporary files of its own: two labs do not meet.
# shellcheck disable=SC2016
apart=(unshare --mount --net sh -ec '
  mount -t tmpfs tmpfs /run
  cp -a /etc /run/etc
  mount --bind /run/etc /etc
  ip link set lo up
  export TMPDIR="$1"
  shift
  exec "$@"' sh)

# Of what every suite does to a machine the lab does most, and waits most: it comes last and, as root, in two halves at the same time, of
# which the one apart needs nothing of the world outside.
around=()
for name in "${projects[@]}"; do
  [ "$name" = Fabric.Lab ] || test_project "$name" "$name"
done
for name in "${projects[@]}"; do
  if [ "$name" = Fabric.Lab ] && [ "${#filter[@]}" -eq 0 ] && is_root; then
    elsewhere=$(mktemp -d)
    around=("${apart[@]}" "$elsewhere")
    test_project "$name.Apart" "$name" --filter Lane=apart >"$results/$name.Apart.out" &
    around=()
    test_project "$name" "$name" --filter 'Lane!=apart'
    wait
    cat "$results/$name.Apart.out"
    rm -rf "$elsewhere"
  elif [ "$name" = Fabric.Lab ]; then
    test_project "$name" "$name"
  fi
done

failed=0
skipped_total=0
unsteady_total=0
for file in "$results"/*.skipped; do
  [ ! -e "$file" ] || skipped_total=$((skipped_total + $(cat "$file")))
done
for file in "$results"/*.failed; do
  [ ! -e "$file" ] || passes_alone "$(basename "$file" .failed)" "$(cat "$file")" || failed=1
done
if [ "$unsteady_total" -gt 0 ]; then
  say "failed once, and passed when run again, alone: $unsteady_total (allowed: $unsteady_limit)"
fi
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
