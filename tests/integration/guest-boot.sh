#!/bin/sh
# Boots the guest OS under plain QEMU, once for each machine profile, and uses all of it.
#
#   tests/integration/guest-boot.sh
#
# Needs 'make guest-os guest-boot' in TOP_BUILDDIR (default: build). TAP; exit code 77 with a reason when
# something is missing on this machine.
set -eu

build=${TOP_BUILDDIR:-$(cd "$(dirname "$0")/../.." && pwd)/build}

skip()
{
    echo "1..0 # SKIP $*"
    exit 77
}

for tool in qemu-system-x86_64 tar2sqfs apt-get dpkg-deb; do
    command -v $tool >/dev/null || skip "'$tool' is not installed"
done
[ -s "$build/guest-os/initramfs" ] || skip "no guest OS in '$build/guest-os': run 'make guest-os'"
[ -x "$build/guest-boot" ] || skip "no '$build/guest-boot': run 'make guest-boot'"

cache=$build/guest-os/cache
mkdir -p "$cache"
ls "$cache"/busybox-static_*.deb >/dev/null 2>&1 ||
    (cd "$cache" && apt-get -q=2 -o APT::Sandbox::User=root download busybox-static) ||
    skip "busybox-static can't be downloaded"

work=$(mktemp -d)
trap 'trap : INT TERM; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
dpkg-deb -x "$(ls "$cache"/busybox-static_*.deb | head -n 1)" "$work/package"

root=$work/root
mkdir -p "$root/bin" "$root/etc" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
cp "$work/package/bin/busybox" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
cat >"$root/etc/passwd" <<END
root:x:0:0::/:/bin/sh
tom:x:1000:1000::/:/bin/sh
nobody:x:65534:65534::/:/bin/sh
END
cat >"$root/etc/group" <<END
root:x:0:
mail:x:7:bob,tom
tom:x:1000:
nogroup:x:65534:
END
(cd "$root" && tar --sort=name --owner=0 --group=0 --mtime=@0 -cf - *) |
    tar2sqfs -q -c zstd -X level=3 "$work/image.sqfs"

failed=0
for machine in q35 microvm; do
    echo "# machine $machine"
    timeout 600 "$build/guest-boot" --machine "$machine" --kernel "$build/guest-os/vmlinuz" \
        --initrd "$build/guest-os/initramfs" --image "$work/image.sqfs" || failed=1
done
exit $failed
