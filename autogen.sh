#!/bin/sh
# Makes ./configure from configure.ac. Run once after a clone; build/ is made by ./configure there.
set -eu
cd "$(dirname "$0")"
mkdir -p m4
exec autoreconf --force --install
