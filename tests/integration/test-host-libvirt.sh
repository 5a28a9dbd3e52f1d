#!/bin/sh
# The host conformance suite against real libvirt and QEMU.
exec "$(dirname "$0")/../conformance/run-host" libvirt
