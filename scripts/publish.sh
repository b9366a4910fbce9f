#!/usr/bin/env bash
# Publishes fabricd and fabric as self-contained programs (no .NET needed where they run).
# Usage: scripts/publish.sh [RUNTIME] [FOLDER]     default: linux-x64 artifacts/RUNTIME
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runtime=${1:-linux-x64}
out=${2:-artifacts/$runtime}
for project in Fabric.Gateway Fabric.Cli; do
  dotnet publish "src/$project" -c Release -r "$runtime" --self-contained -o "$out" -v quiet --nologo
done
echo "$out"
