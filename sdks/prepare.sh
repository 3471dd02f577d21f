#!/usr/bin/env bash
# Installs what makes, builds and checks the SDKs, pinned, into var/cache/sdks. What is there already costs nothing and needs no network.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cache="$here/../var/cache/sdks"
mkdir -p "$cache"
cache="$(cd "$cache" && pwd)"

say() { printf '==> %s\n' "$*"; }

# Runs a step unless its lock file is the same as when it last ended well.   usage: once NAME LOCK-FILE STEP [ARGUMENT]
once() {
    local wanted
    wanted=$(sha256sum <"$here/tools/$2")
    if [ "$(cat "$cache/$1/.prepared" 2>/dev/null)" != "$wanted" ]; then
        say "installing $1 for the SDKs, once"
        "$3" "$1" "$2"
        printf '%s\n' "$wanted" >"$cache/$1/.prepared"
    fi
}

python_environment() {
    python3 -m venv --clear "$cache/$1"
    "$cache/$1/bin/python" -m pip install -q --no-input --disable-pip-version-check --require-hashes --no-deps -r "$here/tools/$2"
}

node_packages() {
    mkdir -p "$cache/$1"
    cp "$here/tools/package.json" "$here/tools/package-lock.json" "$cache/$1/"
    (cd "$cache/$1" && npm ci --silent --no-audit --no-fund --no-update-notifier --ignore-scripts)
}

exec 9>"$cache/.lock"
flock 9
once python requirements.txt python_environment
once user user.txt python_environment
once node package-lock.json node_packages
