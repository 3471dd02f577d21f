#!/usr/bin/env bash
# From the OpenAPI document to dist/: writes surface.txt anew, generates both SDKs under var/sdks, builds wheel, sdist and tarball.
# `build.sh check` builds the same and fails if surface.txt is not what the document makes.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(dirname "$here")"
document="$root/schemas/openapi/openapi.json"
tools="$root/var/cache/sdks"
out="$root/var/sdks"
cd "$root"

say() { printf '==> %s\n' "$*"; }
generate() { "$tools/python/bin/python" -B "$here/generate" "$document" "$root/Cargo.toml" "$@"; }

"$here/prepare.sh"
rm -rf "$out/python" "$out/node" dist
mkdir -p "$out/node/esm" "$out/node/cjs" dist

say "what the document makes of the SDKs"
generate surface >"$out/surface.txt"
generate list >"$out/operations.json"
if [ "${1:-}" = check ]; then
    if ! diff -u "$here/surface.txt" "$out/surface.txt"; then
        say "the OpenAPI document has changed and the SDKs have not been made anew: run make sdks and commit sdks/surface.txt" >&2
        exit 1
    fi
else
    cp "$out/surface.txt" "$here/surface.txt"
fi

say "Python"
cp -r "$here/python" "$out/python"
package="$out/python/src/hookbus"
"$tools/python/bin/datamodel-codegen" --input "$document" --input-file-type openapi --output "$package/models.py" \
    --output-model-type typing.TypedDict --target-python-version 3.10 --no-use-union-operator --no-use-closed-typed-dict \
    --enum-field-as-literal all --use-standard-collections --use-schema-description --use-field-description --disable-timestamp \
    --formatters builtin 2>"$out/models.log" || { cat "$out/models.log" >&2; exit 1; }
# In Python 3.9 it is not in typing yet.
sed -i -E '/^from typing import/s/, TypeAlias//; s/^from typing_extensions import /&TypeAlias, /' "$package/models.py"
generate python "$package"
"$tools/python/bin/python" -m build --no-isolation --outdir dist "$out/python" >"$out/build.log" 2>&1 || { cat "$out/build.log" >&2; exit 1; }

say "Node"
for form in esm cjs; do
    cp -r "$here/node/src" "$out/node/$form/src"
    ln -s "$tools/node/node_modules" "$out/node/$form/node_modules"
done
(cd "$tools/node" && npx --no-install openapi-ts -i "$document" -o "$out/types" -p @hey-api/typescript --silent --no-log-file)
generate node "$out/node/esm/src"
cp "$out/types/types.gen.ts" "$out/node/esm/src/"
cp "$out/node/esm/src/"*.ts "$out/node/cjs/src/"
echo '{"type":"module"}' >"$out/node/esm/package.json"
echo '{"type":"commonjs"}' >"$out/node/cjs/package.json"
mkdir -p "$out/node/package"
cp "$here/node/README.md" "$here/node/CHANGELOG.md" "$root/LICENSE" "$out/node/package/"
sed "s/\"version\": \"0.0.0\"/\"version\": \"$(sed -n 's/^export const VERSION = "\(.*\)";/\1/p' "$out/node/esm/src/version.ts")\"/" \
    "$here/node/package.json" >"$out/node/package/package.json"
for form in esm cjs; do
    cp "$here/node/tsconfig.json" "$out/node/$form/"
    (cd "$out/node/$form" && "$tools/node/node_modules/.bin/tsc" -p . --outDir "$out/node/package/$form")
    cp "$out/node/$form/package.json" "$out/node/package/$form/"
done
(cd "$out/node/package" && npm pack --silent --pack-destination "$root/dist" >/dev/null)

say "in dist/:"
(cd dist && ls -l | awk 'NR > 1 { printf "    %7d bytes  %s\n", $5, $9 }')
