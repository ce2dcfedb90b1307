#!/bin/bash
#
# Checks the built modules: signature equal to nginx's, exported symbols on
# the allow-list, and all six load in order with no undefined symbol.
# Called by tools/build.sh with OUT, NGINX_BIN, PARTIAL, ASAN.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${OUT:-$root/build}
nginx_bin=${NGINX_BIN:-/usr/sbin/nginx}
rc=0

complain() { echo "check-modules: $*" >&2; rc=1; }

want=$(strings "$nginx_bin" | grep -m1 '^8,[0-9],[0-9],[01]*$' || true)
[ -n "$want" ] || complain "no signature in $nginx_bin"

patterns=$(grep -v '^#' "$root/tools/symbols.allow" | paste -sd'|')
load=

for name in core auth gateway user order payment; do
    so=$out/modules/ngx_opay_${name}_module.so

    if [ ! -f "$so" ]; then
        [ "${PARTIAL:-no}" = yes ] || complain "$so is missing"
        continue
    fi

    have=$(strings "$so" | grep -m1 '^8,[0-9],[0-9],[01]*$' || true)
    [ "$have" = "$want" ] || complain \
        "$so: signature is $have, $nginx_bin has $want: build again"

    bad=$(nm -D --defined-only "$so" | awk '{print $3}' | sed 's/@.*//' \
          | grep -Ev "^($patterns)\$" || true)
    [ -z "$bad" ] || complain "$so exports" $bad \
        "(make it static, or add a pattern to tools/symbols.allow)"

    load+="load_module $so;"$'\n'
done

# RTLD_NOW: loading is the test for undefined symbols.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
printf '%s\n' "$load" "pid $tmp/pid; error_log stderr;" 'events {}' \
    > "$tmp/nginx.conf"
preload=

if [ "${ASAN:-no}" = yes ]; then
    preload="$(gcc -print-file-name=libasan.so)"
    preload+=" $(gcc -print-file-name=libubsan.so)"
fi

if [ -n "$load" ]; then
    LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0 \
        "$nginx_bin" -t -q -p "$tmp" -e stderr -c "$tmp/nginx.conf" \
        || { [ "${PARTIAL:-no}" = yes ] \
             && echo "check-modules: nginx does not load them yet" \
             || complain "nginx does not load the modules"; }
fi

exit $rc
