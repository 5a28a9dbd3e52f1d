#!/bin/bash
# A state file that does not answer: berthd says so while it waits, ends when its time is over, and starts again later.
# What says why is quoted once more: it runs only on failure.
# shellcheck disable=SC2016
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
command -v "${CC:-cc}" >/dev/null || skip_all "there is no C compiler"

mkdir -p "$state"
printf '[state]\nstart_limit_s=2\n' >"$work/berthd.conf"
start() { timeout -k 5 30 "$@" "$build/berthd" --config "$work/berthd.conf" --state "$state" --socket "$BERTH_SOCKET" \
    --guest-os "$build/guest-os" 2>"$log"; }

# What systemd would show: one datagram each.
python3 - "$work/notify" >"$work/told" <<'PYTHON' &
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
    told.bind(sys.argv[1])
    while True:
        print(told.recv(4096).decode(), flush=True)
PYTHON
wait_for 10 test -S "$work/notify"
export NOTIFY_SOCKET=$work/notify

# A disk that hangs, as the process sees it: calls of these names do not return, or only in other threads than the first.
hang() { # WHERE CALLS
    printf '#include <poll.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n' >"$work/hang.c"
    local call
    for call in $2; do
        printf 'int %s(int fd) { while (%s) poll(0, 0, -1); return syscall(SYS_%s, fd); }\n' "$call" "$1" "$call"
    done >>"$work/hang.c"
    "${CC:-cc}" -shared -fPIC -fno-builtin -o "$work/hang.so" "$work/hang.c" || bail "no shared object"
}
gives_up() {
    local began status
    hang "$2" "$4"
    began=$(now_ms)
    start env LD_PRELOAD="$work/hang.so"
    status=$?
    is "$status" 1 "$1: berthd ends with exit code 1"
    [ "$(($(now_ms) - began))" -lt 30000 ]
    ok "$1: when its time is over" 'echo "after $(($(now_ms) - began)) ms"'
    grep -q "still starting.*$3.*$state/berth.db" "$log"
    ok "$1: the log says what it waits for, and where" 'cat "$log"'
    grep "can't start" "$log" | grep "'$state/berth.db' does not answer: $3" | grep -q "start_limit_s"
    ok "$1: the error names the file and the remedy" 'cat "$log"'
    grep -q "STATUS=Waiting for 1 s: $3 in $state/berth.db" "$work/told"
    ok "$1: systemd is told" 'cat "$work/told"'
}
anywhere=1 elsewhere='syscall(SYS_gettid) != getpid()'
opening="the state file is opened and checked"
gives_up "nothing can be written" "$anywhere" "$opening" "fdatasync fsync"
start_daemon
ok "it starts when the disk answers"
printf '{"kind": "Host", "metadata": {"name": "h1"}, "spec": {"uri": "qemu+ssh://root@127.0.0.1:9/system"}}' |
    berth raw PUT /v1/hosts/h1 --data - >"$work/out" 2>&1
was_tried() { field host h1 '.status.reason.code // empty' | grep -q .; }
wait_for 30 was_tried
ok "there is a host, of which a new life has to record something else" 'cat "$work/out"; berth get host h1 -o json'
kill_daemon
gives_up "nothing can be stored" "$elsewhere" "the store takes the first records" "fdatasync fsync"
gives_up "nothing can be read" "$anywhere" "$opening" pread64
: >"$log"
start_daemon
ok "it starts again when the disk answers"
grep -q "still starting" "$log" && not_quiet=1
is "${not_quiet:-0}" 0 "a start that is not held up says nothing"
done_testing
