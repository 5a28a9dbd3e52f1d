# Shared by the integration tests: a berthd of their own, real libvirt hosts, waiting, TAP, the end.
#
# Everything is below one temporary folder. Invariant: a test leaves no process, domain, network or file
# behind, however it ends: guests die with their host's pid namespace (tests/hosts/fleet).
# Needs root, a built tree (BERTH_BUILD, without it build/), guest OS and images of that build.
# shellcheck shell=bash

set -u
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(readlink -f "$here/../..")
build=${BERTH_BUILD:-$root/build}
fleet=$root/tests/hosts/fleet
test_number=0 test_failed=0 daemon_pid=''
unset BERTH_CONTEXT BERTH_PROJECT BERTH_CONNECT BERTH_TOKEN

skip_all() {
    echo "1..0 # SKIP $1"
    exit 77
}

[ "$(id -u)" -eq 0 ] || skip_all "needs root for network namespaces and libvirtd"
command -v libvirtd >/dev/null || skip_all "libvirtd is not installed"
command -v jq >/dev/null || skip_all "jq is not installed"
for needed in berthd berth guest-os/initramfs hello-image/hello-image.tar; do
    [ -e "$build/$needed" ] || skip_all "$build/$needed is missing: make guest-os hello-image"
done

# A short path: the sockets below it must fit into 108 bytes.
work=$(mktemp -d "${TMPDIR:-/var/tmp}/berth-it.XXXXXX") || exit 2
chmod 711 "$work"
state=$work/state
log=$work/berthd.log
export BERTH_SOCKET=$work/berthd.sock BERTH_FLEET_DIR=$work/fleet HOME=$work
# What cannot be closed blocks a read for as long as we like: a pause without a process.
mkfifo "$work/never" && exec 9<>"$work/never"

# ---- the end -------------------------------------------------------------------------------------

finish() {
    local status=$?
    trap - EXIT
    trap : INT TERM
    local pid
    for pid in $(jobs -p); do
        [ "$pid" = "$daemon_pid" ] || kill "$pid" 2>/dev/null
    done
    kill_daemon
    if [ -e "$BERTH_FLEET_DIR/count" ]; then
        "$fleet" down || test_failed=1
    fi
    if [ "$test_failed" -ne 0 ] && [ -s "$log" ]; then
        echo "# the last lines of berthd:"
        tail -n "${BERTH_LOG_LINES:-25}" "$log" | sed 's/^/#   /'
    fi
    if [ -n "${BERTH_KEEP:-}" ]; then
        echo "# kept: $work"
    else
        rm -rf "$work"
    fi
    [ "$status" -ne 0 ] || status=$test_failed
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

done_testing() {
    echo "1..$test_number"
    exit "$test_failed"
}

bail() {
    test_failed=1
    echo "Bail out! $*"
    exit 1
}

# ---- TAP -----------------------------------------------------------------------------------------

now_ms() { echo "$((${EPOCHREALTIME/./} / 1000))"; }

report() { # STATUS NAME TEXT
    test_number=$((test_number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $test_number - $2"
        return
    fi
    echo "not ok $test_number - $2"
    test_failed=1
    printf '%s\n' "$3" | head -n 30 | sed 's/^/# /'
}

# Reports the status of the command before it: `command; ok NAME 'COMMAND THAT SHOWS WHY NOT'`. No $(…)
# may stand in its arguments: it would change that status.
ok() {
    local status=$? text=''
    [ "$status" -eq 0 ] || [ $# -lt 2 ] || text=$(eval "$2" 2>&1)
    report "$status" "$1" "$text"
}

is() { # GOT WANTED NAME
    [ "$1" = "$2" ]
    report $? "$3" "got:    $1
wanted: $2"
}

contains() { # TEXT EXPRESSION NAME
    grep -qE -- "$2" <<<"$1"
    report $? "$3" "no '$2' in: $1"
}

note() { printf '# %s\n' "$*"; }

# ---- waiting -------------------------------------------------------------------------------------

# Polls a condition: `wait_for SECONDS COMMAND…`; the time that it took is in $waited_ms.
wait_for() {
    local start limit
    start=$(now_ms)
    limit=$((start + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        waited_ms=$(($(now_ms) - start))
        [ "$(now_ms)" -lt "$limit" ] || return 1
        read -rt 0.1 -u 9
    done
    waited_ms=$(($(now_ms) - start))
}

# ---- how long the API takes to answer --------------------------------------------------------------

# By one client that asks 18 times a second. It goes before what else the machine does, and so should the daemon
# (BERTH_UNDER): it is Berth that is measured here, not a crowd of emulated guests.
on_and_off() { cut -d' ' -f1,2 "/proc/$daemon_pid/schedstat"; }
probe() { # SECONDS FILE
    local before
    before=$(on_and_off)
    nice -n -10 curl -s -o /dev/null --unix-socket "$BERTH_SOCKET" --max-time 10 --rate 18/s -w '%{time_total} %{http_code}\n' \
        "http://berth/v1/hosts?limit=[1-$(($1 * 18))]" >"$2"
    echo "$before $(on_and_off)" >"$2.cpu"
}
p99_ms() { awk '{ print int($1 * 1000 + 0.999) }' "$1" | sort -n | awk '{ ms[NR] = $1 } END { print ms[int(NR * 0.99 + 0.999)] }'; }
answers_quickly() { # FILE NAME COUNT: none failed, and 99 of 100 took less than 100 ms
    local p99 count limit
    p99=$(p99_ms "$1")
    count=$(grep -c ' 200$' "$1")
    # Longer by how much the daemon waited for a CPU; on a machine of our own hardly.
    limit=$(awk '{ on = $3 - $1; print int(100 * (on + $4 - $2) / (on > 0 ? on : 1)) }' "$1.cpu")
    [ "$count" -eq "$3" ] && [ "$p99" -lt "$limit" ]
    ok "$2: p99 $p99 ms of $count requests, below $limit" "sort -n $1 | tail -n 5"
}

# ---- the daemon and the command --------------------------------------------------------------------

berth() { timeout -k 5 "${LIMIT:-60}" "$build/berth" "$@"; }

answers() { berth raw GET /readyz; }

start_daemon() { # [STATE-FOLDER]
    # BERTH_UNDER="gdb -batch -ex run -ex bt -args", for example
    # shellcheck disable=SC2086
    ${BERTH_UNDER:-} "$build/berthd" --state "${1:-$state}" --socket "$BERTH_SOCKET" --guest-os "${guest_os:-$build/guest-os}" \
        ${test_hosts---test-hosts} --log-level "${BERTH_LOG:-info}" >>"$log" 2>&1 </dev/null 9>&- &
    daemon_pid=$!
    wait_for 30 answers || bail "berthd does not answer: $(tail -n 3 "$log")"
}

stop_daemon() { # as a service manager would
    kill -TERM "$daemon_pid" 2>/dev/null
    timeout 20 tail --pid="$daemon_pid" -f /dev/null || bail "berthd does not end on SIGTERM"
    wait "$daemon_pid" 2>/dev/null
    daemon_pid=
}

kill_daemon() { # as nobody should
    [ -n "$daemon_pid" ] || return 0
    kill -9 "$daemon_pid" 2>/dev/null
    wait "$daemon_pid" 2>/dev/null
    daemon_pid=
}

# A member of an object: `field pod web .status.phase`.
field() { berth get "$1" "$2" -o json 2>/dev/null | jq -r "$3"; }

phase_is() { # KIND NAME EXPRESSION
    [[ $(field "$1" "$2" .status.phase) =~ ^($3)$ ]]
}

is_gone() { # KIND NAME
    ! berth get "$1" "$2"
}

# ---- hosts -----------------------------------------------------------------------------------------

# `up_hosts 3 2:1000 4:2000 …`: real hosts h1, h2, … of at most VCPUS:MIB, known to Berth and prepared.
# CPUs are over-committed so that two real ones don't decide what fits. A function before_add runs when
# the hosts are up and Berth does not know of them yet.
up_hosts() {
    local count=$1 i size
    shift
    timeout 120 "$fleet" up "$count" >"$work/uris" || bail "no test hosts"
    ! declare -F before_add >/dev/null || before_add || bail "before_add failed"
    for i in $(seq "$count"); do
        size=${1:-0:0}
        [ $# -eq 0 ] || shift
        berth apply -f - >/dev/null <<YAML || bail "host h$i can't be added"
kind: Host
metadata: {name: h$i}
spec:
  uri: $("$fleet" uri "$i")
  acceleration: tcg
  overcommit_cpu_percent: 1000
  limit: {vcpus: ${size%%:*}, memory_mib: ${size##*:}}
YAML
    done
    for i in $(seq "$count"); do
        wait_for 60 phase_is host "h$i" 'Unprepared|Ready' || bail "host h$i does not connect: $(field host "h$i" .status)"
        LIMIT=120 berth host prepare "h$i" --wait=110 >/dev/null || bail "host h$i can't be prepared"
    done
}

load_hello() {
    berth image load "$build/hello-image/hello-image.tar" --name hello >/dev/null || bail "the image can't be loaded"
}

on() { # NUMBER VIRSH-ARGUMENTS: virsh, as an admin would use it beside Berth
    timeout 30 virsh -q -c "$("$fleet" uri "$1")" "${@:2}"
}

domains() { on "$1" list --all --name | grep . | sort; }

# The QEMU process of a workload's domain on host NUMBER, as seen from the machine.
qemu_pid() { # NUMBER DOMAIN-NAME
    pgrep -f -- "-name guest=$2," | while read -r pid; do
        grep -qs "$BERTH_FLEET_DIR/h$1/" "/proc/$pid/mountinfo" && echo "$pid"
    done
}

domain_of() { field "$1" "$2" .status.domain.name; }

count_of() { berth get "$1" -o json | jq "[.[] | select($2)] | length"; }

count_is() { [ "$(count_of "$1" "$2")" -eq "$3" ]; }

delete_all() { # SECONDS: every pod and VM
    local kind names
    for kind in pod vm; do
        names=$(berth get $kind -o json | jq -r '.[].metadata.name')
        # shellcheck disable=SC2086
        [ -z "$names" ] || berth delete $kind $names --wait=0 >/dev/null || return 1
    done
    wait_for "$1" count_is pods true 0 && wait_for "$1" count_is vms true 0
}

volumes() { # NUMBER: those in Berth's pool that are neither guest OS nor images
    local pool
    pool=$(on "$1" pool-list --name | awk '/^ *berth/ { print $1; exit }')
    on "$1" vol-list "$pool" | awk '{print $1}' | grep . | sort
}
