#!/usr/bin/env bash
# What the scripts share: the SDK check, and the Debian packages. Sourced, never run by itself.
set -euo pipefail

# say TEXT: a line for the person who watches, apart from what the programs print.
say() {
  printf '%s\n' "$*" >&2
}

# fail TEXT: says why, and ends the script with 1.
fail() {
  say "error: $*"
  exit 1
}

is_root() {
  [ "$(id -u)" -eq 0 ]
}

# need_sdk ROOT: the .NET SDK that global.json asks for.
need_sdk() {
  local hint="Fabric builds with the .NET 10 SDK. Get it at https://dotnet.microsoft.com/download"
  command -v dotnet >/dev/null || fail "dotnet is not on the PATH. $hint"
  (cd "$1" && dotnet --version >/dev/null 2>&1) ||
    fail "no .NET 10 SDK here; there is: $(dotnet --list-sdks 2>/dev/null | cut -d' ' -f1 | tr '\n' ' '). $hint"
}

# missing_packages COMMAND=PACKAGE...: prints the packages whose command is nowhere. A COMMAND that begins with / is a file.
missing_packages() {
  local pair need
  for pair in "$@"; do
    need=${pair%%=*}
    case $need in
      /*) [ -e "$need" ] || printf '%s\n' "${pair#*=}" ;;
      *) PATH="$PATH:/usr/sbin:/sbin" command -v "$need" >/dev/null || printf '%s\n' "${pair#*=}" ;;
    esac
  done | sort -u
}

# install_packages PACKAGE...: quietly, and without starting any service that a package brings: a web server or a database
# that a newcomer did not ask for must not begin to listen on the machine. policy-rc.d is Debian's own switch for that.
install_packages() {
  command -v apt-get >/dev/null || fail "these are missing, and only apt-get is known here: $*"
  local policy=/usr/sbin/policy-rc.d log ours=no status=0
  log=$(mktemp)
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=yes
  fi
  say "installing: $*"
  {
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null || status=$?
  [ "$ours" = no ] || rm -f "$policy"
  if [ "$status" -ne 0 ]; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install: $*"
  fi
  rm -f "$log"
  # Even so, a unit that is enabled would start with the next boot.
  local unit
  for unit in nginx redis-server haproxy stunnel4 knot unbound bind9; do
    if [[ " $* " == *" $unit"* ]] && command -v systemctl >/dev/null; then
      systemctl disable --quiet "$unit.service" >/dev/null 2>&1 || true
    fi
  done
}

# ensure_packages COMMAND=PACKAGE...: as root installs what is missing; otherwise says what to install, and ends.
ensure_packages() {
  local packages
  mapfile -t packages < <(missing_packages "$@")
  [ "${#packages[@]}" -gt 0 ] || return 0
  is_root || fail "missing programs. As root: apt-get install --no-install-recommends ${packages[*]}"
  install_packages "${packages[@]}"
}
