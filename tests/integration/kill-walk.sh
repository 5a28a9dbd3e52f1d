#!/bin/bash
# A seeded sample of tests/campaign/kill-walk; BERTH_WALK_POINTS=300 walks more.
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
command -v strace >/dev/null && command -v python3 >/dev/null || {
    echo "ok 1 - kill-walk # SKIP needs strace and python3"
    exit 77
}
exec "$root/tests/campaign/kill-walk" --points "${BERTH_WALK_POINTS:-18}" --seed "${BERTH_WALK_SEED:-1}" \
    --build "${TOP_BUILDDIR:-$root/build}"
