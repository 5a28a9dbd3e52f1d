#!/bin/bash
# The main job on one real host: run, streams, TTY, exec, logs, a VM beside it, and nothing left behind.
# BERTH_SLOW=1 sends 100 MB through the log instead of 10.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

start_daemon
up_hosts 1 8:16000
load_hello

# ---- streams and exit code
LIMIT=90 berth run --rm hello sh -c 'echo out; echo err >&2; exit 7' >"$work/out" 2>"$work/err"
is "$?" 7 "run exits with the container's code"
is "$(cat "$work/out")" out "its stdout comes out of stdout"
is "$(cat "$work/err")" err "its stderr comes out of stderr"
is "$(berth get pod -o name)" "" "and run --rm returns when its pod is gone"
text=$(LIMIT=90 berth run --rm --cpu-model Nehalem --cpu-feature aes hello \
    sh -c 'uname -r; grep -m1 "model name" /proc/cpuinfo; grep -m1 -ow aes /proc/cpuinfo' 2>&1)
guest=$(head -n 1 <<<"$text")
contains "$text" 'Nehalem' "the guest's CPU is of the model asked for"
contains "$text" '^aes$' "with a feature that the model has not"
[ -n "$guest" ] && [ "$guest" != "$(uname -r)" ]
ok "the container's kernel is not the host's" 'echo "guest: $guest"'
is "$(printf 'a line\nanother' | LIMIT=90 berth run --rm -i hello cat 2>&1)" "a line
another" "run -i passes stdin on, and its end"
LIMIT=90 berth run --rm hello /no/such/program >/dev/null 2>"$work/err"
is "$?" 127 "a program that is not there gives 127"

# ---- a terminal
cat >"$work/terminal.py" <<'PYTHON'
"""Runs a command in a terminal of 33 rows and 101 columns, types at it, prints all it says."""
import fcntl, os, pty, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
typed, seen, end = sys.argv[1].encode().decode("unicode_escape").encode(), b"", time.monotonic() + 80
while time.monotonic() < end:
    if select.select([fd], [], [], 0.2)[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    if typed and (b"# " in seen or b"$ " in seen):
        os.write(fd, typed)
        typed = b""
else:
    os.kill(pid, 9)
sys.stdout.buffer.write(seen.replace(b"\r", b""))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)
PYTHON
in_terminal() { timeout 100 python3 "$work/terminal.py" "$@" 2>&1; }
text=$(in_terminal 'tty; stty size; echo sum $((40+2)); exit 5\n' "$build/berth" run --rm -it hello sh)
is "$?" 5 "run -it exits with the shell's code" || :
contains "$text" '^/dev/(pts/[0-9]+|console)' "run -it gives a terminal"
contains "$text" '^33 101' "it has the size of ours"
contains "$text" '^sum 42' "and what is typed is run"

# ---- a pod that stays, a VM beside it
name=$(LIMIT=90 berth run -d --name web hello sh -c 'echo first; echo second >&2; i=0; while :; do i=$((i+1)); echo line $i; sleep 1; done')
is "$name" web "run -d prints the name"
wait_for 60 phase_is pod web Running
ok "and it runs" 'field pod web .status'
is "$(berth exec web sh -c 'echo inside; exit 3'; echo $?)" "inside
3" "exec prints and exits with the command's code"
is "$(printf 'over there' | berth exec -i web cat)" "over there" "exec -i passes stdin on"
berth exec web sh -c 'echo out; echo err >&2' >"$work/out" 2>"$work/err"
is "$(cat "$work/out" "$work/err")" "out
err" "exec keeps the streams apart"
text=$(in_terminal 'tty; stty size; exit 4\n' "$build/berth" exec -it web sh)
is "$?" 4 "exec -it exits with the shell's code"
contains "$text" '^33 101' "exec -it has our size"
logs_have_line() { berth logs web 2>/dev/null | grep -qx 'line 3'; }
wait_for 30 logs_have_line
ok "logs show what it wrote"
is "$(berth logs web 2>/dev/null | head -n 3)" "first
line 1
line 2" "logs begin with the first line"
is "$(berth logs web 2>&1 >/dev/null)" second "stderr's log goes to stderr"

if [ -e "$build/hello-vm/hello-vm.qcow2" ]; then
    berth image import "$build/hello-vm/hello-vm.qcow2" --name hello-vm >/dev/null &&
        LIMIT=90 berth vm create box --disk hello-vm --memory 192 --start >/dev/null
    ok "a VM is made from a disk image and started"
    wait_for 60 phase_is vm box Running
    ok "it runs" 'field vm box .status'
    text=$(berth list --all)
    contains "$text" 'web.*(running|Running)' "list --all shows the pod"
    contains "$text" 'box.*(running|Running)' "list --all shows the VM"
    contains "$(on 1 list --title)" "web" "virsh list --title shows the pod by its name"
    contains "$(on 1 list --title)" "box" "and the VM"
    console_greets() {
        timeout 5 "$build/berth" console box --history 4096 </dev/null | grep -q 'hello from'
    }
    wait_for 60 console_greets
    ok "the VM's console has its greeting"
    LIMIT=90 berth shutdown box --wait=60 >/dev/null
    phase_is vm box Stopped
    ok "shutdown powers the VM off" 'field vm box .status'
fi

# ---- many lines
# A block of 1 MB of numbered lines again and again, each time below its own number: the writer costs an
# emulated guest little, and every byte has its one right place.
blocks=10
[ -z "${BERTH_SLOW:-}" ] || blocks=100
writer="awk 'BEGIN { for (i = 1; i <= 10000; i++) printf \"%08d %090d\\n\", i, 0 }' >\$T/block
i=0; while [ \$i -lt $blocks ]; do echo \"block \$i\"; cat \$T/block; i=\$((i + 1)); done"
wanted=$(T=$work sh -c "$writer" | md5sum)
start=$(now_ms)
LIMIT=400 berth run --name many -e T=/tmp hello sh -c "$writer" 2>"$work/err" | md5sum >"$work/out"
is "${PIPESTATUS[0]}" 0 "$blocks MB of numbered lines come through run"
note "$blocks MB in $(($(now_ms) - start)) ms"
is "$(cat "$work/out")" "$wanted" "complete and in order"
cmp -s "$work/err" /dev/null
ok "nothing else is said" 'head -c 300 "$work/err"'
is "$(LIMIT=200 berth logs many | md5sum)" "$wanted" "logs has all of them afterwards"
LIMIT=90 berth run -d --name more -e T=/tmp hello sh -c "$writer; echo end; while :; do sleep 1; echo tick; done" >/dev/null
is "$(timeout 300 "$build/berth" logs -f more 2>/dev/null | sed -n '/^end$/q;p' | md5sum)" "$wanted" \
    "logs -f shows them while they come, none doubled"
peak=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$daemon_pid/status")
[ "$peak" -lt 64 ]
ok "and berthd never held more than 64 MiB" 'echo "$peak MiB"'

# ---- every command, as a user types them
"$here/cli-commands" "$build/berth" hello >"$work/commands"
while read -r line; do
    [[ $line == ok\ * ]]
    ok "${line#*ok * }" 'grep -A9 -F "$line" "$work/commands"'
done < <(grep -E '^(not )?ok ' "$work/commands")

LIMIT=20 berth rm -f more >/dev/null
ok "rm -f does not wait 30 s for a program that ignores its signal"

# ---- nothing left
delete_all 120
ok "delete takes them all"
is "$(domains 1)" "" "no domain is left"
# Those are named by their contents' digest, what belongs to a workload by its uid.
is "$(volumes 1 | grep -vE '^[0-9a-f]{64}-')" "" "no volume but images and guest OS is left"
is "$(berth get addresses -o name 2>/dev/null)" "" "no address is left"
is "$(find "$state" -path '*logs*' -type f | grep -c .)" 0 "no log is left"
done_testing
