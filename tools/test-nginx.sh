#!/bin/bash
#
# All suites of t/*.t, beside a throw-away database.
#
#   tools/test-nginx.sh [--asan] [FILE.t ...]

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

asan= files=()

for arg in "$@"; do
    case $arg in
        --asan) asan=--asan ;;
        *)      files+=("$arg") ;;
    esac
done

[ ${#files[@]} -gt 0 ] || files=(t/*.t)

# OpayRig's consul: the one on PATH, or the fetched one
state=${OPAY_STATE:-$root/.opay}
consul=${OPAY_PARTS:-$state/parts}/consul/usr/bin/consul

if [ -z "${OPAY_CONSUL_BIN:-}" ] && [ -x "$consul" ]; then
    export OPAY_CONSUL_BIN=$consul
fi

exec tools/with-db.sh tools/prove.sh $asan "${files[@]}"
