#!/usr/bin/env bash
# Everything about the SDKs that needs no server: types, packages, conformance, receivers. Installs what is in dist/ as a user would.
# usage: sdks/check.sh   after sdks/build.sh
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(dirname "$here")"
tools="$root/var/cache/sdks"
out="$root/var/sdks"
export CONFORMANCE="$here/conformance" PYTHONDONTWRITEBYTECODE=1
cd "$root"

say() { printf '==> %s\n' "$*"; }

say "types and packages, Python"
"$tools/python/bin/mypy" --strict --cache-dir "$out/mypy" --config-file "$here/python/pyproject.toml" "$out/python/src/hookbus"
"$tools/python/bin/mypy" --strict --cache-dir "$out/mypy" "$here"/generate/*.py
"$tools/node/node_modules/.bin/pyright" -p "$out/python/pyproject.toml" --pythonpath "$tools/python/bin/python"
"$tools/python/bin/twine" check --strict dist/*.whl dist/*.tar.gz
say "types and packages, Node"
(cd "$out/node/package" && "$tools/node/node_modules/.bin/publint" --strict .)
"$tools/node/node_modules/.bin/attw" dist/hookbus-*.tgz --no-definitely-typed --format ascii --no-emoji

"$here/install.sh"
say "types, as a user's checkers see the packages: the code of their readmes, and what they are to refuse"
code_of() { sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/{/^\`\`\`/d;p}" "$2"; }
code_of python "$here/python/README.md" >"$out/user/readme.py"
code_of js "$here/node/README.md" >"$out/user/node/test/readme.mts"
"$tools/python/bin/mypy" --strict --cache-dir "$out/mypy-user" --python-executable "$out/user/python/bin/python" \
    "$out/user/readme.py" "$here/tests/python/typed.py"
"$tools/node/node_modules/.bin/pyright" --pythonpath "$out/user/python/bin/python" "$out/user/readme.py" "$here/tests/python/typed.py"
"$tools/node/node_modules/.bin/tsc" -p "$out/user/node"
say "tests, Python"
(cd "$here/tests/python" && "$out/user/python/bin/python" -m unittest -q)
say "import of hookbus beside its HTTP library"
"$out/user/python/bin/python" "$here/tests/python/import_time.py"
say "tests, Node"
(cd "$out/user/node" && node --test --test-reporter=dot test/*.test.js)
