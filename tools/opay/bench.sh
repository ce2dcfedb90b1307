#!/bin/bash
#
# ./opay bench: see bench/run.

. "$(dirname "$0")/lib.sh"

[ -x "$OPAY_ROOT/bench/run" ] || die "bench/run is missing"
exec "$OPAY_ROOT/bench/run" "$@"
