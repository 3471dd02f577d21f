#!/usr/bin/env bash
# Installs what makes, builds and checks the SDKs, pinned, into var/cache/sdks. What is there already costs nothing and needs no network.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../deploy/once.sh"
open_cache "$here/../var/cache/sdks"

for environment in python:requirements user:user; do
    name="${environment%:*}" pinned="$here/tools/${environment#*:}.txt"
    once "$name" "$pinned" "$name for the SDKs" python_environment "$name" "$pinned"
done
once node "$here/tools/package-lock.json" "node for the SDKs" node_packages node "$here/tools"
