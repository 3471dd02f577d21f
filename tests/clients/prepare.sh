#!/usr/bin/env bash
# Installs the published clients of Hook0 and schemathesis, pinned, into var/cache/clients. What is there already costs nothing
# and needs no network.   usage: tests/clients/prepare.sh [python|node|rust]...
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../../deploy/once.sh"
open_cache "$here/../../var/cache/clients"

[ $# -gt 0 ] || set -- python node rust
for client in "$@"; do
    case "$client" in
    python)
        pinned="$here/python/requirements.txt"
        once python "$pinned" "the Python client and schemathesis (about 30 MB)" python_environment python "$pinned"
        ;;
    node)
        once node "$here/node/package-lock.json" "the Node client" node_packages node "$here/node"
        # A module finds its packages in the folders above itself.
        cp "$here"/node/*.js "$cache/node/"
        ;;
    rust)
        [ -d "$cache/rust" ] || say "building the Rust client, once (a few minutes)"
        (cd "$here/rust" && cargo build --locked -q --target-dir "$cache/rust")
        ;;
    *)
        say "there is no client called $client" >&2
        exit 64
        ;;
    esac
done
