#!/usr/bin/env bash
# Holds Cargo.lock against deny.toml, and shows that this can fail: a licence that is struck off, a crate that is banned and a
# registry that is unknown have to be found, each by its own check.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/tools/prepare.sh deny
tools=var/cache/tools
# The metadata are of all systems, and so need the crates of all; each is checked against its hash in Cargo.lock.
cargo fetch --locked --quiet

# usage: deny CONFIG CHECK...
deny() { "$tools/deny/bin/cargo-deny" --offline --locked --config "$1" check -D warnings --hide-inclusion-graph "${@:2}"; }

# usage: finds CHECK CODE SED-SCRIPT   the script plants a breach
finds() {
    local planted="$tools/planted.toml"
    sed "$3" deny.toml >"$planted"
    if cmp -s deny.toml "$planted"; then
        echo "deny.toml has changed: nothing was planted for $1" >&2
        exit 1
    fi
    if deny "$planted" "$1" >"$tools/found" 2>&1 || ! grep -q "^error\[$2\]" "$tools/found"; then
        cat "$tools/found" >&2
        echo "$1: a planted breach was not found" >&2
        exit 1
    fi
}

deny deny.toml bans licenses sources
finds licenses rejected '/^    "MIT",$/d'
finds bans banned 's/^deny = \[$/&{ crate = "ring" },/'
finds sources source-not-allowed 's/^\[sources\]$/&\nallow-registry = []/'
echo "three planted breaches were found"
