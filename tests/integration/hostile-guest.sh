#!/bin/bash
# Real guests that turn against their host: our guest OS with another PID 1 (tests/hostile-guest), each in its
# own way. Each gets its documented answer, berthd's memory stays within its bound, and who is not concerned
# notices nothing. Rows G1 to G4 and G8 of the catalogue of failures; docs/hostile-input.md.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
[ -x "$build/berth-guest-hostile" ] || skip_all "$build/berth-guest-hostile is missing: make"

# A later archive's file stands for the one before it.
guest_os=$work/guest-os
mkdir -p "$guest_os/root"
cp "$build/guest-os/vmlinuz" "$build/guest-os/manifest.json" "$guest_os/"
install -s -m 755 "$build/berth-guest-hostile" "$guest_os/root/init"
{ cat "$build/guest-os/initramfs" && (cd "$guest_os/root" && echo ./init | cpio -o -H newc --quiet -R 0:0); } >"$guest_os/initramfs"

BERTH_UNDER=${BERTH_UNDER:-nice -n -10}
start_daemon
up_hosts 1 16:12000
load_hello
# A log of 3 MiB at most, so that a flood meets its bound many times over.
berth raw PATCH /v1/settings/fleet -d '{"spec": {"log_segment_mib": 1, "log_segments": 3}}' >/dev/null || bail "no settings"

run_pod() { # NAME COMMAND
    LIMIT=90 berth run -d --name "$1" --memory 160 --restart no hello sh -c "$2" >/dev/null
}
run_pod still 'i=0; while :; do i=$((i+1)); echo n $i; sleep 1; done'
wait_for 60 phase_is pod still Running
ok "a neighbour runs, a guest like the others" 'field pod still .status'
still=$(qemu_pid 1 "$(domain_of pod still)")
ways="noise half version replay deaf flood claims short"
for way in $ways; do
    run_pod "$way" "echo sound; while [ ! -e /tmp/turn ]; do sleep 0.2; done; echo hostile:$way; sleep 600"
done
for way in $ways; do
    wait_for 120 phase_is pod "$way" Running
    ok "$way begins as a sound one" 'field pod "$way" .status'
done
memory_kib() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$daemon_pid/status"; }
before=$(memory_kib VmRSS)
for way in $ways; do berth exec "$way" touch /tmp/turn || note "$way can't be told to turn"; done

# ---- while they rage
probe 20 "$work/raging" &
prober=$!
cut_off() { # WAY EXPRESSION: what berthd says of a link that it cut
    local uid
    uid=$(field pod "$1" .metadata.uid)
    grep -E "$2" "$log" | grep -q "$uid"
}
while read -r way expression; do
    wait_for 60 cut_off "$way" "$expression"
    ok "$way is cut off: $expression (${waited_ms} ms)" "grep $(field pod "$way" .metadata.uid) $log | tail -n 5"
done <<'WAYS'
noise bytes that are no frame
half did not finish a frame in
deaf has not answered for
WAYS
started_anew() { [ "$(field pod version .status.domain.incarnation)" = 2 ] && phase_is pod version Running; }
wait_for 90 started_anew
ok "version: started anew with the guest OS of this daemon (${waited_ms} ms)" 'field pod version .status'
# Its output is passed on; that it is not all there is said in time.
LIMIT=100 berth run --name cut --memory 160 --restart no hello sh -c 'echo before; echo hostile:short' >"$work/exec.cut" 2>&1 &
execs=$!
# A command in each of them ends with an error, in time; all at once, because some take 30 s.
for way in replay noise half deaf short; do
    LIMIT=100 berth exec "$way" echo inside >"$work/exec.$way" 2>&1 &
    execs="$execs $!"
done
is "$(LIMIT=15 berth exec claims echo inside 2>&1)" inside "claims: what it says of others is dropped, its own goes on"
is "$(berth logs claims 2>/dev/null | grep -c claimed)" 0 "claims: nothing of it is in its log"
# shellcheck disable=SC2086
wait $execs
for way in replay noise half deaf; do
    ! grep -q inside "$work/exec.$way" && grep -q '^error: the guest' "$work/exec.$way"
    ok "$way: a command there ends with an error" 'cat "$work/exec.$way"'
    note "$(head -n 1 "$work/exec.$way")"
done
grep -q '^inside$' "$work/exec.short" && grep -q "^error: the guest announced 1007 bytes of the command's stdout and sent 7" "$work/exec.short"
ok "short: a command's output comes, and then what of it is missing" 'cat "$work/exec.short"'
grep -q '^before$' "$work/exec.cut" && grep -q "^error: the guest announced log record 100[0-9] of the container and sent [0-9];" "$work/exec.cut"
ok "short: so does a container's" 'cat "$work/exec.cut"'
note "$(tail -n 1 "$work/exec.cut")"
wait "$prober"
answers_quickly "$work/raging" "beside guests that rage" 360
peak=$(memory_kib VmHWM)
[ "$peak" -lt 98304 ]
ok "berthd's peak is $((peak / 1024)) MiB (before: $((before / 1024))), below 96" 'grep Vm "/proc/$daemon_pid/status"'
logs=$state/logs/$(field pod flood .metadata.uid)
segments=$(find "$logs" -type f | wc -l)
newest=$(find "$logs" -type f | sed 's/.*\.//' | sort -n | tail -n 1)
flooded=$(find "$logs" -type f -printf '%s\n' | awk '{ sum += $1 } END { print int(sum / 1024) }')
[ "$newest" -ge 6 ]
ok "flood: more than 6 MiB of its log were taken" 'ls -l "$logs"'
# A segment is full when it is over its size: by a record of 8 KiB at most.
[ "$segments" -le 3 ] && [ "$flooded" -le $((3 * (1024 + 9))) ]
ok "flood: $flooded KiB in $segments segments are kept of it, within 3 MiB and 3 records" 'ls -l "$logs"'

# ---- nobody else noticed
is "$(qemu_pid 1 "$(domain_of pod still)")" "$still" "the neighbour is the same process"
is "$(field pod still '.status.restarts // 0')" 0 "without a restart"
is "$(LIMIT=15 berth exec still echo inside 2>&1)" inside "and can be spoken to"
berth logs still 2>/dev/null >"$work/out"
awk '$1 != "n" || $2 != NR { exit 1 }' "$work/out"
ok "its log has every line once, in order, and nobody else's" 'tail -n 5 "$work/out"'
delete_all 90
ok "delete takes them all, the hostile ones too" 'berth get pods'
is "$(domains 1)" "" "no domain is left"
done_testing
