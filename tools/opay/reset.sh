#!/bin/bash
#
# ./opay reset [--yes] [--parts]: stops everything and deletes the state:
# databases, topics, secrets, logs.  Fetched parts stay unless --parts.

. "$(dirname "$0")/lib.sh"

yes=no parts=no

for arg in "$@"; do
    case $arg in
        --yes)   yes=yes ;;
        --parts) parts=yes ;;
        *)       die "usage: opay reset [--yes] [--parts]" ;;
    esac
done

[ -d "$STATE" ] || { say "nothing to reset: $STATE is not there"; exit 0; }

# Never delete a directory that does not look like ours.
[ -d "$STATE/log" ] && [ -d "$STATE/conf" ] \
    || die "$STATE does not look like opay's state; not touched"

if [ $yes = no ]; then
    printf 'Delete all data of opay in %s? [y/N] ' "$STATE"
    read -r answer || answer=
    case $answer in
        y | Y | yes) ;;
        *) say "nothing was deleted"; exit 1 ;;
    esac
fi

"$OPAY_ROOT/tools/opay/down.sh"

keep=
[ $parts = yes ] || keep=parts

find "$STATE" -mindepth 1 -maxdepth 1 ! -name "${keep:-.}" \
    -exec rm -rf {} +
[ "$RUN" = "$STATE/run" ] || rm -rf "$RUN"
rmdir "$STATE" 2> /dev/null || true
say "opay is reset"
