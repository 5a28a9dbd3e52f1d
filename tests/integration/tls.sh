#!/bin/bash
# A host over TLS: a CA of our own, a libvirtd that listens with a certificate of it, and Berth's. And certificates
# that won't do, on either side: of another CA, past their time, for another name, not there.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
command -v openssl >/dev/null || skip_all "openssl is not installed"

# berthd runs in the network of h1, from where h2 is a machine on the wire.
timeout 120 "$fleet" up 2 >/dev/null || bail "no test hosts"
BERTH_UNDER="nsenter -n -t $("$fleet" pid 1 libvirtd)"
address=$(cat "$BERTH_FLEET_DIR/h2/address")
uri=qemu+tls://$address/system
pki=$work/pki tls=$work/tls
mkdir "$pki" "$tls"

# ---- certificates
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$pki/$1.key"; }
new_ca() { new_key "$1" && openssl req -x509 -key "$pki/$1.key" -days 2 -subj "/CN=$1" -out "$pki/$1.pem"; }
issue() { # NAME CA DAYS EXTENSION…: valid from now for so many days, 0: it was
    new_key "$1" && openssl req -new -key "$pki/$1.key" -subj "/CN=$1" -out "$pki/$1.csr" &&
        openssl x509 -req -in "$pki/$1.csr" -CA "$pki/$2.pem" -CAkey "$pki/$2.key" -CAcreateserial -days "$3" \
            -extfile <(printf '%s\n' "${@:4}") -out "$pki/$1.pem"
}
server() { issue "$1" "$2" "$3" "subjectAltName=$4" extendedKeyUsage=serverAuth; }
client() { issue "$1" "$2" "$3" extendedKeyUsage=clientAuth; }
{
    new_ca ca && new_ca other-ca && server right ca 2 "IP:$address" && server foreign other-ca 2 "IP:$address" &&
        server expired ca 0 "IP:$address" && server misnamed ca 2 "DNS:elsewhere.example,IP:192.0.2.7" &&
        client berth ca 2 && client berth-foreign other-ca 2 && client berth-expired ca 0
} >"$pki/log" 2>&1 || bail "no certificates: $(tail -n 5 "$pki/log")"
# What is valid until now is past its time only with the next second.
last_of() { date -d "$(openssl x509 -noout -enddate -in "$pki/$1.pem" | cut -d= -f2)" +%s; }
has_passed() { [ "$(date +%s)" -gt "$(last_of "$1")" ]; }
wait_for 5 has_passed berth-expired && wait_for 5 has_passed expired || bail "certificates do not run out"

serve() { # CERTIFICATE: the libvirtd of h2 begins anew with it, whatever it is worth
    cat "$work/libvirtd.conf" - >"$BERTH_FLEET_DIR/h2/etc/libvirtd.conf" <<CONF
listen_tls = 1
ca_file = "$pki/ca.pem"
cert_file = "$pki/$1.pem"
key_file = "$pki/$1.key"
tls_no_sanity_certificate = 1
CONF
    kill -9 "$("$fleet" pid 2 libvirtd)" && "$fleet" daemon 2 libvirtd --listen || bail "no libvirtd with TLS"
}
show() { # CERTIFICATE CA: what Berth has
    install -m 644 "$pki/$2.pem" "$tls/cacert.pem"
    install -m 644 "$pki/$1.pem" "$tls/clientcert.pem"
    install -m 600 "$pki/$1.key" "$tls/clientkey.pem"
}
has_reason() { [ "$(field host x .status.reason.message)" != null ]; }
refused() { # NAME EXPRESSION HINT: a host is added, not reached, and its condition says why
    berth host add --name x "$uri" --wait=0 >"$work/out" 2>&1
    wait_for 30 has_reason
    contains "$(field host x '.status.conditions[] | select(.type == "Answers" and .value == false) | .message')" "$2" "$1: its condition says so"
    contains "$(field host x .status.reason.hint)" "$3" "and the hint the remedy"
    berth host remove x >/dev/null
}

# ---- what Berth shows
cp "$BERTH_FLEET_DIR/h2/etc/libvirtd.conf" "$work/libvirtd.conf"
printf '[hosts]\ntls_folder=%s\n' "$tls" >"$work/berthd.conf"
test_hosts="--config $work/berthd.conf" start_daemon
serve right
refused "no certificates" 'cacert.pem.*No such file' 'clientcert.pem.*tls_folder'
show berth-foreign ca
refused "Berth's is of another CA" "clientcert.pem failed validation against .*cacert.pem" 'not from the CA in cacert.pem'
show berth-expired ca
refused "Berth's is past its time" 'clientcert.pem has expired' 'renew clientcert.pem'
show berth-foreign other-ca
refused "Berth's CA is another one" "its certificate is from another CA, 'CN=ca', not from that in '$tls/cacert.pem'" 'cert_file in its libvirtd.conf'
cat "$pki/ca.pem" >>"$tls/cacert.pem"
refused "the host refuses Berth's" 'TLS confirmation' 'refuses Berth.s certificate'
show berth ca
rm "$tls/clientkey.pem"
refused "Berth has no key" 'TLS confirmation' 'clientkey.pem'
show berth ca

# ---- what the host shows
serve foreign
refused "the host's is of another CA" "its certificate is from another CA, 'CN=other-ca', not from that in '$tls/cacert.pem'" 'cert_file in its libvirtd.conf'
serve expired
refused "the host's is past its time" "its certificate has expired at $(date -u +%Y)" 'a new one .cert_file'
serve misnamed
refused "the host's is for another name" "its certificate is for 'elsewhere.example', '192.0.2.7', not for '$address'" 'subjectAltName'

# ---- all is right
serve right
berth host add --name h2 "$uri" >"$work/out" 2>&1
ok "with certificates of one CA it is added" 'cat "$work/out"; field host h2 .status'
is "$(field host h2 .status.inventory.hostname)" "$(cat "$BERTH_FLEET_DIR/h2/name")" "the inventory is the other machine's"
berth raw PATCH /v1/hosts/h2 --data '{"spec": {"acceleration": "tcg"}}' >/dev/null
LIMIT=120 berth host prepare h2 --wait=110 >/dev/null
ok "it is prepared over TLS" 'field host h2 .status'
load_hello
LIMIT=90 berth run --rm hello sh -c 'echo out; echo err >&2; exit 7' >"$work/out" 2>"$work/err"
is "$? $(cat "$work/out" "$work/err" | tr '\n' ' ')" "7 out err " "a pod runs there, and is spoken to"

# ---- a certificate runs out while the host is in use, and is renewed
serve expired
expired() { [[ $(field host h2 .status.reason.message) == *'its certificate has expired'* ]]; }
wait_for 60 expired
ok "a certificate that ran out is told of a host in use, too (${waited_ms} ms)" 'field host h2 .status'
is "$(field host h2 .status.phase)" Unreachable "it is unreachable"
serve right
wait_for 60 phase_is host h2 Ready
ok "renewed it is used again (${waited_ms} ms)" 'field host h2 .status'
delete_all 60
ok "delete takes all"
done_testing
