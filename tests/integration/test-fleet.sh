#!/bin/sh
# tests/hosts/fleet by hand: hosts come up twice in a row and side by side with another fleet, reach each
# other, and leave nothing. TAP on standard output.
set -eu
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
fleet=$src/tests/hosts/fleet
PATH=$PATH:/usr/sbin
number=0

skip() {
    echo "1..0 # SKIP $*"
    exit 0
}

check() { # WHAT COMMAND…
    what=$1
    shift
    number=$((number + 1))
    if "$@" >"$scratch/log" 2>&1; then
        echo "ok $number - $what"
    else
        echo "not ok $number - $what"
        sed 's/^/# /' "$scratch/log"
    fi
}

[ "$(id -u)" = 0 ] || skip "needs root: namespaces and libvirtd"
command -v libvirtd >/dev/null || skip "libvirtd is not installed"
command -v ping >/dev/null || skip "ping is not installed"
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/berth-fleet-test.XXXXXX")
one=$scratch/one two=$scratch/two
trap 'trap : INT TERM; BERTH_FLEET_DIR=$one "$fleet" down; BERTH_FLEET_DIR=$two "$fleet" down; rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM

up() { BERTH_FLEET_DIR=$1 "$fleet" up "$2" --sizes 2:1024,4:4096; }
in_one() { BERTH_FLEET_DIR=$one "$fleet" "$@"; }
names() { virsh -c "$(in_one uri "$1")" hostname; }
lists_sizes() { in_one list | grep -q '"limits": {"vcpus": 4, "memory_mib": 4096}'; }
has_network() { virsh -c "$(in_one uri 1)" net-list | grep -q default; }
is_gone() { ! grep -qsa -- "$1" /proc/[0-9]*/cmdline && [ ! -e "$1/count" ] && ! grep -q "$1" /proc/mounts; }
refuses() { ! "$@"; }

check "two hosts come up" up "$one" 2
check "another fleet comes up beside them" up "$two" 1
check "a second start of a fleet is refused" refuses up "$one" 2
check "hosts have names of their own" [ "$(names 1)" != "$(names 2)" ]
check "the list tells sizes" lists_sizes
check "each has the network default" has_network
check "hosts reach each other by name" in_one exec 1 ping -c 1 -W 5 "$(names 2)"
check "power goes off" in_one off 2
check "and on again" in_one on 2
check "and the host answers" names 2
check "down" in_one down
check "nothing is left" is_gone "$one"
check "the other fleet does not care" virsh -c "$(BERTH_FLEET_DIR=$two "$fleet" uri 1)" hostname
check "the same folder comes up again" up "$one" 1
check "down twice is fine" in_one down
check "down twice is fine (again)" in_one down
echo "1..$number"
