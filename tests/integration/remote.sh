#!/bin/bash
# A host over SSH: Berth's key, pinned host keys, a real sshd. And hosts that are not who they seem: one machine
# twice, two machines with one UUID, another machine at the address, a new name.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
command -v dropbear >/dev/null || PATH=$PATH:/usr/sbin
command -v dropbear >/dev/null || skip_all "dropbear is not installed"

# berthd runs in the network of h1, from where h2 is a machine on the wire.
timeout 120 "$fleet" up 2 >/dev/null || bail "no test hosts"
BERTH_UNDER="nsenter -n -t $("$fleet" pid 1 libvirtd)"
address=$(cat "$BERTH_FLEET_DIR/h2/address")
ssh_uri="qemu+ssh://root@$address:2222/system"

# ---- an SSH server in h2, with keys and a root's home of its own
# Dropbear, because its Debian package dropbear-bin has the program alone: installing it starts no server.
sshd=$work/sshd
mkdir -p "$sshd/root/.ssh"
: >"$sshd/root/.ssh/authorized_keys"
chmod -R go= "$sshd/root"
new_host_key() {
    # A newer one writes the public half itself.
    rm -f "$sshd/host_key" "$sshd/host_key.pub"
    dropbearkey -t ed25519 -f "$sshd/host_key" >/dev/null 2>&1
    dropbearkey -y -f "$sshd/host_key" | grep ^ssh- >"$sshd/host_key.pub" &&
        fingerprint=$(ssh-keygen -lf "$sshd/host_key.pub" | cut -d' ' -f2)
}
start_sshd() { "$fleet" exec 2 dropbear -s -p 2222 -r "$sshd/host_key" -P "$sshd/pid" 2>>"$sshd/log"; }
stop_sshd() { # the server and every session of it
    local pids
    pids=$("$fleet" exec 2 pgrep -x dropbear)
    # A session may end by itself meanwhile.
    # shellcheck disable=SC2086
    "$fleet" exec 2 kill -9 $pids 2>/dev/null || :
}
"$fleet" exec 2 mount --bind "$sshd/root" /root || bail "no home of root in h2"
new_host_key && start_sshd
ok "an SSH server runs in h2"

# ---- without --test-hosts only real addresses are taken
test_hosts='' start_daemon
refuse() { # URI EXPRESSION NAME
    berth host add --name x "$1" --wait=0 >"$work/out" 2>&1
    is $? 2 "$3: refused"
    contains "$(cat "$work/out")" "$2" "$3: it is said why"
}
refuse "$("$fleet" uri 1)" 'test-hosts' "a private socket"
refuse "sim:///run/x#h1" 'test-hosts' "a simulated host"
refuse "qemu+tcp://$address/system" 'test-hosts' "a connection in the clear"
refuse "$ssh_uri?command=/bin/true" 'programs to run' "a URI that names a program"
refuse "$ssh_uri?known_hosts=/dev/null&no_verify=1" 'programs to run' "a URI that turns checks off"
refuse "qemu+ssh://-oProxyCommand=true/system" 'no address' "a host name that is an option"
is "$(berth get hosts -o json | jq length)" 0 "no host came of it"

# ---- the key
key=$(berth host key)
contains "$key" '^ssh-ed25519 AAAA' "berth host key shows a key"
is "$(stat -c %a "$state/ssh/id_ed25519")" 600 "its private half is for root alone"
is "$(ssh-keygen -y -f "$state/ssh/id_ed25519")" "$key" "and belongs to it"

# ---- first contact: nobody's key is taken silently
berth host add --name h2 "$ssh_uri" >"$work/out" 2>&1 </dev/null
is $? 4 "a host whose key nobody confirmed is refused"
contains "$(cat "$work/out")" "${fingerprint//+/.}" "its fingerprint is shown"
is "$(field host h2 '.status.phase + " " + .status.reason.code')" "Refused host-key-unknown" "its state says so"
berth host trust h2 --host-key "SHA256:$(head -c 32 /dev/zero | base64 | tr -d =)" >"$work/out" 2>&1
is $? 4 "with another fingerprint it is refused, too"
unauthorized() { [[ $(field host h2 .status.reason.message) == *'Permission denied'* ]]; }
berth host trust h2 --host-key "$fingerprint" --wait=0 >/dev/null
wait_for 30 unauthorized
ok "its key is right, but Berth's is not let in there" 'field host h2 .status'
contains "$(field host h2 .status.reason.hint)" 'berth host key' "the hint names the key"
berth host remove h2 >/dev/null
is "$(wc -c <"$state/ssh/known_hosts")" 0 "a removed host is trusted no more"
echo "$key" >"$sshd/root/.ssh/authorized_keys"
since=$(berth raw GET /v1/hosts | jq .revision)
# As a person would: the terminal asks, and only yes is a yes.
script -qec "$build/berth host add --name h2 $ssh_uri" /dev/null <<<no >"$work/out"
contains "$(tr -d '\r' <"$work/out")" "not confirmed" "asked at the terminal, no is a no"
script -qec "$build/berth host trust h2" /dev/null <<<yes >"$work/out"
contains "$(tr -d '\r' <"$work/out")" "${fingerprint//+/.}" "the terminal shows the fingerprint"
is "$(field host h2 .status.phase)" Unprepared "and yes is a yes"
is "$(field host h2 .status.inventory.hostname)" "$(cat "$BERTH_FLEET_DIR/h2/name")" "the inventory is the other machine's"
is "$(field host h2 '.status.conditions[] | select(.type == "Trusted") | .value')" true "it is trusted"

# ---- all of Berth works over SSH
berth raw PATCH /v1/hosts/h2 --data '{"spec": {"acceleration": "tcg"}}' >/dev/null
LIMIT=120 berth host prepare h2 --wait=110 >/dev/null
ok "it is prepared over SSH" 'field host h2 .status'
# What a script reads when these commands end: no record is half of what it says.
curl -s --max-time 1 --unix-socket "$BERTH_SOCKET" "http://localhost/v1/watch?kinds=hosts&since=$since" >"$work/records"
count_records() { # FILTER: of all that h2's record was since it was made
    jq -s "[.[].object | select(.metadata.name? == \"h2\") | .status | select($1)] | length" "$work/records"
}
[ "$(count_records '.phase == "Unprepared"')" -gt 0 ]
ok "it was unprepared" 'count_records true'
is "$(count_records '.phase == "Unprepared" and .free == null')" 0 "and then what is free there was known"
is "$(count_records '.prepared and any(.conditions[]; .reason == "not-ready")')" 0 "prepared, it is schedulable"
load_hello
LIMIT=90 berth run -d --name far --restart always hello sh -c 'echo up; sleep 900' >/dev/null && wait_for 60 phase_is pod far Running
ok "a pod runs there" 'field pod far .status'
is "$(berth exec far echo inside 2>&1)" inside "it can be spoken to"
pid=$(qemu_pid 2 "$(domain_of pod far)")

# ---- the key changes: somebody in between, or a new installation
old=$fingerprint
stop_sshd
new_host_key && start_sshd
changed() { [ "$(field host h2 .status.reason.code)" = host-key-changed ]; }
wait_for 60 changed
ok "a changed host key is refused (${waited_ms} ms)" 'field host h2 .status'
text=$(field host h2 '.status.conditions[] | select(.type == "Trusted" and .value == false) | .message')
contains "$text" "${fingerprint//+/.}.*${old//+/.}" "the condition names both keys: $text"
contains "$(field host h2 .status.reason.hint)" 'berth host trust h2' "and the hint the remedy"
is "$(grep -c . "$state/ssh/known_hosts")" 1 "no key was added"
berth host trust h2 --host-key "$fingerprint" >"$work/out" 2>&1
ok "confirmed by a person it is used again" 'cat "$work/out"'
wait_for 30 phase_is pod far Running
is "$(qemu_pid 2 "$(domain_of pod far)")" "$pid" "its pod was not restarted"
can_speak() { [ "$(LIMIT=10 berth exec far echo inside 2>&1)" = inside ]; }
wait_for 30 can_speak
ok "and can be spoken to"
stop_daemon
start_daemon
is "$(berth host key)" "$key" "a restarted berthd has the same key"
wait_for 30 phase_is host h2 Ready
ok "and reaches the host again" 'field host h2 .status'

# ---- a new machine takes over: with the backup, and the key, which is not in it
berth backup "$work/backup" >/dev/null
is "$(stat -c %a "$work/backup")" 600 "a backup is for its owner alone"
stop_daemon
moved=$work/moved
mkdir -m 700 "$moved" && tar -C "$state" -c ssh | tar -C "$moved" -x &&
    "$build/berthd" --state "$moved" --restore "$work/backup" >>"$log" 2>&1
ok "it is restored beside the key" 'tail -n 3 "$log"'
state=$moved
start_daemon
wait_for 30 phase_is host h2 Ready
ok "and the host is reached: key and trust are there (${waited_ms} ms)" 'field host h2 .status'
wait_for 30 can_speak
is "$(qemu_pid 2 "$(domain_of pod far)")" "$pid" "its pod was not touched"

# ---- one machine under two names
reason_is() { [ "$(field host "$1" .status.reason.code)" = "$2" ]; }
berth host add --name twin "$("$fleet" uri 2)" >"$work/out" 2>&1
is $? 4 "the same machine by another way is refused"
contains "$(cat "$work/out")" "'h2' and 'twin' are one machine" "both names are said"
contains "$(cat "$work/out")" "berth host remove twin" "and the remedy"
# After a restart it is reached anew first, and its record may be older than that.
wait_for 30 phase_is host h2 Ready
ok "the first one is used as before (${waited_ms} ms)" 'field host h2 .status'
is "$(field host twin '.status.foreign // [] | length')" 0 "nothing of the second is counted"
berth host remove twin >/dev/null

# ---- two machines with one UUID
set_uuid() { # NUMBER UUID
    sed -i "s/^host_uuid.*/host_uuid = \"$2\"/" "$BERTH_FLEET_DIR/h$1/etc/libvirtd.conf"
    kill -9 "$("$fleet" pid "$1" libvirtd)" && "$fleet" daemon "$1" libvirtd
}
set_uuid 1 "$(cat "$BERTH_FLEET_DIR/h2/uuid")"
berth host add --name h1 "$("$fleet" uri 1)" >"$work/out" 2>&1
is $? 4 "a machine with the UUID of another is refused"
contains "$(cat "$work/out")" "'h2' .*and 'h1' .*have one UUID" "both names are said"
contains "$(cat "$work/out")" "host_uuid" "and the remedy"
set_uuid 1 "$(cat "$BERTH_FLEET_DIR/h1/uuid")"
wait_for 30 phase_is host h1 Unprepared
ok "with a UUID of its own it is used by itself (${waited_ms} ms)" 'field host h1 .status'

# ---- another machine at the address, a new name
set_uuid 1 "$(tr -d - </proc/sys/kernel/random/uuid)"
wait_for 30 reason_is h1 other-machine
ok "another UUID at the address: refused (${waited_ms} ms)" 'field host h1 .status'
contains "$(field host h1 .status.reason.hint)" 'berth host trust h1' "with the remedy"
berth host trust h1 --yes >"$work/out" 2>&1
ok "confirmed it is used" 'cat "$work/out"; field host h1 .status'
"$fleet" exec 1 hostname elsewhere
kill -9 "$("$fleet" pid 1 libvirtd)" && "$fleet" daemon 1 libvirtd
renamed() { [ "$(field host h1 '.status.conditions[] | select(.type == "Renamed") | .value')" = true ]; }
wait_for 30 renamed
ok "renamed: a condition says so (${waited_ms} ms)" 'field host h1 .status.conditions'
note "$(field host h1 '.status.conditions[] | select(.type == "Renamed") | .message')"
wait_for 10 phase_is host h1 Unprepared
ok "and it is used as before"
berth host trust h1 --yes >/dev/null
not_renamed() { ! renamed; }
wait_for 10 not_renamed
ok "confirmed the condition goes" 'field host h1 .status.conditions'
delete_all 60
ok "delete takes all"
stop_sshd
done_testing
