#!/bin/bash
# What happens behind Berth's back on a host: domains cut, ended, undefined, foreign; libvirtd killed and hung.
# BERTH_SLOW=1 lets libvirtd hang for a minute instead of 10 s.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

start_daemon
up_hosts 2 16:12000 16:12000
load_hello

# ---- a domain of somebody else
foreign_xml() {
    cat <<'XML'
<domain type='qemu'>
  <name>theirs</name><memory unit='MiB'>300</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>
</domain>
XML
}
foreign_xml >"$work/theirs.xml"
on 1 create "$work/theirs.xml" >/dev/null 2>"$work/err"
ok "somebody starts a domain of their own" 'cat "$work/err"'
theirs=$(qemu_pid 1 theirs)
listed() { [ "$(field host h1 '.status.foreign[0].name')" = theirs ]; }
wait_for 35 listed
ok "it is listed as foreign" 'field host h1 .status.foreign'
charged() { [ "$(field host h1 .status.used.memory_mib)" -ge 300 ]; }
wait_for 10 charged
ok "and charged" 'field host h1 .status'

# ---- a pod's domain is destroyed
run_on() { # HOST NAME COMMAND…
    LIMIT=90 berth run -d --name "$2" --host "$1" --restart always hello "${@:3}" >/dev/null &&
        wait_for 60 phase_is pod "$2" Running
}
run_on h1 cut sh -c 'echo up; sleep 900'
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
wait_for 60 phase_is pod cut Running
ok "and it runs (${waited_ms} ms later)"
is "$(field pod cut .status.restarts)" 1 "the restart is counted"
is "$(berth exec cut echo inside 2>&1)" inside "it can be spoken to"

# ---- its domain is destroyed and undefined at once
before=$(qemu_pid 1 "$(domain_of pod cut)")
on 1 undefine "$(domain_of pod cut)" >/dev/null && on 1 destroy "$(domain_of pod cut)" >/dev/null
wait_for 15 domain_is_back
ok "destroyed and undefined: made again (${waited_ms} ms)" 'field pod cut .status'
wait_for 60 phase_is pod cut Running
is "$(domains 1 | grep -c '^default\.cut-')" 1 "as one domain"

# ---- a VM
if [ -e "$build/hello-vm/hello-vm.qcow2" ]; then
    berth image import "$build/hello-vm/hello-vm.qcow2" --name hello-vm >/dev/null
    LIMIT=90 berth vm create box --disk hello-vm --memory 192 --host h1 --start --wait=80 >/dev/null &&
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

# ---- libvirtd dies
pid=$(qemu_pid 1 "$(domain_of pod cut)")
libvirtd=$("$fleet" pid 1 libvirtd)
kill -9 "$libvirtd"
unreachable() { [ "$(field host h1 .status.phase)" = Unreachable ]; }
wait_for 20 unreachable
ok "libvirtd killed: the host is unreachable (${waited_ms} ms)" 'field host h1 .status.phase'
is "$(berth exec still echo inside 2>&1)" inside "the other host's pod can be spoken to"
"$fleet" daemon 1 libvirtd
wait_for 40 phase_is host h1 Ready
ok "libvirtd is back: Berth reconnects by itself (${waited_ms} ms)" 'field host h1 .status'
wait_for 40 phase_is pod cut Running
ok "the pod is Running (${waited_ms} ms)" 'field pod cut .status'
is "$(qemu_pid 1 "$(domain_of pod cut)")" "$pid" "it was not restarted"
can_speak() { [ "$(LIMIT=10 berth exec cut echo inside 2>&1)" = inside ]; }
wait_for 40 can_speak
ok "and can be spoken to again (${waited_ms} ms)"

# ---- libvirtd hangs
libvirtd=$("$fleet" pid 1 libvirtd)
kill -STOP "$libvirtd"
end=$(($(now_ms) + (${BERTH_SLOW:+5}0 + 10) * 1000)) worst=0 calls=0
while [ "$(now_ms)" -lt "$end" ]; do
    start=$(now_ms)
    LIMIT=10 berth list --all >/dev/null || worst=99999
    took=$(($(now_ms) - start))
    [ "$took" -le "$worst" ] || worst=$took
    calls=$((calls + 1))
done
[ "$worst" -lt 1000 ]
ok "libvirtd hung: list answers in less than 1 s ($calls lists, the slowest $worst ms)"
is "$(LIMIT=10 berth exec still echo inside 2>&1)" inside "the other host's pod can be spoken to meanwhile"
run_on h2 meanwhile sh -c 'sleep 900'
ok "and pods start there (${waited_ms} ms)" 'field pod meanwhile .status'
kill -CONT "$libvirtd"
wait_for 60 phase_is host h1 Ready
ok "libvirtd goes on: the host is Ready (${waited_ms} ms)" 'field host h1 .status'
wait_for 30 phase_is pod cut Running
is "$(qemu_pid 1 "$(domain_of pod cut)")" "$pid" "its pod was not restarted"
can_speak() { [ "$(LIMIT=10 berth exec cut echo inside 2>&1)" = inside ]; }
wait_for 40 can_speak
ok "and can be spoken to (${waited_ms} ms)" 'field pod cut .status'

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
