#!/usr/bin/env bash
# Builds the image into dist/, without a container engine: one static binary, certificate authorities and a user.
# usage: deploy/docker/image.sh [BINARY]   with a binary that is there already that one is packed, static or not
set -euo pipefail
cd "$(dirname "$0")/../.."

case "$(uname -m)" in
    x86_64) arch=amd64 target=x86_64-unknown-linux-gnu ;;
    # Kernels there have pages of 4, 16 or 64 KiB: an allocator built for less than it meets ends at its start.
    aarch64) arch=arm64 target=aarch64-unknown-linux-gnu && export JEMALLOC_SYS_WITH_LG_PAGE=16 ;;
    *) echo "there is no image for $(uname -m)" >&2 && exit 1 ;;
esac
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD 2>/dev/null || true)
# A tree that was changed is no commit.
[ -z "$(git status --porcelain 2>/dev/null)" ] || revision="$revision-changed"
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"

binary="${1:-}"
if [ -z "$binary" ]; then
    # With an explicit target the flag is for what is built, and not for what builds it. Paths of this machine are no part of it.
    export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$PWD=/hookbus --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    export OPENSSL_STATIC=1 HOOKBUS_REVISION="$revision"
    cargo build --locked --release -p hookbus --target "$target"
    binary="${CARGO_TARGET_DIR:-target}/$target/release/hookbus"
    # Nothing in it may be looked for at its start: the image has no loader.
    if readelf -lW "$binary" | grep -q INTERP; then
        echo "$binary is not static: it names a loader" >&2
        exit 1
    fi
fi
python3 deploy/docker/oci.py "$binary" "dist/hookbus-$version-$arch.oci.tar" --version "$version" --revision "$revision" --arch "$arch"
