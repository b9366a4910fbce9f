#!/usr/bin/env bash
# Gives what reads bytes of strangers millions of mutated inputs. See scripts/README.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/fuzz.sh [--inputs N] [--only TARGET] [--seed S] [--save]

  --inputs N     how many in all; default 10,000,000
  --only TARGET  only dns-query, dns-stream, dns-reply, dns-message or mdns; default all, in turn
  --seed S       the same inputs again; default another each time
  --save         keep one input of each way that they went, in tests/Fabric.Fuzzing/Corpus
  --help         this text

Runs on one core. Says for each target how many inputs a second it read, how many did harm, and the bytes of one of each kind; and the memory
before and after.
Exit code: 0 when no input did harm, 1 when one did, 2 when the command line is wrong.
TEXT
}

for argument in "$@"; do
  case $argument in
    --help | -h) usage; exit 0 ;;
  esac
done

need_sdk "$root"
say "building"
dotnet build "$root/tests/Fabric.Fuzzing" -c Release -v q --nologo >&2 || fail "the program does not build"
exec dotnet "$root/tests/Fabric.Fuzzing/bin/Release/net10.0/Fabric.Fuzzing.dll" --corpus "$root/tests/Fabric.Fuzzing/Corpus" "$@"
