#!/bin/bash
# Placement through the API, on simulated hosts; BERTH_SEED chooses another run.
here=$(dirname "$(readlink -f "$0")")
exec python3 "$here/placement" --build "${TOP_BUILDDIR:-$here/../../build}" --seed "${BERTH_SEED:-1}"
