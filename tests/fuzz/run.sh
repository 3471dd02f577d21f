#!/usr/bin/env bash
# Runs libFuzzer's program on every target, or on those that are named: so many inputs each, led by coverage. What it found before
# is kept in var/fuzz and begun with; what breaks a target is kept there too, and the run fails.
# usage: tests/fuzz/run.sh RUNS [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs="${1:?usage: tests/fuzz/run.sh RUNS [TARGET...]}"
shift
[ $# -gt 0 ] || set -- $(basename -s .txt tests/fuzz/seeds/*.txt)
tests/tools/prepare.sh fuzz

# Coverage is put in by options of the compiler that are stable; sanitizers are not, and there is no unsafe code here for them to find.
# What is fuzzed is optimised, with its assertions and overflow checks on, and not linked as if it were shipped.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
built=var/fuzz/target
var/cache/tools/fuzz/bin/cargo-fuzz build --fuzz-dir tests/fuzz --features libfuzzer --sanitizer none --target-dir "$built" libfuzzer
program="$(find "$built" -path '*/release/libfuzzer' -type f)"

failed=()
for target in "$@"; do
    corpus="var/fuzz/corpus/$target" found="var/fuzz/found/$target"
    mkdir -p "$corpus" "$found"
    number=0
    while IFS= read -r seed; do
        number=$((number + 1))
        printf '%s' "$seed" >"$corpus/seed-$number"
    done <"tests/fuzz/seeds/$target.txt"
    echo "==> $target: $runs inputs"
    # One input that takes seconds is a finding: the product has milliseconds for each.
    FUZZ_TARGET="$target" "$program" -runs="$runs" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="$found/" "$corpus" 2>&1 | tee "var/fuzz/$target.log" | tail -n 12 || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "broken: ${failed[*]}; the inputs are in var/fuzz/found" >&2
    exit 1
fi
