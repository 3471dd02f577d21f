# What is installed once per lock file: shared by tests/clients/prepare.sh and sdks/prepare.sh, which source it.

say() { printf '==> %s\n' "$*"; }

# Makes a folder that is kept, and waits for whoever else fills it: tests of several processes may come at once. Sets $cache.
# usage: open_cache FOLDER
open_cache() {
    mkdir -p "$1"
    cache="$(cd "$1" && pwd)"
    exec 9>"$cache/.lock"
    flock 9
}

# Runs a step unless the lock file of $cache/NAME is the same as when it last ended well.   usage: once NAME LOCK-FILE SAID STEP [ARGUMENT]...
once() {
    local name="$1" said="$3" wanted
    wanted=$(sha256sum <"$2")
    [ "$(cat "$cache/$name/.prepared" 2>/dev/null)" != "$wanted" ] || return 0
    say "installing $said, once"
    "${@:4}"
    printf '%s\n' "$wanted" >"$cache/$name/.prepared"
}

# Every package is pinned by its hash.   usage: python_environment NAME REQUIREMENTS
python_environment() {
    python3 -m venv --clear "$cache/$1"
    "$cache/$1/bin/python" -m pip install -q --no-input --disable-pip-version-check --require-hashes --no-deps -r "$2"
}

# usage: node_packages NAME FOLDER-OF-PACKAGE-LOCK
node_packages() {
    mkdir -p "$cache/$1"
    cp "$2/package.json" "$2/package-lock.json" "$cache/$1/"
    (cd "$cache/$1" && npm ci --silent --no-audit --no-fund --no-update-notifier --ignore-scripts)
}
