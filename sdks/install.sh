#!/usr/bin/env bash
# Installs what is in dist/ into fresh environments under var/sdks/user, beside the frameworks of the examples, and copies the tests there.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(dirname "$here")"
tools="$root/var/cache/sdks"
user="$root/var/sdks/user"

rm -rf "$user"
mkdir -p "$user/node/test/examples"
# The environment of the lock file, as it is: only the package is new.
python3 -m venv --without-pip "$user/python"
echo "$tools/user/lib/python$("$user/python/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')/site-packages" \
    >"$("$user/python/bin/python" -c 'import site; print(site.getsitepackages()[0])')/locked.pth"
"$tools/user/bin/python" -m pip --python "$user/python/bin/python" install -q --no-input --no-deps --no-index \
    --disable-pip-version-check "$root"/dist/hookbus-*.whl

ln -s "$tools/node/node_modules" "$user/node_modules"
cp "$here"/tests/node/* "$user/node/test/"
cp "$here"/examples/node/* "$user/node/test/examples/"
mv "$user/node/test/package.json" "$user/node/test/tsconfig.json" "$user/node/"
(cd "$user/node" && npm install --silent --no-save --no-audit --no-fund --no-update-notifier --ignore-scripts --offline "$root"/dist/hookbus-*.tgz)
