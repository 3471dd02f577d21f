#!/usr/bin/env bash
# Both SDKs against `hookbus dev`, on the Kafka that with-kafka has started: with-kafka -- sdks/pipeline.sh
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
user="$(dirname "$here")/var/sdks/user"
"$here/install.sh"
cp "$here"/tests/pipeline/*.mjs "$user/node/test/"
PYTHONDONTWRITEBYTECODE=1 exec "$user/python/bin/python" "$here/tests/pipeline/run.py"
