#!/usr/bin/env bash
# Checks the chart and the alerts against Helm 3 and 4, Kubernetes' schemas, promtool and the built binary.
# usage: deploy/helm/check.sh [--write]   after deploy/helm/prepare.sh; --write brings values.schema.json and files/acls.json in step with it
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
PYTHONDONTWRITEBYTECODE=1 exec "$here/../../var/cache/chart/python/bin/python" "$here/check" "$@"
