#!/usr/bin/env bash
# Checks what building and running Hookbus needs and installs what is missing where it may; else says the exact command.
# `setup.sh test` checks what its tests need on top of that: the published clients they run are in Python and JavaScript too.
# `setup.sh chart` installs what checks the Helm chart, in Python.
set -euo pipefail

say() { printf '==> %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

missing=()
have cc || missing+=(build-essential)
have make || missing+=(build-essential)
have pkg-config || missing+=(pkg-config)
# librdkafka is built from source and links these two.
if have pkg-config; then
    pkg-config --exists openssl || missing+=(libssl-dev)
    pkg-config --exists zlib || missing+=(zlib1g-dev)
else
    missing+=(libssl-dev zlib1g-dev)
fi
# A broker of your own needs neither Java nor Maven.
if [ -z "${HOOKBUS__KAFKA__BROKERS:-}" ]; then
    have java || missing+=(default-jre-headless)
    have mvn || missing+=(maven)
fi

# Debian has rustup since version 13; elsewhere its own page says how to install it.
have cargo || have rustup || { have apt-cache && apt-cache show rustup >/dev/null 2>&1 && missing+=(rustup); } || true

if [ "${1:-}" = test ] || [ "${1:-}" = chart ]; then
    have python3 || missing+=(python3 python3-venv)
    ! have python3 || python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
fi
if [ "${1:-}" = test ]; then
    # They meet our listeners as the world does.
    have curl || missing+=(curl)
    have openssl || missing+=(openssl)
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
    # The delivery log's shared store; tests/postgres.sh starts servers of its own, and needs none that runs.
    have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
fi

if [ ${#missing[@]} -gt 0 ]; then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    install="apt-get install -y --no-install-recommends ${missing[*]}"
    if ! have apt-get; then
        say "missing: ${missing[*]} (names of Debian's packages). Install them and run this again." >&2
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        say "installing ${missing[*]}"
        apt-get update -q && DEBIAN_FRONTEND=noninteractive $install
    elif have sudo && sudo -n true 2>/dev/null; then
        say "installing ${missing[*]} with sudo"
        sudo apt-get update -q && sudo DEBIAN_FRONTEND=noninteractive $install
    else
        say "missing: ${missing[*]}. Run this, then start again:" >&2
        echo "    sudo $install" >&2
        exit 1
    fi
fi

# A first build that fills the disk ends minutes later with a compiler's message about something else.
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
if [ ! -d "$target/debug" ]; then
    needed=2
    [ -z "${1:-}" ] || needed=5
    mkdir -p "$target"
    left=$(df -Pk "$target" | awk 'NR == 2 { print int($4 / 1048576) }')
    if [ "$left" -lt "$needed" ]; then
        say "building takes $needed GB in $target, and only $left GB are free there. Make room, or set CARGO_TARGET_DIR to another disk." >&2
        exit 1
    fi
fi

wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
if have rustup && ! rustc --version >/dev/null 2>&1; then
    say "installing Rust $wanted, which rust-toolchain.toml pins"
    rustup toolchain install "$wanted" --profile minimal --component clippy --component rustfmt
fi
if ! have cargo; then
    say "Rust is missing. Install it with rustup (or Debian's package rustup), then start again." >&2
    exit 1
fi
if ! rustc --version >/dev/null 2>&1; then
    say "Rust $wanted, which rust-toolchain.toml pins, is not installed. Run: rustup toolchain install $wanted" >&2
    exit 1
fi
if have java; then
    version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    if [ -n "$version" ] && [ "$version" -lt 17 ]; then
        say "Kafka 4.3.1 needs Java 17 or newer, this is Java $version. Run: sudo apt-get install default-jre-headless" >&2
        exit 1
    fi
fi
if [ -n "${1:-}" ] && ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "the tests need Python 3.11 or newer, this is $(python3 --version). Put a newer python3 first in PATH." >&2
    exit 1
fi
if [ "${1:-}" = chart ]; then
    deploy/helm/prepare.sh
fi
if [ "${1:-}" = test ]; then
    # The generator of the SDKs' types needs a newer Node.js than Debian 12 has; the SDK itself runs on 18. The Makefile puts this first in PATH.
    newer() { node -e 'const [a, b] = process.versions.node.split("."); process.exit(a * 100 + +b < 2019 ? 1 : 0)'; }
    beside=var/cache/node
    [ ! -x "$beside/bin/node" ] || PATH="$PWD/$beside/bin:$PATH"
    if ! newer; then
        case "$(uname -m)" in
        x86_64) arch=x64 ;;
        aarch64 | arm64) arch=arm64 ;;
        *)
            say "the tests need Node.js 20.19 or newer, this is $(node --version). Put a newer node first in PATH." >&2
            exit 1
            ;;
        esac
        say "installing Node.js 20.20.2 in $beside: the tests need 20.19 or newer, this is $(node --version)"
        npm install --prefix "$beside/package" --no-save --no-package-lock --no-audit --no-fund --loglevel=error "node-linux-$arch@20.20.2"
        mkdir -p "$beside/bin"
        ln -sf "../package/node_modules/node-linux-$arch/bin/node" "$beside/bin/node"
        PATH="$PWD/$beside/bin:$PATH"
        newer || { say "the Node.js in $beside does not run here. Put one of 20.19 or newer first in PATH." >&2; exit 1; }
    fi
fi
