#!/usr/bin/env bash
# Runs the simulation of many gateways over many seeds, or one seed again. See scripts/README.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/simulate.sh [--seeds N] [--first F] [--seed S] [--tail L]

  --seeds N   how many worlds to run; default 500
  --first F   the first seed; default 1
  --seed S    only that one, with the end of its trace
  --tail L    lines of the trace to show of a replayed or failed seed; default 60
  --help      this text

Runs on all cores. A seed that breaks an invariant is shown with the command that replays it and the end of its trace.
Exit code: 0 when every invariant held, 1 when one did not, 2 when the command line is wrong.
TEXT
}

for argument in "$@"; do
  case $argument in
    --help | -h) usage; exit 0 ;;
    --seeds | --first | --seed | --tail) ;;
    *[!0-9]* | "") say "unknown: $argument"; usage >&2; exit 2 ;;
  esac
done

need_sdk "$root"
say "building"
dotnet build "$root/tests/Fabric.Simulation" -c Release -v q --nologo >&2 || fail "the simulation does not build"
exec dotnet "$root/tests/Fabric.Simulation/bin/Release/net10.0/Fabric.Simulation.dll" "$@"
