#!/usr/bin/env bash
# Runs tests/s3.rs against moto, a simulated S3, on loopback. Needs python3; leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/../../.."
venv="${CATALOG_TEST_VENV:-${CARGO_TARGET_DIR:-target}/moto}"
if [ ! -x "$venv/bin/moto_server" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install 'moto[server]'
fi
port="${CATALOG_TEST_PORT:-5987}"
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >/dev/null 2>&1 &
server=$!
trap 'kill $server' EXIT
endpoint="http://127.0.0.1:$port"
for _ in $(seq 100); do
    if curl -fs -o /dev/null "$endpoint/moto-api/"; then break; fi
    sleep 0.1
done
curl -fs -o /dev/null -X PUT "$endpoint/tidegate-test"
curl -fs -o /dev/null -X PUT -H 'x-amz-acl: public-read' -H 'content-type: text/csv' --data-binary $'a,b\n5,x\n6,y\n' "$endpoint/tidegate-test/web/c.csv"
export AWS_ENDPOINT_URL="$endpoint" AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
CATALOG_TEST_S3_ENDPOINT="$endpoint" cargo test -p tidegate-catalog --test s3
