#!/bin/bash
# berthd dies, is replaced, is restored: guests go on, nothing is lost, doubled or orphaned.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# The link to the guest is there a moment after the daemon.
exec_answers() { [ "$(berth exec writer echo inside 2>&1)" = inside ]; }

start_daemon
up_hosts 1 16:24000
load_hello

# ---- kill -9 while a pod writes
# Five lines at a time: an emulated guest pays more for a pause than for a line.
LIMIT=90 berth run -d --name writer hello sh -c \
    'i=0; while :; do for _ in 1 2 3 4 5; do i=$((i+1)); echo n $i; done; usleep 100000; done' >/dev/null
wait_for 60 phase_is pod writer Running || bail "no pod: $(field pod writer .status)"
pid=$(qemu_pid 1 "$(domain_of pod writer)")
[ -n "$pid" ]
ok "a pod writes lines, its QEMU is found"
highest() { berth logs --tail 1 writer 2>/dev/null | awk '{ last = $2 } END { print last + 0 }'; }
grows_beyond() { [ "$(highest)" -gt "$1" ]; }
for round in 1 2 3; do
    wait_for 30 grows_beyond "$(highest)"
    before=$(highest)
    kill_daemon
    start_daemon
    wait_for 30 phase_is pod writer Running
    ok "round $round: running again in the list after kill -9" 'field pod writer .status'
    wait_for 30 grows_beyond "$((before + 20))"
    ok "round $round: its log goes on" 'echo "before $before, now $(highest)"'
done
is "$(qemu_pid 1 "$(domain_of pod writer)")" "$pid" "the same QEMU all the time"
is "$(field pod writer '.status.restarts // 0')" 0 "no restart is counted"
berth logs writer 2>/dev/null >"$work/out"
awk '$1 != "n" || $2 != NR { print "line " NR ": " $0; exit 1 }' "$work/out" >"$work/err"
ok "the log has every line once, in order" 'cat "$work/err"; wc -l <"$work/out"'
wait_for 15 exec_answers
ok "exec works after it" 'berth exec writer echo inside'

# ---- replaced by a newer build
stop_daemon
start_daemon
wait_for 30 phase_is pod writer Running
is "$(qemu_pid 1 "$(domain_of pod writer)")" "$pid" "replaced in order: the same QEMU"
wait_for 15 exec_answers
ok "and exec works" 'berth exec writer echo inside'

# ---- twenty at once on one state folder: one runs, the others say why
crowd() {
    local i
    for i in $(seq 20); do
        timeout 60 "$build/berthd" --state "$1" --socket "$work/crowd.$i.sock" --guest-os "$build/guest-os" \
            >"$work/crowd.$i" 2>&1 9>&- &
    done
}
refused() { grep -l 'another berthd' "$work"/crowd.[0-9]* | grep -c .; }
ready() { grep -l ' ready ' "$work"/crowd.[0-9]* | grep -c .; }
all_are_refused() { [ "$(refused)" -eq 20 ]; }
all_but_one_are_refused() { [ "$(refused)" -eq 19 ] && [ "$(ready)" -eq 1 ]; }
crowd "$state"
wait_for 20 all_are_refused
ok "20 berthd beside one that runs: all refuse and say why" 'cat "$work"/crowd.*'
wait_for 15 exec_answers
ok "the first one goes on" 'berth exec writer echo inside'
rm -f "$work"/crowd.*
mkdir "$work/crowded"
crowd "$work/crowded"
wait_for 20 all_but_one_are_refused
ok "20 at once on a new folder: one runs, 19 say why (${waited_ms} ms)" 'cat "$work"/crowd.*'
for job in $(jobs -p); do
    [ "$job" = "$daemon_pid" ] || { kill "$job" && wait "$job"; } 2>/dev/null
done

# ---- a state folder of a newer berthd
cp -r "$work/crowded" "$work/newer"
python3 - "$work/newer/berth.db" <<'PYTHON'
import sqlite3, sys
store = sqlite3.connect(sys.argv[1])
format = store.execute("PRAGMA user_version").fetchone()[0]
assert format > 0
store.execute(f"PRAGMA user_version = {format + 1}")
PYTHON
timeout 20 "$build/berthd" --state "$work/newer" --socket "$work/newer.sock" --guest-os "$build/guest-os" >"$work/out" 2>&1
is $? 1 "the state folder of a newer berthd is refused"
contains "$(cat "$work/out")" 'knows up to' "in plain words: $(tail -n 1 "$work/out")"

# ---- a second socket: nobody takes a living daemon's socket away
timeout 20 "$build/berthd" --state "$work/other" --socket "$BERTH_SOCKET" --guest-os "$build/guest-os" >"$work/out" 2>&1
status=$?
[ "$status" -ne 0 ] && [ "$status" -ne 124 ]
ok "another berthd on the same socket refuses" 'tail -n 3 "$work/out"'
berth get pod writer >/dev/null
ok "the first one still answers there"

# ---- kill -9 in the middle of a create, and of a delete
cat >"$work/pod.json" <<'JSON'
{"kind": "Pod", "metadata": {"name": "NAME"},
 "spec": {"restart": "Always", "memory_mib": 128, "stop_timeout_s": 1,
          "containers": [{"name": "main", "image": "hello", "args": ["sh", "-c", "echo up; sleep 600"]}]}}
JSON
one_domain() { [ "$(domains 1 | grep -c "^default\.$1-")" = "$2" ]; }
i=0
for point in Pending Preparing Starting Running 5ms 60ms 200ms 500ms; do
    i=$((i + 1))
    sed "s/NAME/cut$i/" "$work/pod.json" | berth apply -f - >/dev/null 2>"$work/err" || { cat "$work/err"; }
    case $point in
    *ms) read -rt "0.$(printf %03d "${point%ms}")" -u 9 ;;
    *) wait_for 30 phase_is pod "cut$i" "$point|Running" ;;
    esac
    at=$(field pod "cut$i" .status.phase)
    kill_daemon
    start_daemon
    wait_for 60 phase_is pod "cut$i" Running
    ok "killed at $point ($at): it runs in the end" 'field pod "cut$i" .status'
    one_domain "cut$i" 1
    ok "killed at $point: exactly one domain" 'domains 1'
done
is "$(berth get pods -o name | grep -c cut)" "$i" "one record each"
is "$(berth exec cut1 echo inside 2>&1)" inside "one of them can be spoken to"
for n in $(seq "$i"); do
    LIMIT=20 berth delete pod "cut$n" --wait=0 >/dev/null 2>&1
    [ $((n % 3)) -ne 0 ] || { kill_daemon && start_daemon; }
done
none_left() { [ -z "$(berth get pods -o name | grep cut)" ] && ! domains 1 | grep -q cut; }
wait_for 60 none_left
ok "killed in deletes: no record and no domain is left" 'berth get pods; domains 1'

# ---- backup and restore
berth backup "$work/backup" >/dev/null
ok "a backup is made"
list=$(for kind in pods hosts images; do berth get $kind -o name; done)
# QEMU 7.2 may die of two emulated CPUs; it is started again then.
LIMIT=90 berth run -d --name later --cpus 2 --restart always hello sh -c 'while :; do sleep 60; done' >/dev/null
wait_for 60 phase_is pod later Running
ok "a pod is made after the backup" 'field pod later .status'
later=$(domain_of pod later) later_pid=$(qemu_pid 1 "$(domain_of pod later)")
stop_daemon
"$build/berthd" --state "$work/new" --restore "$work/backup" >"$work/out" 2>&1
ok "it is restored into an empty folder" 'cat "$work/out"'
start_daemon "$work/new"
is "$(for kind in pods hosts images; do berth get $kind -o name; done)" \
    "$list" "everything is there"
wait_for 30 phase_is pod writer Running
ok "the pod runs in its list" 'field pod writer .status'
is "$(qemu_pid 1 "$(domain_of pod writer)")" "$pid" "its guest was not touched"
wait_for 15 exec_answers
ok "and can be spoken to" 'berth exec writer echo inside'
is "$(field host h1 '.status.foreign[].name')" "$later" "what the backup did not know is shown as unmanaged"
is "$(field host h1 .status.used.vcpus)" 3 "it is charged"
is "$(qemu_pid 1 "$later")" "$later_pid" "it was not touched"
volumes 1 | grep -q 'ok$'
ok "the files that it may run from are still there" 'volumes 1'
LIMIT=60 berth delete pod writer --wait=50 >/dev/null
ok "delete works"
is "$(domains 1)" "$later" "no domain is left but the unmanaged one"
on 1 destroy "$later" >/dev/null && on 1 undefine "$later" >/dev/null
nothing_foreign() { [ "$(field host h1 '.status.foreign | length')" = 0 ]; }
wait_for 30 nothing_foreign
ok "taken away by hand, it is no longer shown"
done_testing
