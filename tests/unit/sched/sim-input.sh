#!/bin/bash
# berth-sim is given files that are wrong: it says where, and ends with 1. TAP.
set -u

sim=$(readlink -f "${TOP_BUILDDIR:-build}")/berth-sim
count=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

write() { # FILE LINE…
    local file=$1
    shift
    printf '%s\n' "$@" >"$file"
}
says() { # CODE TEXT COMMAND…: how it ends, and what is somewhere in what it says
    local code=$1 text=$2 said
    shift 2
    said=$(timeout 60 "$sim" "$@" 2>&1)
    local ended=$?
    count=$((count + 1))
    if [ $ended = "$code" ] && [[ $said == *"$text"* ]]; then
        echo "ok $count $1: $text"
    else
        failed=$((failed + 1))
        echo "not ok $count $1: $text"
        echo "# $ended: $said"
    fi
}

vms=(cpu,mem,at,lt 4,16,0,100 8,2,1,50)
write vms.csv "${vms[@]}"
write starts.txt 0 1
wait=(lifetimes --starts starts.txt --hosts 2 --json)
says 0 '"verified":true' "${wait[@]}" --vms vms.csv
write bad.csv "${vms[@]}" 4,-1,2,10
says 1 "'bad.csv' line 4: mem is '-1'" "${wait[@]}" --vms bad.csv
write bad.csv "${vms[@]}" 4,1,nan,10
says 1 "'bad.csv' line 4: at is 'nan'" "${wait[@]}" --vms bad.csv
write bad.csv "${vms[@]}" 4,1,2
says 1 "'bad.csv' line 4 has fewer than 4 fields" "${wait[@]}" --vms bad.csv
write bad.csv cpu,mem,at 4,1,2
says 1 "no column 'lt'" "${wait[@]}" --vms bad.csv
write bad.csv cpu,mem,at,lt
says 1 "'bad.csv' has no rows" "${wait[@]}" --vms bad.csv
for wrong in 2 -1 x 99999999999999999999; do
    write bad.txt 0 "$wrong"
    says 1 "'bad.txt': '$wrong'" lifetimes --vms vms.csv --starts bad.txt --hosts 2
done
says 1 "--hosts: '0'" lifetimes --vms vms.csv --starts starts.txt --hosts 0

write nodes.csv sn,cpu_milli,memory_mib,gpu,model n1,64000,65536,2,T4
write pods.csv cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec 1000,1024,1,500,
gpu=(gpu --order order.txt --json)
write order.txt 0
says 0 '"verified":true' "${gpu[@]}" --nodes nodes.csv --pods pods.csv
write bad.csv sn,cpu_milli,memory_mib,gpu,model n1,64000,65536,99,T4
says 1 "'bad.csv' line 2: gpu is '99'" "${gpu[@]}" --nodes bad.csv --pods pods.csv
write order.txt 1
says 1 "'order.txt': '1'" "${gpu[@]}" --nodes nodes.csv --pods pods.csv

write hosts.csv CPU1,RAM1,CPU2,RAM2 16,32,32,64
write racks.csv host_id,rack_id host-0,0
write asked.csv flavor_vcpus,flavor_ram,numa,strategy,group,domain 8,16,1,affinity,0,
racks=(topology --racks racks.csv --json)
says 0 '"verified":true' "${racks[@]}" --hosts hosts.csv --vms asked.csv
write bad.csv CPU1,RAM1 16,32
says 1 "'bad.csv' has fewer than 4 columns" "${racks[@]}" --hosts bad.csv --vms asked.csv
write bad.csv flavor_vcpus,flavor_ram,numa,strategy,group,domain 8,x,1,affinity,0,
says 1 "'bad.csv' line 2: flavor_ram is 'x'" "${racks[@]}" --hosts hosts.csv --vms bad.csv

host='{"name": "h", "cpu_millis": 8000, "memory_mib": 8192, "state": 1'
fleet() { echo "{\"format\": \"berth-fleet-1\", \"hosts\": [$host$1}], \"workloads\": [$2]}" >fleet.json; }
fleet '' '{"cpu_millis": 1000, "memory_mib": 64, "placed_on": "h"}'
says 0 '"same":1' replay --fleet fleet.json --json
fleet ', "cells": [{"cpu_millis": 1, "memory_mib": 64, "hugepages": [{"amount": 1}]}]' ''
says 1 "'key' is missing" replay --fleet fleet.json
fleet '' '{"cpu_millis": -5, "memory_mib": 64}'
says 1 "'cpu_millis' must be a whole number" replay --fleet fleet.json

echo "1..$count"
exit $((failed > 0))
