#!/bin/bash
#
# Checks the sources; each line printed is one fault.
#
#   tools/lint.sh [--fast]       --fast: without the analyzers
#
# Ends with "lint: N passed, N failed", counting checks.

set -uo pipefail
export LC_ALL=C

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1

fast=no
[ "${1:-}" != --fast ] || fast=yes

# One letter a check: check() runs in a pipeline, a process of its own.
tally=$(mktemp)
trap 'rm -f "$tally"' EXIT

# check NAME: reads faults on standard input
check() {
    local faults

    faults=$(cat)

    if [ -z "$faults" ]; then
        echo p >> "$tally"
        echo "ok   $1"
    else
        echo f >> "$tally"
        echo "FAIL $1"
        printf '%s\n' "$faults" | head -40 | sed 's/^/     /'
    fi
}

files() {
    if [ -d .git ] && command -v git > /dev/null; then
        git ls-files --cached --others --exclude-standard -- "$@" \
            | while read -r f; do [ -f "$f" ] && echo "$f"; done
    else
        find . -type f \( -name .git -prune -o -print \) | sed 's|^\./||' \
            | grep -v '^build/\|^\.opay/'
    fi
}

mapfile -t c_files < <(files '*.c' '*.h' | grep '\.[ch]$')
mapfile -t sh_files < <({ files '*.sh' | grep '\.sh$'
                          for f in opay .ci/run bench/run; do
                              [ -f "$f" ] && echo "$f"
                          done; } | sort -u)
mapfile -t text_files < <(files | grep -Ev \
    '\.(png|svg|bin|der|gz)$|/corpus/|^t/fuzz/.*seeds|^LICENSE$')

in_c() { [ ${#c_files[@]} -eq 0 ] || grep -nE "$@" "${c_files[@]}" /dev/null; }


in_c '^.{81,}' | check "lines of C within 80 columns"

in_c $'\t' | check "no tabs in C"

grep -nE '[ '$'\t'']+$' "${c_files[@]}" "${sh_files[@]}" /dev/null \
    | check "no trailing space"

# Strings are taken out first, then /* */ on one line; URLs live in those.
for f in "${c_files[@]}"; do
    sed -E 's/"([^"\\]|\\.)*"//g; s@/\*.*\*/@@g' "$f" \
        | awk -v f="$f" '
            /\/\*/ { sub(/\/\*.*/, ""); c = 1; if ($0 ~ /\/\//) print f ":" NR
                     next }
            c && /\*\// { c = 0; next }
            !c && /\/\// { print f ":" NR ": " $0 }'
done | check "no // comments"

for f in "${c_files[@]}"; do
    n=$(wc -l < "$f")
    [ "$n" -le 700 ] || echo "$f has $n lines"
done | check "no file of C over 700 lines"

in_c 'TODO|FIXME|XXX:|HACK:' | check "nothing left to do in the code"


# Dependencies point one way.

{
    grep -nE '#include [<"]ngx_|\bngx_[a-z]+ *\(' lib/*.[ch] | grep -v '^[^:]*:[0-9]*: *\*'
    for from in sidecar pgsim; do
        grep -rnE '#include [<"]ngx_' "$from" --include='*.[ch]'
    done
} 2> /dev/null | check "lib, sidecar and pgsim know nothing of nginx"

for s in auth gateway user order payment; do
    others=$(printf '%s\n' auth gateway user order payment | grep -v "^$s\$" \
             | paste -sd'|')
    grep -nE "#include \"ngx_opay_($others)" ngx_opay_$s/*.[ch] 2> /dev/null
done | check "services do not include each other"

{
    grep -nE '#include "ngx_opay_(auth|gateway|user|order|payment)' \
        ngx_opay_core/*.[ch]
    grep -rnE '#include "(opay_sidecar|opay_relay|pgsim)' lib pgsim \
        ngx_opay_* --include='*.[ch]' | grep -v '^pgsim/.*"pgsim'
} 2> /dev/null | check "core includes no service"

# A service's tables are its own.
for s in auth user order payment; do
    for o in auth user order payment; do
        [ "$s" != "$o" ] && grep -nE "\bopay_$o\.[a-z]" ngx_opay_$s/*.c
    done
done 2> /dev/null | check "services do not name each other's schema"


# Every directive is documented, and nothing else is.

directives() {
    grep -rhoE '\{ *ngx_string\("opay_[a-z0-9_]+"\),?$|\bngx_opay_[a-z_]+\("opay_[a-z0-9_]+"' \
        ngx_opay_* --include='*_module.c' --include='*_conf.c' \
        | grep -oE '"opay_[a-z0-9_]+' | tr -d '"' | sort -u
}

documented() {
    grep -oE '^#+ +`?opay_[a-z0-9_]+' docs/directives.md 2> /dev/null \
        | grep -oE 'opay_[a-z0-9_]+' | sort -u
}

{
    comm -23 <(directives) <(documented) \
        | sed 's/$/ has no entry in docs\/directives.md/'
    comm -13 <(directives) <(documented) \
        | sed 's/$/ is documented but does not exist/'
} | check "every directive has its entry in docs/directives.md"


# Nothing of one machine in the repository.

printf '%s\n' "${text_files[@]}" | grep -v '^tools/lint.sh$' \
    | xargs -r -d '\n' grep -nEI '/work/(main|shared)|\bdeb\.debian\.org|repo[0-9]*\.maven\.|security\.debian\.org|registry\.npmjs|pypi\.org|/home/[a-z]+/' \
    | check "no machine's paths and no package hosts"

{
    grep -rnE '\bmy_bool\b' --include='*.[ch]' lib sidecar pgsim ngx_opay_*
} 2> /dev/null | check "no my_bool (MySQL 8 has none)"

for f in "${sh_files[@]}"; do
    bash -n "$f" 2>&1
done | check "shell syntax"

for f in api/events/*.json; do
    [ -f "$f" ] && ! jq -e . "$f" > /dev/null 2>&1 && echo "$f is not JSON"
done | check "JSON files parse"

tools/check-openapi.py 2>&1 \
    | check "api/openapi.yaml, the routes and the gateway say the same"

tools/check-docs.py 2>&1 | check "links and file names in the pages are good"


# Analyzers.

if [ $fast = no ]; then
    incs="-Ilib $(mariadb_config --include 2> /dev/null)"

    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr \
        --suppress=missingInclude --suppress=missingIncludeSystem \
        --suppress='*:/usr/include/*' -D__GNUC__=12 -j2 -Ilib -Isidecar -Ipgsim \
        --template='{file}:{line}: {id}: {message}' lib sidecar pgsim 2>&1 \
        | check "cppcheck"

    analyze() {
        clang --analyze -std=gnu11 -D_GNU_SOURCE= $incs -Isidecar -Ipgsim \
            --analyzer-output text "$1" -o /dev/null 2>&1 \
            | grep -E 'warning:|error:'
    }
    export -f analyze
    export incs

    printf '%s\n' lib/*.c sidecar/*.c pgsim/*.c | grep -v '\*' \
        | xargs -r -P2 -I{} bash -c 'analyze {}' | check "clang --analyze"
fi

passed=$(grep -c p "$tally")
failed=$(grep -c f "$tally")
echo "lint: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
