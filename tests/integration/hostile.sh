#!/bin/bash
# The whole daemon under hostile input; see tests/campaign/hostile.
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
build=${TOP_BUILDDIR:-$root/build}
for needed in berthd-sim simhost berth guest-os/initramfs hello-image/hello-image.tar; do
    [ -e "$build/$needed" ] || {
        echo "ok 1 - hostile # SKIP $build/$needed is missing: make guest-os hello-image"
        exit 77
    }
done
exec "$root/tests/campaign/hostile" --build "$build"
