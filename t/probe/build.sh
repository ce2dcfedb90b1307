#!/bin/bash
#
# Builds the probe service against the tree that tools/build.sh has made:
# t/probe/build.sh [--asan]  ->  <build>/modules/ngx_opay_probe_module.so

set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
out=${OPAY_BUILD:-$root/build}

[ "${1:-}" != --asan ] || out=$out/asan

[ -f "$out/nginx/objs/Makefile" ] || {
    echo "probe: run tools/build.sh first" >&2
    exit 1
}

# files that run at the same time all want it
exec 9> "$out/.probe.lock"
flock 9

# the flags of the modules it is loaded beside
make_var() { sed -n "s|^$1 *= *||p" "$out/nginx/objs/Makefile" | head -1; }

so=$out/modules/ngx_opay_probe_module.so
newer=$(find "$root/t/probe" "$root/ngx_opay_core/ngx_opay_core.h" \
    -newer "$so" 2> /dev/null || echo all)

[ -n "$newer" ] || exit 0

work=$out/probe
rm -rf "$work"
cp -r "${NGINX_SRC:-/usr/share/nginx/src}" "$work"

( cd "$work"
  . ./conf_flags
  OPAY_ROOT=$root ./configure "${NGX_CONF_FLAGS[@]}" --with-cc-opt="-fPIC" \
      --with-ld-opt=-fPIC --add-dynamic-module="$root/t/probe"
) > "$out/probe.log" 2>&1 || { tail -5 "$out/probe.log" >&2; exit 1; }

sed -i -e "s|^CFLAGS = .*|CFLAGS = $(make_var CFLAGS)|" \
    -e "s|^LINK =.*|LINK = $(make_var LINK)|" "$work/objs/Makefile"

make -s -C "$work" -f objs/Makefile modules >> "$out/probe.log" 2>&1 || {
    tail -20 "$out/probe.log" >&2
    exit 1
}

cp "$work/objs/ngx_opay_probe_module.so" "$so.tmp"
mv "$so.tmp" "$so"
