#!/bin/sh
# Two real hosts, and the faults of tests/integration/host-faults.c. TAP on standard output.
set -eu
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${TOP_BUILDDIR:-$src/build}
PATH=$PATH:/usr/sbin

skip() {
    echo "1..0 # SKIP $*"
    exit 0
}

[ "$(id -u)" = 0 ] || skip "needs root: namespaces and libvirtd"
for program in libvirtd virtlogd qemu-system-x86_64 dnsmasq; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
BERTH_FLEET_DIR=$(mktemp -d "${TMPDIR:-/var/tmp}/berth-fleet.XXXXXX")
FLEET=$src/tests/hosts/fleet
export BERTH_FLEET_DIR FLEET
trap 'trap : INT TERM; "$FLEET" down; rm -rf "$BERTH_FLEET_DIR"' EXIT
trap 'exit 1' INT TERM
"$FLEET" up 2 >/dev/null
timeout -k 5 300 "$build/host-faults" --tap
