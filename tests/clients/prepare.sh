#!/usr/bin/env bash
# Installs the published clients of Hook0 and schemathesis, pinned, into var/cache/clients. What is there already costs nothing
# and needs no network.   usage: tests/clients/prepare.sh [python|node|rust]...
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cache="$here/../../var/cache/clients"
mkdir -p "$cache"
cache="$(cd "$cache" && pwd)"

say() { printf '==> %s\n' "$*"; }

# Runs a step unless its lock file is the same as when it last ended well.   usage: once CLIENT LOCK-FILE STEP
once() {
    local wanted
    wanted=$(sha256sum "$here/$1/$2")
    if [ "$(cat "$cache/$1/.prepared" 2>/dev/null)" != "$wanted" ]; then
        "$3"
        printf '%s\n' "$wanted" >"$cache/$1/.prepared"
    fi
}

python_environment() {
    say "installing the Python client and schemathesis, once (about 30 MB)"
    python3 -m venv --clear "$cache/python"
    "$cache/python/bin/python" -m pip install -q --no-input --disable-pip-version-check --require-hashes --no-deps \
        -r "$here/python/requirements.txt"
}

node_packages() {
    say "installing the Node client, once"
    mkdir -p "$cache/node"
    cp "$here/node/package.json" "$here/node/package-lock.json" "$cache/node/"
    (cd "$cache/node" && npm ci --silent --no-audit --no-fund --no-update-notifier --ignore-scripts)
}

# Tests of several processes may come at once.
exec 9>"$cache/.lock"
flock 9

[ $# -gt 0 ] || set -- python node rust
for client in "$@"; do
    case "$client" in
    python) once python requirements.txt python_environment ;;
    node)
        once node package-lock.json node_packages
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
