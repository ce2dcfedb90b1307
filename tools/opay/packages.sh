#!/bin/bash
#
# Installs the Debian packages of tools/packages that are missing.
#
#   tools/opay/packages.sh KIND ...        KIND: run, build, test

. "$(dirname "$0")/lib.sh"

missing_of() {
    local want have

    want=$(awk -v kinds=" $* " '
        /^#/ || NF < 2 { next }
        index(kinds, " " $1 " ") { print $2 }' "$OPAY_ROOT/tools/packages" \
        | sort -u)
    have=$({ dpkg-query -W -f '${Package} ${db:Status-Status}\n' $want \
             2> /dev/null || true; } | awk '$2 == "installed" { print $1 }' \
           | sort -u)

    comm -23 <(echo "$want") <(echo "$have")
}

command -v dpkg-query > /dev/null \
    || die "this is not a Debian system; opay's tools need apt and dpkg"

missing=$(missing_of "$@")
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null \
        || die "these packages are missing, and there is no sudo:" $missing
    sudo=sudo
fi

echo "installing:" $missing

# Debian starts a daemon when its package is installed.  Ours are private:
# keep nginx and mariadb of the system from being started by this.
policy=/usr/sbin/policy-rc.d

if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy > /dev/null
    $sudo chmod 755 $policy
    trap '$sudo rm -f $policy' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
apt="apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120"

$sudo $apt update
$sudo env DEBIAN_FRONTEND=noninteractive \
    $apt install --no-install-recommends $missing

missing=$(missing_of "$@")
[ -z "$missing" ] || die "still missing after apt-get install:" $missing
