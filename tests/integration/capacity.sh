#!/bin/bash
# Three hosts of different sizes: everything lands where capacity says, and who does not fit is told the numbers.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# A pod is charged 128 + 96 MiB; a host keeps 512 MiB for itself: 3, 6 and 10 of them fit.
start_daemon
up_hosts 3 16:1212 16:1912 16:2812
load_hello

pod_json() { # NAME [MEMORY]
    cat <<JSON
{"kind": "Pod", "metadata": {"name": "$1"},
 "spec": {"memory_mib": ${2:-128}, "restart": "Always", "stop_timeout_s": 0, "boot_timeout_s": 240,
          "containers": [{"name": "main", "image": "hello", "args": ["sh", "-c", "echo up; sleep 900"]}]}}
JSON
}

# used, free and capacity of every host, and what Berth has placed there: nothing is over-allocated.
check_sums() { # NAME
    local text
    text=$(berth get hosts -o json | jq -r '.[] | select(.status.used.memory_mib > .status.capacity.memory_mib
        or .status.used.memory_mib + .status.free.memory_mib != .status.capacity.memory_mib) | .metadata.name + " " + (.status | {used, free, capacity} | tostring)')
    is "$text" "" "$1: used + free = capacity on every host, nothing negative"
    local host charged
    for host in h1 h2 h3; do
        charged=$({ berth get pods -o json; berth get vms -o json; } |
            jq -s --arg host $host '[.[][] | select(.status.host == $host) | .status.used_memory_mib] | add // 0')
        charge_is() { [ "$(field host "$host" .status.used.memory_mib)" = "$charged" ]; }
        wait_for 3 charge_is
        is "$(field host $host .status.used.memory_mib)" "$charged" "$1: $host is charged what is placed there"
    done
}
all_running() { [ "$(count_of pods '.status.phase == "Running"')" -ge "$1" ]; }

# ---- 12 pods and 2 VMs
for i in $(seq 12); do pod_json "p$i" | berth apply -f - >/dev/null; done
vms=0
if [ -e "$build/hello-vm/hello-vm.qcow2" ]; then
    berth image import "$build/hello-vm/hello-vm.qcow2" --name hello-vm >/dev/null
    for i in 1 2; do berth vm create "v$i" --disk hello-vm --memory 128 --start --wait=0 >/dev/null; done
    vms=2
fi
wait_for 150 all_running 12
ok "12 pods run (${waited_ms} ms)" 'berth get pods'
wait_for 60 count_is vms '.status.phase == "Running"' $vms
ok "$vms VMs run" 'berth get vms'
is "$(for h in 1 2 3; do domains $h; done | grep -c .)" $((12 + vms)) "as so many domains"
check_sums "12 pods and $vms VMs"
text=$(berth host list)
contains "$text" '[Uu]sed' "host list shows what is used"
contains "$text" '[Ff]ree' "and what is free"
note "$(berth host list | sed -n 1,5p | tr '\n' '|')"

# ---- one that fits nowhere
pod_json big 4000 | berth apply -f - >/dev/null
refused() { [ "$(field pod "$1" .status.reason.code)" = no-capacity ]; }
wait_for 20 refused big
ok "one that fits nowhere waits"
contains "$(field pod big .status.reason.message)" '[0-9]' "with the numbers: $(field pod big .status.reason.message)"
contains "$(berth why big)" 'h3' "why names the hosts"
contains "$(berth why big)" '[0-9]+ *(MiB|GiB)' "and says how much is short"
pod_json small 64 | berth apply -f - >/dev/null
wait_for 60 phase_is pod small 'Preparing|Starting|Running'
ok "it does not delay one that fits" 'field pod small .status'
delete_all 150
ok "delete takes all"
is "$(for h in 1 2 3; do domains $h; done)" "" "no domain is left"
check_sums "nothing placed"

# ---- 50 at once, room for 10: h3 alone, the others are cordoned
berth host cordon h1 >/dev/null && berth host cordon h2 >/dev/null
ok "two hosts are cordoned"
pids=
for i in $(seq 50); do
    pod_json "q$i" | timeout 60 "$build/berth" apply -f - >/dev/null 2>>"$work/applied" &
    pids="$pids $!"
done
accepted=0
for pid in $pids; do wait "$pid" && accepted=$((accepted + 1)); done
is "$accepted" 50 "50 parallel creates are all answered"
wait_for 60 count_is pods '.status.host != null or .status.reason.code == "no-capacity"' 50
ok "all are decided (${waited_ms} ms)"
is "$(count_of pods '.status.host == "h3"')" 10 "10 are placed"
is "$(count_of pods '.status.reason.code == "no-capacity" and (.status.reason.message | test("[0-9]"))')" 40 "40 say what is short by how much"
note "$(berth get pods -o json | jq -r '[.[] | select(.status.host == null)][0].status.reason.message')"
check_sums "50 asked, 10 placed"
wait_for 150 all_running 10
ok "the 10 run (${waited_ms} ms)" 'berth get pods'
is "$(domains 3 | grep -c .)" 10 "as 10 domains"

# ---- room for all that wait
berth host uncordon h1 >/dev/null
wait_for 30 count_is pods '.status.host != null' 13
ok "a host more: 3 more are placed (${waited_ms} ms)"
check_sums "13 placed"
delete_all 150
ok "delete takes all"
is "$(for h in 1 2 3; do domains $h; done)" "" "no domain is left"
check_sums "in the end"
done_testing
