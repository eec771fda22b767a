#!/bin/bash
# A real Dovecot opens login windows: POP3 login, then SMTP within the window and after it.
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh BUILD      (as root; BUILD holds milter/sekisho-milter and ctl/sekisho)
# exit 0: all passed; 1: something failed; 2: usage; 77: this machine cannot run it.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../../contrib/postfix/lab.sh
. "$top/contrib/postfix/lab.sh"
# shellcheck source-path=SCRIPTDIR source=../postfix/able.sh
. "$top/tests/postfix/able.sh"
[ -x /usr/lib/dovecot/pop3 ] || { echo "skipped: dovecot-pop3d is not installed"; exit 77; }

[ $# -eq 1 ] || { echo "usage: run.sh BUILD" >&2; exit 2; }
build=$(cd "$1" 2>/dev/null && pwd) || { echo "run.sh: no directory $1" >&2; exit 2; }

lab_enter "$here/run.sh" "$build"

# The files that are shipped, with the lab's paths and user in them. Sanitizers want address space.
mkdir -p "$lab/dovecot" "$lab/bin"
sed -e "s,/usr/bin/sekisho,$build/ctl/sekisho," -e "s,/var/lib/sekisho/state.db,$lab_state," \
    -e "s,logger -t sekisho-window .*-- ,echo >>$lab/state/refused ," \
    "$top/contrib/dovecot/post-login" >"$lab/bin/post-login"
chmod 755 "$lab/bin" "$lab/bin/post-login"
lab_dovecot="protocols = pop3
listen = $lab_server4
mail_location = maildir:$lab_mail/%u
default_vsz_limit = 0
service pop3-login {
  inet_listener pop3s {
    port = 0
  }
}
$(sed -e "s,/usr/share/sekisho/dovecot/post-login,$lab/bin/post-login," -e 's/user = sekisho/user = postfix/' \
    "$top/contrib/dovecot/10-sekisho.conf" | sed '/^service imap/,$ d')"
seconds=20
lab_rows="UPDATE setting SET value = '$seconds' WHERE name = 'login_window_seconds';
    UPDATE setting SET value = 'example.jp' WHERE name = 'login_domain';
    INSERT INTO identity(name, may_send) VALUES ('hanako', 0);
    DELETE FROM rate_limit WHERE subject <> 'login-window';
    UPDATE rate_limit SET allowed = 3 WHERE subject = 'login-window'"
lab_start "$build"
lab_wait_port $lab_server4 110 || { tail -n 5 "$lab/dovecot.log" >&2; lab_fail "no POP3 server"; }

passed=0 failed=0
expect() # WHAT WANTED GOT
{
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $1: expected $2, got $3"
    fi
}

# pop CLIENT USER [PASSWORD]: reads mail; what the server said to the password
pop()
{
    timeout 20 "$lab_python" - "$1" "$2" "${3:-$2-secret}" $lab_server4 <<'END'
import poplib, socket, sys
client, user, password, server = sys.argv[1:]
real = socket.create_connection
socket.create_connection = lambda address, *rest: real(address, 10, (client, 0))
pop = poplib.POP3(server, 110, timeout=10)
try:
    pop.user(user)
    pop.pass_(password)
    pop.stat()
    print("in")
    pop.quit()
except poplib.error_proto:
    print("out")
END
}

# smtp CLIENT SENDER RECIPIENT [STEP...]: code and reason
smtp()
{
    local before code reason client=$1 sender=$2 recipient=$3
    shift 3
    before=$(wc -c <"$lab_log")
    IFS=$'\t' read -r code reason _ < <(lab_session --brief --source "$client" "EHLO pc" "$@" \
        "MAIL FROM:<$sender>" "RCPT TO:<$recipient>" DATA QUIT)
    if [ "$reason" = - ]; then
        read -r reason _ < <(lab_decision_since "$before")
    fi
    echo "$code $reason"
}
window() { timeout 20 "$build/ctl/sekisho" --policy "$lab_policy" --state "$lab_state" window "$@" 2>&1; }

home=203.0.113.9
out="taro@example.jp friend@far.example"
# shellcheck disable=SC2086  # two words
{
expect "before" "550 relay-denied" "$(smtp $home $out)"
expect "a wrong password" out "$(pop $home taro wrong)"
expect "opens nothing" "550 relay-denied" "$(smtp $home $out)"

expect "POP3 login" in "$(pop $home taro)"
opened=$SECONDS
expect "within the window" "250 pass-login-window" "$(smtp $home $out)"
expect "as somebody else" "550 sender-not-yours" "$(smtp $home hanako@example.jp friend@far.example)"
expect "from somewhere else" "550 relay-denied" "$(smtp 203.0.113.10 $out)"
expect "the daemon's log says whose window" 1 \
    "$(grep -c 'reason=pass-login-window .* kind=login-window .* login="taro" ' "$lab_log")"
expect "all that took less than the window" yes "$([ $((SECONDS - opened)) -lt $seconds ] && echo yes)"
sleep $((seconds + 1))
expect "after the window" "550 relay-denied" "$(smtp $home $out)"

# its own limit: three in an hour, one is used up
expect "a second login" in "$(pop $home taro)"
expect "again" "250 pass-login-window" "$(smtp $home $out)"
expect "and again" "250 pass-login-window" "$(smtp $home $out)"
expect "one too many" "450 rate-login-window" "$(smtp $home $out)"

expect "who may not send may read" in "$(pop 203.0.113.11 hanako)"
expect "but gets no window" "550 relay-denied" "$(smtp 203.0.113.11 hanako@example.jp friend@far.example)"
expect "and the script was told why" 1 "$(grep -c identity-may-not-send "$lab/state/refused")"

# the daemon gone: mail can still be read
lab_stop_sekisho
expect "without the daemon" in "$(pop 203.0.113.12 taro)"
lab_start_sekisho
expect "nothing was opened meanwhile" 0 "$(window list | grep -c 203.0.113.12)"

# the manual says whose right it is to ask
expect "another user" "4" "$(chmod 755 "$lab/state"; chmod o+r "$lab_state"
    setpriv --reuid="$(id -u nobody)" --regid="$(id -g nobody)" --clear-groups -- \
        timeout 20 "$build/ctl/sekisho" --state "$lab_state" window open $home --login taro >"$lab/said" 2>&1
    echo $?)"
expect "is told" 1 "$(grep -c "only the daemon's own user and root" "$lab/said")"
}
lab_settle
expect "what got out" "3 <taro@example.jp> -> <friend@far.example>" "$(lab_sink_list | uniq -c | xargs)"
lab_stop_sekisho
echo "$passed passed, $failed failed"
if [ "$failed" -gt 0 ]; then
    tail -n 5 "$lab/dovecot.log" "$lab/state/refused" 2>/dev/null
    exit 1
fi
[ "$passed" -gt 0 ]
