#!/bin/bash
#
# Builds the six modules against the nginx-dev of this machine, and the
# programs (sidecar, pgsim, kafka-dev, opay-topics), into build/.
#
#   tools/build.sh [--asan] [--partial] [--force]
#
#   --asan      ASan+UBSan variant, into build/asan/
#   --partial   skip what has no sources yet (only while the tree grows)
#   --force     configure again
#
# OPAY_BUILD moves the output directory; CC, CFLAGS, LDFLAGS, JOBS as usual.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
nginx_src=${NGINX_SRC:-/usr/share/nginx/src}
nginx_bin=${NGINX_BIN:-$(PATH=$PATH:/usr/sbin command -v nginx || true)}
out=${OPAY_BUILD:-$root/build}
jobs=${JOBS:-$(nproc)}
cc=${CC:-gcc}
asan=no partial=no force=no

for arg in "$@"; do
    case $arg in
        --asan)    asan=yes ;;
        --partial) partial=yes ;;
        --force)   force=yes ;;
        *) echo "build.sh: unknown option $arg" >&2; exit 2 ;;
    esac
done

die() { echo "build.sh: $*" >&2; exit 1; }

[ -f "$nginx_src/conf_flags" ] || die "$nginx_src/conf_flags is missing:" \
    "install nginx-dev (tools/packages lists all that is needed)"
[ -n "$nginx_bin" ] || die "nginx is not installed"

if [ $asan = yes ]; then
    out=$out/asan
    san="-fsanitize=address,undefined"
    cflags="-g -O1 -fno-omit-frame-pointer $san"
    cflags="$cflags -fno-sanitize=alignment,pointer-overflow"
    ldflags=$san
else
    cflags="-g -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2"
    ldflags="-Wl,-z,relro -Wl,-z,now"
fi

cflags="$cflags -fPIC -D_GNU_SOURCE= -Wall -Wextra -Werror ${CFLAGS-}"
ldflags="$ldflags -fPIC ${LDFLAGS-}"

mkdir -p "$out"

# One build at a time in one directory.
exec 9> "$out/.lock"
flock 9


# The MySQL client API is taken from whichever library is here.

mysql_flags() {
    local name

    for name in ${OPAY_MYSQL_CONFIG:-mariadb_config mysql_config}; do
        if command -v "$name" > /dev/null; then
            mysql_incs=$("$name" --include)
            mysql_libs=$("$name" --libs)
            return
        fi
    done

    for name in libmariadb mysqlclient; do
        if pkg-config --exists $name; then
            mysql_incs=$(pkg-config --cflags $name)
            mysql_libs=$(pkg-config --libs $name)
            return
        fi
    done

    die "no MySQL client library: install libmariadb-dev"
}

mysql_try() {
    printf '%s\n' '#include <mysql.h>' 'int main(void)' \
        '{ return mysql_stmt_init(mysql_init(0)) == 0; }' > "$out/try.c"
    # shellcheck disable=SC2086
    $cc $mysql_incs -o "$out/try" "$out/try.c" $mysql_libs 2> "$out/try.log" \
        || { cat "$out/try.log" >&2; die "mysql.h does not work with" \
             "'$mysql_incs' and '$mysql_libs'"; }
    rm -f "$out/try" "$out/try.c" "$out/try.log"
}

mysql_flags
libs="-ljansson -lcurl -largon2 -ljwt -lssl -lcrypto -lpthread"
incs=$(printf '%s\n' $mysql_incs | sed -n 's/^-I//p' | tr '\n' ' ')


# Modules: configure when the lists or the flags have changed, then make.

srcs=$(cd "$root" && ls lib/*.[ch] ngx_opay_*/*.[ch] 2> /dev/null || true)
stamp=$(sha256sum <<END
$srcs
$(cat "$root/config")
$(cat "$nginx_src/conf_flags")
$cc $cflags $ldflags $mysql_incs $mysql_libs $libs $partial $root
$("$nginx_bin" -v 2>&1)
END
)

configure() {
    mysql_try
    rm -rf "$out/nginx" "$out/configured"
    cp -r "$nginx_src" "$out/nginx"

    ( cd "$out/nginx"
      . ./conf_flags
      unset CFLAGS LDFLAGS        # configure would take them instead of its own
      OPAY_INCS=$incs OPAY_CORE_LIBS="$mysql_libs $libs" \
      OPAY_PARTIAL=$partial \
      ./configure "${NGX_CONF_FLAGS[@]}" --with-cc="$cc" \
          --with-cc-opt="-g -O2 -fPIC" --with-ld-opt=-fPIC \
          --add-dynamic-module="$root"
    ) > "$out/configure.log" 2>&1 || {
        tail -20 "$out/configure.log" >&2
        die "configure failed: $out/configure.log"
    }

    # Our flags come after: a warning that fails one of configure's probes
    # would silently change the layout of nginx's structs.
    sed -i -e "s|^CFLAGS = .*|& $cflags|" -e "s|^LINK =.*|& $ldflags|" \
        "$out/nginx/objs/Makefile"

    grep 'was skipped' "$out/configure.log" || true
    echo "$stamp" > "$out/configured"
}

if [ $force = yes ] || [ "$(cat "$out/configured" 2> /dev/null)" != "$stamp" ]
then
    echo "configure: $("$nginx_bin" -v 2>&1 | sed 's/nginx version: //')," \
         "$mysql_libs"
    configure
fi

rc=0
mkdir -p "$out/modules"

if grep -q '^modules:' "$out/nginx/objs/Makefile"; then
    make -k -s -j"$jobs" -C "$out/nginx" -f objs/Makefile modules || rc=1
fi

# rename, never overwrite: a running nginx has the old file mapped
# and only a whole set: modules share structs
for so in "$out"/nginx/objs/ngx_opay_*_module.so; do
    [ -f "$so" ] && [ $rc -eq 0 ] || continue
    to=$out/modules/${so##*/}

    if ! cmp -s "$so" "$to"; then
        cp "$so" "$to.new"
        mv "$to.new" "$to"
        echo "built ${to#"$root"/}"
    fi
done


# Programs.

make -k -s -j"$jobs" -C "$root" -f tools/programs.mk OUT="$out" CC="$cc" \
    OPT="$cflags" LDOPT="$ldflags" MYSQL_INCS="$mysql_incs" \
    MYSQL_LIBS="$mysql_libs" PARTIAL=$partial programs || rc=1

[ $rc -eq 0 ] || die "failed"

OUT=$out NGINX_BIN=$nginx_bin PARTIAL=$partial ASAN=$asan \
    "$root/tools/check-modules.sh"
