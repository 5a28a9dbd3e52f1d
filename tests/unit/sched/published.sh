#!/bin/bash
# berth-sim against published data: the baselines give the figures they are calibrated to, the default policy is
# better. The data is not part of the tree: ../shared/data beside it, or BERTH_DATA. TAP.
set -u

data=${BERTH_DATA:-${TOP_SRCDIR:-.}/../shared/data}
sim=${TOP_BUILDDIR:-build}/berth-sim
count=0 failed=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() { # NAME FILTER LINE…: whether jq's FILTER, of the answers as a list, is true
    local name=$1 filter=$2
    shift 2
    count=$((count + 1))
    if printf '%s\n' "$@" | jq -es "$filter" >/dev/null; then
        echo "ok $count $name"
    else
        failed=$((failed + 1))
        echo "not ok $count $name"
        printf '# %s\n' "$@"
    fi
}

# ---- A: waiting

vms=$work/vms.csv starts=$data/huawei-east-1/valid_random_time_150.txt
if [ ! -s "$starts" ] || ! xz -dc "$data/huawei-east-1/Huawei-East-1-lt.csv.xz" >"$vms"; then
    echo "1..0 # SKIP no data in '$data'; name another folder with BERTH_DATA"
    exit 77
fi
lifetimes() { "$sim" lifetimes --vms "$vms" --starts "$starts" --hosts 3 --policy "$1" --json; }
balance=$(lifetimes balance-fit)
for row in first-fit:217497.33 balance-fit:153415.67 best-fit:226858.74; do
    check "${row%:*} waits ${row#*:} s at 3 hosts" \
        ".[0].verified and .[0].total_wait_trimmed_s == ${row#*:}" "$(lifetimes "${row%:*}")"
done
check "the default waits less than balance fit" \
    'all(.verified) and .[0].total_wait_trimmed_s < .[1].total_wait_trimmed_s' "$(lifetimes default)" "$balance"

# ---- B: GPU share

tar -xf "$data/openb-gpu-v2023/openb_csv.tar.xz" -C "$work"
tar -xf "$data/openb-gpu-v2023/arrival_orders.tar.xz" -C "$work"
gpu() {
    "$sim" gpu --nodes "$(find "$work" -name openb_node_list_gpu_node.csv)" --json --policy "$1" \
        --pods "$(find "$work" -name openb_pod_list_default.csv)" --order "$(find "$work" -name default-42.txt)"
}
check "the default gives out more GPU share than FGD, with 100 and with 130 % arrived" \
    'all(.verified) and .[0].gpu_allocated_pct_100 > .[1].gpu_allocated_pct_100 and
     .[0].gpu_allocated_pct_130 > .[1].gpu_allocated_pct_130' "$(gpu default)" "$(gpu fgd)"

# ---- G: topology

topology() { # CASE POLICY
    local folder=$data/huawei-topology-cc0
    "$sim" topology --hosts "$folder/PM_res.csv" --racks "$folder/topology_provider.csv" --vms "$folder/VM_data_$1.csv" \
        --policy "$2" --json
}
for case in C1 C2 C3; do
    check "$case: the default places all, and satisfies more groups than first fit" \
        'all(.verified) and all(.placed == .requests) and .[0].groups_satisfied > .[1].groups_satisfied' \
        "$(topology $case default)" "$(topology $case first-fit)"
done

echo "1..$count"
[ "$failed" -eq 0 ]
