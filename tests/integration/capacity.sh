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

hosts='h1 h2 h3'
# used, free and capacity of every host, and what Berth has placed there: nothing is over-allocated.
check_sums() { # NAME
    local text
    text=$(berth get hosts -o json | jq -r '.[] | select(.status.used.memory_mib > .status.capacity.memory_mib
        or .status.used.memory_mib + .status.free.memory_mib != .status.capacity.memory_mib) | .metadata.name + " " + (.status | {used, free, capacity} | tostring)')
    is "$text" "" "$1: used + free = capacity on every host, nothing negative"
    local host charged
    for host in $hosts; do
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
wait_for 300 all_running 12
ok "12 pods run (${waited_ms} ms)" 'berth get pods'
wait_for 60 count_is vms '.status.phase == "Running"' $vms
ok "$vms VMs run" 'berth get vms'
is "$(for h in 1 2 3; do domains $h; done | grep -c .)" $((12 + vms)) "as so many domains"
check_sums "12 pods and $vms VMs"
placed_on() { berth get pods -o json | jq "[.[] | select(.status.host == \"$1\")] | length"; }
fits=0
for host in h1:3 h2:6 h3:10; do
    count=$(placed_on "${host%:*}")
    [ "$count" -le "${host#*:}" ] || fits=1
    note "${host%:*}: $count pods, room for ${host#*:}"
done
is "$fits" 0 "no host has more pods than it has room for"
row() { berth host list | awk -v name="$1" '$1 == name' | tr -s ' '; }
shown() { # HOST: its memory as the table shows it
    field host "$1" '.status | .used.memory_mib, .free.memory_mib' |
        awk '{ printf $1 < 1024 ? "%d MiB " : "%.1f GiB ", $1 < 1024 ? $1 : $1 / 1024 }'
}
text=$(berth host list)
contains "$text" 'Memory used +free' "host list shows what is used and free"
for host in h1 h2 h3; do
    contains "$(row $host)" " $(shown $host)" "$host: with the API's figures"
done
note "$(tr '\n' '|' <<<"$text")"

# ---- a full host refuses with the numbers: by one MiB too much, asked for by name
free=$(field host h3 .status.free.memory_mib)
pod_json exact $((free - 96 + 1)) | jq '.spec.placement.host = "h3"' | berth apply -f - >/dev/null
refused() { [ "$(field pod "$1" .status.reason.code)" = no-capacity ]; }
wait_for 20 refused exact
ok "a pod that a host can't take by 1 MiB waits" 'field pod exact .status'
text=$(berth why exact -o json | jq -r '.placement.refusals[] | select(.host == "h3") | "\(.need) \(.have) \(.short_by)"')
is "$text" "$((free + 1)) $free 1" "and is told what it needs, what there is and what is short"
contains "$(berth why exact)" 'h3 .* 1 MiB' "in the table, too"
berth delete pod exact --wait=20 >/dev/null

# ---- one that fits nowhere
pod_json big 4000 | berth apply -f - >/dev/null
wait_for 20 refused big
ok "one that fits nowhere waits"
contains "$(field pod big .status.reason.message)" '[0-9]' "with the numbers: $(field pod big .status.reason.message)"
contains "$(berth why big)" 'h3' "why names the hosts"
contains "$(berth why big)" '[0-9]+ *(MiB|GiB)' "and says how much is short"
pod_json small 64 | berth apply -f - >/dev/null
wait_for 60 phase_is pod small 'Preparing|Starting|Running'
ok "it does not delay one that fits" 'field pod small .status'
delete_all 300
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
wait_for 300 all_running 10
ok "the 10 run (${waited_ms} ms)" 'berth get pods'
is "$(domains 3 | grep -c .)" 10 "as 10 domains"

# ---- room for all that wait
berth host uncordon h1 >/dev/null
wait_for 30 count_is pods '.status.host != null' 13
ok "a host more: 3 more are placed (${waited_ms} ms)"
check_sums "13 placed"

# ---- a host is to be removed: it says what it waits for, however often it is asked, and gets nothing new
for time in first second; do
    berth host remove h1 >"$work/out" 2>&1
    is $? 6 "a host with pods is not removed, the $time time"
    contains "$(cat "$work/out")" '3 workloads are still on it' "and says what is on it"
done
is "$(field host h1 '.status.conditions[] | select(.type == "Schedulable") | .reason')" being-removed "it gets nothing new"
delete_all 300
ok "delete takes all"
host_is_gone() { ! berth get host "$1" >/dev/null 2>&1; }
wait_for 20 host_is_gone h1
ok "the host goes with the last of them"
hosts='h2 h3'
is "$(for h in 1 2 3; do domains $h; done)" "" "no domain is left"
check_sums "in the end"
done_testing
