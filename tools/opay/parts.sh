#!/bin/bash
#
# Fetches packages of other Debian suites and unpacks them privately under
# $OPAY_STATE/parts; nothing is installed.  The mirror is the one that apt on
# this machine uses, and apt checks the signatures with Debian's keyring.
#
#   tools/opay/parts.sh consul | test-nginx

. "$(dirname "$0")/lib.sh"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror: where this machine gets the main section of its own release.
mirror_uri() {
    local codename

    codename=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(REPO_URI)' \
        | awk -v c="$codename" '
            $1 == "Packages" && $2 == c { print $3; exit }'
}

# apt with lists, sources and status of its own
private_apt() {
    local dir=$1
    shift
    "$@" -q -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$dir/sources" \
        -o Dir::Etc::preferences=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$dir/state" \
        -o Dir::State::lists="$dir/lists" \
        -o Dir::State::status="$dir/status" \
        -o Dir::Cache="$dir/cache" \
        -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
        $valid "${apt_cmd[@]}"
}

# fetch_part NAME SUITE PACKAGE
fetch_part() {
    local name=$1 suite=$2 package=$3 dir uri rc=0

    dir=$PARTS/.apt-$name
    uri=$(mirror_uri)
    [ -n "$uri" ] || die "apt on this machine names no Debian mirror"
    [ -f $keyring ] || die "$keyring is missing:" \
        "install debian-archive-keyring"

    rm -rf "$dir"
    mkdir -p "$dir"/{sources,lists/partial,state,cache/archives/partial,deb}
    : > "$dir/status"
    printf 'deb [signed-by=%s] %s %s main\n' $keyring "$uri" "$suite" \
        > "$dir/sources/part.list"

    echo "fetching $package of Debian $suite"
    valid=
    apt_cmd=(update)

    if ! private_apt "$dir" apt-get > "$dir/update.log" 2>&1 \
       || grep -Eq '^(E|W|Err)' "$dir/update.log"
    then
        if grep -Eqi 'is expired|not valid yet|invalid since' "$dir/update.log"
        then
            warn "the index of $suite is past its Valid-Until (an old mirror," \
                 "or this clock): used all the same, its signature is good"
            valid="-o Acquire::Check-Valid-Until=false"
            valid+=" -o Acquire::Check-Date=false"
            private_apt "$dir" apt-get > "$dir/update.log" 2>&1 || rc=1
        else
            rc=1
        fi
    fi

    if [ $rc -ne 0 ] || grep -Eq '^(E|Err)' "$dir/update.log"; then
        cat "$dir/update.log" >&2
        die "the index of Debian $suite could not be read or verified"
    fi

    apt_cmd=(download "$package/$suite")
    (cd "$dir/deb" && private_apt "$dir" apt-get) > "$dir/download.log" 2>&1 \
        || { cat "$dir/download.log" >&2; die "cannot fetch $package"; }

    rm -rf "$PARTS/$name.new"
    mkdir -p "$PARTS/$name.new"
    dpkg-deb -x "$dir"/deb/*.deb "$PARTS/$name.new"
    rm -rf "${PARTS:?}/$name"
    mv "$PARTS/$name.new" "$PARTS/$name"
    rm -rf "$dir"
}

mkdir -p "$PARTS"

case ${1:-} in
    consul)
        [ -x "$PARTS/consul/usr/bin/consul" ] \
            || fetch_part consul bullseye consul
        "$PARTS/consul/usr/bin/consul" version > /dev/null \
            || die "$PARTS/consul/usr/bin/consul does not run here" ;;

    test-nginx)
        [ -f "$PARTS/test-nginx/usr/share/perl5/Test/Nginx/Socket.pm" ] \
            || fetch_part test-nginx sid libtest-nginx-perl ;;

    *)
        die "usage: parts.sh consul | test-nginx" ;;
esac
