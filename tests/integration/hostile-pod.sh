#!/bin/bash
# Hostile containers in real pods: each is survived by its PID 1, or its end is seen within 10 s; a neighbour on the
# same host notices nothing. Row G7 of the catalogue of failures.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

start_daemon
up_hosts 1 16:12000
load_hello

run_pod() { # NAME COMMAND: memory for a guest, and little for what it does there
    LIMIT=90 berth run -d --name "$1" --memory 160 --restart no hello sh -c "$2" >/dev/null
}
speaks() { [ "$(LIMIT=15 berth exec "$1" echo inside 2>/dev/null)" = inside ]; }
seen() { # NAME: its PID 1 answers, or its end is known
    phase_is pod "$1" 'Failed|Succeeded|Stopped' || speaks "$1"
}

run_pod still 'i=0; while :; do i=$((i+1)); echo n $i; sleep 1; done'
wait_for 60 phase_is pod still Running
ok "a neighbour runs" 'field pod still .status'
still=$(qemu_pid 1 "$(domain_of pod still)")

# Each says "begun" first: what comes then is counted from there.
run_pod bomb 'echo begun; f() { f | f & }; f; sleep 600'
run_pod eater 'echo begun; x=x; while :; do x=$x$x; done'
run_pod filler 'echo begun; i=0; while dd if=/dev/zero of=/f$i bs=64k count=64 2>/dev/null; do i=$((i+1)); done; echo full; sleep 600'
run_pod zombies 'echo begun; i=0; while [ $i -lt 3000 ]; do (:) & i=$((i+1)); done; exec sleep 600'
run_pod killer 'echo begun; kill -9 -1; echo alive; sleep 600'
run_pod umounter 'echo begun; umount /proc; umount -l /; mount -o remount,rw /; echo still here; sleep 600'
begun() { LIMIT=10 berth logs "$1" 2>/dev/null | grep -q begun; }
for name in bomb eater filler zombies killer umounter; do
    wait_for 90 begun "$name"
    ok "$name has begun" 'field pod "$name" .status'
    wait_for 10 seen "$name"
    ok "$name: PID 1 answers, or its end is seen within 10 s (${waited_ms} ms)" 'field pod "$name" .status'
done
is "$(LIMIT=10 berth logs umounter 2>/dev/null | tail -n 1)" "still here" "a container can't take its mounts away"
ended() { phase_is pod eater 'Failed|Succeeded' || [ "$(LIMIT=10 berth exec eater echo x 2>/dev/null)" = x ]; }
wait_for 60 ended
ok "who eats memory is ended, or lives within its bounds" 'field pod eater .status'

# ---- nobody else noticed
is "$(qemu_pid 1 "$(domain_of pod still)")" "$still" "the neighbour is the same process"
is "$(field pod still '.status.restarts // 0')" 0 "without a restart"
speaks still
ok "and can be spoken to"
berth logs still 2>/dev/null | awk '$2 != NR { exit 1 }'
ok "its log has every line once, in order"
delete_all 90
ok "delete takes them all, the hostile ones too" 'berth get pods'
is "$(domains 1)" "" "no domain is left"
done_testing
