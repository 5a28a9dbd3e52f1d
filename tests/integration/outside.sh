#!/bin/bash
# What happens behind Berth's back on a host: domains cut, ended, changed, foreign; libvirtd killed again and
# again, and hung; a guest that does not read. Who is not concerned must notice nothing of it.
# BERTH_SLOW=1 kills libvirtd 100 times instead of 20.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# ---- somebody's own domain is on h1 before Berth hears of the host
foreign_xml() { # NAME MIB
    cat <<XML
<domain type='qemu'>
  <name>$1</name><memory unit='MiB'>$2</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>
</domain>
XML
}
before_add() { foreign_xml theirs 300 >"$work/theirs.xml" && on 1 create "$work/theirs.xml" >/dev/null; }
BERTH_UNDER=${BERTH_UNDER:-nice -n -10}
start_daemon
up_hosts 2 16:12000 16:12000
load_hello
theirs=$(qemu_pid 1 theirs)
used() { field host h1 .status.used.memory_mib; }
is "$(field host h1 '.status.foreign[0].name')" theirs "a domain that was there before is listed as foreign"
is "$(used)" 300 "and charged from the first second"

# ---- changed by hand
foreign_xml more 200 >"$work/more.xml"
on 1 define "$work/more.xml" >/dev/null
used_is() { [ "$(used)" = "$1" ]; }
wait_for 5 used_is 500
ok "a foreign domain that is defined is charged within 5 s (${waited_ms} ms)" 'field host h1 .status'
uuid=$(on 1 domuuid more | head -n 1)
foreign_xml more 400 | sed "s|<name>|<uuid>$uuid</uuid><name>|" >"$work/more.xml"
on 1 define "$work/more.xml" >/dev/null
wait_for 5 used_is 700
ok "when it grows, too (${waited_ms} ms)" 'field host h1 .status'
on 1 undefine more >/dev/null
wait_for 5 used_is 300
ok "and no more when it is gone (${waited_ms} ms)" 'field host h1 .status'

# ---- a network is made by hand, after a pod asked for it
berth apply -f - >/dev/null <<'YAML'
kind: Network
metadata: {name: late}
spec: {libvirt: late, cidr: 10.66.0.0/24, range_start: 10.66.0.2, range_end: 10.66.0.99, gateway: 10.66.0.1}
---
kind: Pod
metadata: {name: early}
spec: {networks: [{network: late}], containers: [{name: main, image: hello, command: [sleep, '3600']}]}
YAML
says() { berth why "$1" | grep -q "$2"; }
wait_for 5 says early 'network *late'
ok "a pod waits for a network that no host has (${waited_ms} ms)" 'berth why early'
on 2 net-define /dev/stdin >/dev/null <<'XML'
<network><name>late</name><bridge name='virbr-late'/><ip address='10.66.0.1' netmask='255.255.255.0'/></network>
XML
on_host() { [ "$(field pod "$1" .status.host)" = "$2" ]; }
wait_for 5 on_host early h2
ok "virsh net-define: it is placed where the network is (${waited_ms} ms)" 'berth why early'
berth delete pod early --wait=60 >/dev/null
on 2 net-undefine late >/dev/null
berth delete network late >/dev/null
ok "and deleted with its network" 'berth get network'

# ---- a pod's domain is destroyed
run_on() { # HOST NAME COMMAND…
    LIMIT=150 berth run -d --name "$2" --host "$1" --restart always hello "${@:3}" >/dev/null &&
        wait_for 120 phase_is pod "$2" Running
}
run_on h1 cut sh -c 'echo up; sleep 3600'
ok "a pod runs on h1" 'field pod cut .status'
run_on h2 still sh -c 'i=0; while :; do i=$((i+1)); echo n $i; sleep 1; done'
ok "another on h2" 'field pod still .status'
still=$(qemu_pid 2 "$(domain_of pod still)")
before=$(qemu_pid 1 "$(domain_of pod cut)")
domain_is_back() {
    local pid
    pid=$(qemu_pid 1 "$(domain_of pod cut)") && [ -n "$pid" ] && [ "$pid" != "$before" ]
}
on 1 destroy "$(domain_of pod cut)" >/dev/null
wait_for 5 domain_is_back
ok "virsh destroy of a pod: its domain is started again within 5 s (${waited_ms} ms)" 'field pod cut .status'
wait_for 90 phase_is pod cut Running
ok "and it runs (${waited_ms} ms later)"
is "$(field pod cut .status.restarts)" 1 "the restart is counted"
is "$(berth exec cut echo inside 2>&1)" inside "it can be spoken to"
on 1 suspend "$(domain_of pod cut)" >/dev/null
reason_is() { [ "$(field pod cut .status.reason.code)" = "$1" ]; }
wait_for 5 reason_is paused
ok "virsh suspend is seen within 5 s (${waited_ms} ms)" 'field pod cut .status'
on 1 resume "$(domain_of pod cut)" >/dev/null
wait_for 5 phase_is pod cut Running
ok "and resume, too (${waited_ms} ms)" 'field pod cut .status'

# ---- its domain is destroyed and undefined at once
before=$(qemu_pid 1 "$(domain_of pod cut)")
on 1 undefine "$(domain_of pod cut)" >/dev/null && on 1 destroy "$(domain_of pod cut)" >/dev/null
wait_for 15 domain_is_back
ok "destroyed and undefined: made again (${waited_ms} ms)" 'field pod cut .status'
wait_for 90 phase_is pod cut Running
is "$(domains 1 | grep -c '^default\.cut-')" 1 "as one domain"
can_speak() { [ "$(LIMIT=10 berth exec "$1" echo inside 2>&1)" = inside ]; }

# ---- libvirtd dies, again and again
pid=$(qemu_pid 1 "$(domain_of pod cut)")
kill -9 "$("$fleet" pid 1 libvirtd)"
unreachable() { [ "$(field host h1 .status.phase)" = Unreachable ]; }
wait_for 20 unreachable
ok "libvirtd killed: the host is unreachable (${waited_ms} ms)" 'field host h1 .status.phase'
is "$(berth exec still echo inside 2>&1)" inside "the other host's pod can be spoken to"
"$fleet" daemon 1 libvirtd
wait_for 40 phase_is host h1 Ready
ok "libvirtd is back: Berth reconnects by itself (${waited_ms} ms)" 'field host h1 .status'
kills=$((${BERTH_SLOW:+80} + 20))
for _ in $(seq $((kills - 1))); do
    kill -9 "$("$fleet" pid 1 libvirtd)" && "$fleet" daemon 1 libvirtd
    wait_for 20 on 1 version
done
wait_for 60 phase_is host h1 Ready
ok "killed $kills times in a row: Berth is there again (${waited_ms} ms)" 'field host h1 .status'
wait_for 40 phase_is pod cut Running
ok "the pod is Running (${waited_ms} ms)" 'field pod cut .status'
is "$(qemu_pid 1 "$(domain_of pod cut)")" "$pid" "it was not restarted"
wait_for 40 can_speak cut
ok "and can be spoken to again (${waited_ms} ms)"

# ---- libvirtd hangs for a minute; meanwhile all goes on elsewhere
libvirtd=$("$fleet" pid 1 libvirtd)
kill -STOP "$libvirtd"
hung=$(now_ms)
probe 55 "$work/hung" &
prober=$!
told() { [ "$(field host h1 '.status.conditions[] | select(.type == "Answers") | .value')" = false ]; }
wait_for 45 told
ok "libvirtd hung: a condition of the host says so (${waited_ms} ms)" 'field host h1 .status.conditions'
is "$(berth exec still echo inside 2>&1)" inside "the other host's pod can be spoken to meanwhile"
run_on h2 deaf sh -c 'echo up; sleep 3600'
ok "and pods start there (${waited_ms} ms)" 'field pod deaf .status'

# ---- a guest that reads nothing of its link: its vCPUs stand still, then its QEMU, while somebody writes to it
deaf=$(qemu_pid 2 "$(domain_of pod deaf)")
flood() { timeout 60 "$build/berth" exec -i deaf sh -c 'cat >/dev/null' </dev/zero >/dev/null 2>&1; }
for way in suspend stop; do
    flood &
    flooder=$!
    flows() { berth exec deaf pidof cat; }
    wait_for 20 flows
    if [ "$way" = suspend ]; then on 2 suspend "$(domain_of pod deaf)" >/dev/null; else kill -STOP "$deaf"; fi
    probe 5 "$work/deaf.$way"
    answers_quickly "$work/deaf.$way" "a guest that does not read ($way)" 90
    is "$(LIMIT=10 berth exec still echo inside 2>&1)" inside "its neighbour on the same host can be spoken to ($way)"
    if [ "$way" = suspend ]; then on 2 resume "$(domain_of pod deaf)" >/dev/null; else kill -CONT "$deaf"; fi
    wait_for 40 can_speak deaf
    ok "once it reads it can be spoken to again (${waited_ms} ms)" 'field pod deaf .status'
    kill "$flooder"
    wait "$flooder"
done
is "$(qemu_pid 2 "$(domain_of pod deaf)")" "$deaf" "it was not restarted"

# ---- the hang ends
left=$((60000 - $(now_ms) + hung))
wait "$prober"
[ "$left" -le 0 ] || read -rt "$((left / 1000))" -u 9
answers_quickly "$work/hung" "libvirtd hung" 990
kill -CONT "$libvirtd"
wait_for 60 phase_is host h1 Ready
ok "libvirtd goes on: the host is Ready (${waited_ms} ms)" 'field host h1 .status'
is "$(field host h1 '.status.conditions[] | select(.type == "Answers") | .value')" true "its condition says so"
wait_for 30 phase_is pod cut Running
is "$(qemu_pid 1 "$(domain_of pod cut)")" "$pid" "its pod was not restarted"
wait_for 40 can_speak cut
ok "and can be spoken to (${waited_ms} ms)" 'field pod cut .status'

# ---- the daemon begins anew while libvirtd hangs: what the last life knew of the host is not told as if it were seen
kill -STOP "$libvirtd"
kill_daemon
start_daemon
is "$(field host h1 '.status | .phase + " " + (.conditions | map(.type + "=" + (.value | tostring)) | sort | join(" "))')" \
    "Connecting Answers=false Schedulable=false" "a daemon that has not reached a host yet says so"
wait_for 10 phase_is pod cut Unknown
is "$(field pod cut .status.reason.code)" host-unreachable "what runs there is Unknown, and why"
LIMIT=150 berth run -d --name elsewhere hello sleep 3600 >/dev/null
wait_for 90 phase_is pod elsewhere Running
is "$(field pod elsewhere .status.host)" h2 "nothing is placed there"
kill -CONT "$libvirtd"
wait_for 60 phase_is host h1 Ready
ok "libvirtd goes on: the host is Ready (${waited_ms} ms)" 'field host h1 .status'
wait_for 30 phase_is pod cut Running
is "$(qemu_pid 1 "$(domain_of pod cut)")" "$pid" "its pod was not restarted"

# ---- a VM
if [ -e "$build/hello-vm/hello-vm.qcow2" ]; then
    berth image import "$build/hello-vm/hello-vm.qcow2" --name hello-vm >/dev/null
    LIMIT=150 berth vm create box --disk hello-vm --memory 192 --host h1 --start --wait=120 >/dev/null &&
        wait_for 60 phase_is vm box Running
    ok "a VM runs on h1" 'field vm box .status'
    on 1 destroy "$(domain_of vm box)" >/dev/null
    wait_for 5 phase_is vm box Stopped
    ok "virsh destroy of a VM: off within 5 s (${waited_ms} ms)" 'field vm box .status'
    is "$(field vm box '.power + " " + .status.actor')" "off external" "its power is off, by external"
    # It stays off: what would start it has had its chance when the next pod's change is seen.
    berth exec cut true && wait_for 2 false
    is "$(on 1 domstate "$(domain_of vm box)" | head -n 1)" "shut off" "it stays off"
    LIMIT=90 berth start box --wait=60 >/dev/null && wait_for 30 phase_is vm box Running
    ok "it can be started again" 'field vm box .status'
    on 1 shutdown "$(domain_of vm box)" >/dev/null
    powered_off() {
        phase_is vm box Stopped || { on 1 shutdown "$(domain_of vm box)" && false; }
    }
    wait_for 60 powered_off
    is "$(field vm box '.power + " " + .status.actor')" "off guest" "a guest that powers itself off: actor guest"
fi

# ---- nobody was touched
is "$(qemu_pid 2 "$(domain_of pod still)")" "$still" "the pod on the other host is the same process"
is "$(field pod still '.status.restarts // 0')" 0 "without a restart"
berth logs still 2>/dev/null | awk '$2 != NR { exit 1 }'
ok "its log has every line once, in order"
delete_all 90
ok "delete takes all that is ours"
is "$(domains 1)" theirs "and leaves what is not"
is "$(qemu_pid 1 theirs)" "$theirs" "their domain was never touched"
is "$(domains 2)" "" "nothing is left on the other host"
done_testing
