#!/bin/bash
# A real Sendmail with sekisho: nothing gets out but what was permitted, nobody's mail is lost.
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh BUILD      (as root; BUILD holds milter/sekisho-milter and ctl/sekisho)
# SENDMAIL_ROOT is where Sendmail has been unpacked, BUILD/sendmail by default (fetched if it is not there).
# SHARED is the directory of the shared cases, ../shared/cases beside the repository by default.
# exit 0: all passed; 1: something failed; 2: usage; 77: this machine cannot run it.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../../contrib/sendmail/lab.sh
. "$top/contrib/sendmail/lab.sh"

[ $# -eq 1 ] || { echo "usage: run.sh BUILD" >&2; exit 2; }
build=$(cd "$1" 2>/dev/null && pwd) || { echo "run.sh: no directory $1" >&2; exit 2; }
forms=${SHARED:-$top/../shared/cases}/relay-forms.tsv
hostile=${SHARED:-$top/../shared/cases}/hostile-strings.json

if [ "$(id -u)" -ne 0 ]; then
    echo "skipped: needs root, it makes a network of its own"
    exit 77
fi
for tool in $lab_tools; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done

export SENDMAIL_ROOT=${SENDMAIL_ROOT:-$build/sendmail}
lab_enter "$here/run.sh" "$build"
lab_start "$build"

# shellcheck source-path=SCRIPTDIR source=../postfix/asking.sh
. "$here/../postfix/asking.sh"

# Which mailboxes have got how much since the last call
declare -A had=([taro]=0 [hanako]=0 [postmaster]=0)
arrived()       # NAME USER COUNT
{
    lab_settle || bad "$1: the queue did not become empty"
    local now
    now=$(lab_mailbox_count "$2")
    that "$1: mail for $2" equal $((now - had[$2])) "$3"
    had[$2]=$now
}
count_anew() { lab_settle; for user in taro hanako postmaster; do had[$user]=$(lab_mailbox_count $user); done; }

# ---------------------------------------------------------------- what is tested is what is shipped

that "the shipped lines are in force" grep -q '^Ksekisho socket -f -d5s -T<TMPF> unix:/run/sekisho/permit.sock$' "$lab_conf/sendmail.cf"
that "the filter has F=T" grep -qE '^Xsekisho, S=unix:/run/sekisho/milter.sock, F=T, ' "$lab_conf/sendmail.cf"

# ---------------------------------------------------------------- one of each

stranger_out "plain" 550 relay-denied
ask "587 without a login" 530 - --source 203.0.113.66 --port 587 "EHLO x" STARTTLS "EHLO x" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT
stranger_in "plain" 250 -
arrived "plain" taro 1
office_out "plain" 250 -
office_got_out
login_out "plain" 250 - taro taro@example.jp
taro_got_out
ask "capital letters in the sender" 250 - --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
    "AUTH taro taro-secret" "MAIL FROM:<Taro@Example.JP>" "RCPT TO:<friend@far.example>" DATA QUIT
permitted+=("<Taro@Example.JP> -> <friend@far.example>")
login_out "not own sender" 550 sender-not-yours taro hanako@example.jp
login_out "receive-only" 550 identity-receive-only postmaster postmaster@example.jp
login_out "receive-only" 550 identity-receive-only abuse abuse@example.jp
login_out "receive-only, foreign sender" 550 identity-receive-only abuse x@third.example
if [ "$lab_ipv6" = yes ]; then
    ask "login from port 465 over IPv6" 250 - --source 2001:db8::9 --port 465 --tls "EHLO home" \
        "AUTH hanako hanako-secret" "MAIL FROM:<hanako@example.jp> | RCPT TO:<friend@far.example> | DATA" QUIT
    office_got_out
fi
ask "wrong password" 535 - --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
    "AUTH taro wrong" QUIT
# A login with a tag is xtext in Sendmail (taro+2Btag): door and filter know it as it is.
ask "login with a tag" 550 sender-not-yours --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
    "AUTH taro+tag taro+tag-secret" "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" DATA QUIT
that "a login with a tag, in the filter" grep -q 'at=milter .*login="taro+tag" ' "$lab_log"
lab_sql "INSERT INTO identity(name, may_send, senders) VALUES ('taro+tag', 0, 'own')" || bad "insert"
sleep 2.2
login_out "a login with a tag that may not send" 550 identity-may-not-send taro+tag taro@example.jp
that "a login with a tag, at the door" grep -q 'at=door .*login="taro+tag" ' "$lab_log"
login_out "taro himself" 250 - taro taro@example.jp
taro_got_out
ask "login to a colleague" 250 - --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
    "AUTH taro taro-secret" "MAIL FROM:<taro@example.jp>" "RCPT TO:<hanako@example.jp>" DATA QUIT
arrived "login to a colleague" hanako 1
ask "forged colleague" 550 sender-spoofed --source 203.0.113.66 "HELO x" \
    "MAIL FROM:<taro@example.jp>" "RCPT TO:<hanako@example.jp>" DATA QUIT
ask "forwarder with an exemption" 250 - --source 203.0.113.40 "HELO lists.third.example" \
    "MAIL FROM:<taro@example.jp>" "RCPT TO:<hanako@example.jp>" DATA QUIT
arrived "forwarder, and not the forged one" hanako 1
ask "the exemption does not relay" 550 relay-denied --source 203.0.113.40 "HELO lists.third.example" \
    "MAIL FROM:<taro@example.jp>" "RCPT TO:<victim@far.example>" DATA QUIT
ask "our name in HELO" 550 helo-our-name --source 203.0.113.66 "HELO mail.example.jp" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT
ask "our address in HELO" 550 helo-our-name --source 203.0.113.66 "EHLO [$lab_server4]" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT
arrived "refused in HELO" taro 0
for recipient in taro@example.jp taro@mail.example.jp info@alias.example; do
    ask "bounce for $recipient" 250 - --source 203.0.113.67 "HELO mx.third.example" "MAIL FROM:<>" \
        "RCPT TO:<$recipient>" DATA QUIT
    arrived "bounce for $recipient" taro 1
done
ask "bare postmaster" 250 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<postmaster>" DATA QUIT
arrived "bare postmaster" postmaster 1
ask "backup MX" 250 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<somebody@backup.example>" DATA QUIT
permitted+=("<x@third.example> -> <somebody@backup.example>")
ask "an alias that leads outside" 250 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<forwarded@example.jp>" DATA QUIT
permitted+=("<x@third.example> -> <someone@far.example>")
ask "unknown mailbox of ours" 550 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<nobody-here@example.jp>" DATA QUIT
that "the log says that Sendmail refused it" grep -q 'to="<nobody-here@example.jp>" .*mta=refused' "$lab_log"
ask "what Sendmail's own access map refuses" 550 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@banned.example>" "RCPT TO:<taro@example.jp>" DATA QUIT
arrived "banned" taro 0
if [ "$lab_ipv6" = yes ]; then
    ask "mail for taro over IPv6" 250 - --source 2001:db8::77 "EHLO mx.third.example" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT
    arrived "IPv6" taro 1
    ask "stranger out over IPv6" 550 relay-denied --source 2001:db8::77 "EHLO mx.third.example" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<victim@far.example>" DATA QUIT
    lab_sql "INSERT INTO client_host(range, note) VALUES ('2001:db8:5::/48', 'office 6')" || bad "insert"
    sleep 2.2
    ask "a client host over IPv6" 250 - --source 2001:db8:5::1 "EHLO pc" \
        "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" DATA QUIT
    office_got_out
fi
# A second message in a session is judged anew, also the login's, and what a client says in AUTH= proves nothing.
ask "second message, other sender" 550 sender-not-yours --source 203.0.113.9 --port 587 "EHLO home" \
    STARTTLS "EHLO home" "AUTH taro taro-secret" "MAIL FROM:<taro@example.jp>" \
    "RCPT TO:<friend@far.example>" DATA "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" DATA QUIT
taro_got_out
ask "AUTH= in MAIL FROM" '5[0-9][0-9]' '.*' --source 203.0.113.71 "EHLO x" \
    "MAIL FROM:<taro@example.jp> AUTH=taro@example.jp" "RCPT TO:<victim@far.example>" DATA QUIT
ask "local, then remote" 550 relay-denied --source 203.0.113.72 "HELO x" \
    "MAIL FROM:<spammer@far.example>" "RCPT TO:<taro@example.jp>" "RCPT TO:<victim@far.example>" DATA QUIT
arrived "local, then remote" taro 1
for key in 'a|b@far.example' '192.0.2.5||hanako@example.jp|x@far.example' '|@far.example' '"a|b"@far.example'; do
    ask "the door's own separator in a recipient: $key" '5[0-9][0-9]' '.*' --source 203.0.113.66 "HELO x" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<$key>" DATA QUIT
    ask "the door's own separator in a sender: $key" '5[0-9][0-9]' '.*' --source 203.0.113.66 "HELO x" \
        "MAIL FROM:<$key>" "RCPT TO:<victim@far.example>" DATA QUIT
done
# A reply of the door is in our words, blanks and all.
lab_session --source 203.0.113.66 "HELO x" "MAIL FROM:<x@third.example>" "RCPT TO:<victim@far.example>" QUIT >"$lab/words"
that "the door's words" grep -qF 'Relaying denied: not a client host and not logged in [sekisho relay-denied #' "$lab/words"
# ... and knows the recipient as it was typed (-f).
ask "capital letters in a recipient" 550 relay-denied --source 203.0.113.66 "HELO x" "MAIL FROM:<x@third.example>" \
    "RCPT TO:<Victim@Far.Example>" DATA QUIT
that "capital letters reach the door" grep -q 'at=door .*to="<Victim@Far.Example>"' "$lab_log"
sink_as_permitted "one of each"

# ---------------------------------------------------------------- the attack of 2004

lab_session --brief --record "$record" --times 100 --parallel 25 --source 220.86.126.33 \
    "HELO mail.example.jp" "MAIL FROM:<taro@example.jp>" "RCPT TO:<victim{n}@far.example>" DATA QUIT \
    >"$lab/attack"
that "2004: 100 sessions at once, all refused" \
    equal "$(grep -cE $'^550\trelay-denied\t[0-9]+\t' "$lab/attack")" 100
# Sendmail's children must not share a connection to the door: each login has its own answer.
for i in 1 2 3 4 5 6 7 8; do
    lab_session --brief --times 8 --parallel 4 --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
        "AUTH taro taro-secret" "MAIL FROM:<taro@example.jp>" "RCPT TO:<friend{n}@far.example>" RSET QUIT >"$lab/good.$i" &
    good[i]=$!
    lab_session --brief --times 8 --parallel 4 --source 203.0.113.66 "HELO x" "MAIL FROM:<x@third.example>" \
        "RCPT TO:<victim{n}@far.example>" QUIT >"$lab/evil.$i" &
    evil[i]=$!
done
wait "${good[@]}" "${evil[@]}"
that "side by side: every login has its yes" equal "$(cat "$lab"/good.* | grep -c '^250')" 64
cat "$lab"/good.* | grep -v '^250'
cat "$lab"/evil.* | grep -v $'^550\trelay-denied'
that "side by side: every stranger has its no" equal "$(cat "$lab"/evil.* | grep -c $'^550\trelay-denied')" 64
sink_as_permitted "2004"

# ---------------------------------------------------------------- the relay forms of all the testers

form_number=0
if [ -r "$forms" ]; then
    "$lab_python" - "$forms" "$lab_server4" >"$lab/forms" <<-'END'
	import re, sys
	words = {"EXT": "far.example", "EXT2": "further.example", "HOST": "mail.example.jp",
	         "DOM": "example.jp", "dOm": "eXample.JP", "RELAYDOM": "backup.example",
	         "CLI": "tester.example", "RND": "q7x", "IP": sys.argv[2], "U": "victim", "X": "spammer",
	         "L": "taro", "L2": "hanako"}
	token = re.compile(r"(?<![A-Za-z])(EXT2|EXT|HOST|DOM|dOm|RELAYDOM|CLI|RND|IP|L2|L|U|X)(?![A-Za-z0-9])")
	for line in open(sys.argv[1], encoding="utf-8"):
	    if line.startswith("#") or not line.strip():
	        continue
	    name, _, _, sender, recipient = token.sub(lambda m: words[m.group(1)], line.rstrip("\n")).split("\t")
	    if not re.fullmatch("W03|C08|C1[012]|T04|T05|I0[1-5]", name):
	        path = lambda text: re.match(r"<.*>|", text).group() or "-"
	        print(name, path(sender), path(recipient), sep="\t")
	END
    while IFS=$'\t' read -r id sender recipient; do
        form_number=$((form_number + 1))
        ask "form $id $sender $recipient" '5[0-9][0-9]' '.*' --source "203.0.114.$form_number" \
            "HELO tester.example" "MAIL FROM:$sender" "RCPT TO:$recipient" DATA QUIT
    done <"$lab/forms"
    that "relay forms: there are some" [ "$form_number" -gt 40 ]
    sink_as_permitted "relay forms"
else
    echo "relay forms: no $forms, left out"
    left_out=$((left_out + 1))
fi

# ---------------------------------------------------------------- hostile strings in every field

if [ -r "$hostile" ]; then
    "$lab_python" - "$hostile" >"$lab/hostile" <<-'END'
	import json, sys
	for case in json.load(open(sys.argv[1], encoding="utf-8"))["cases"]:
	    text = bytes.fromhex(case["hex"])
	    if "repeat_to" in case:
	        head = bytes.fromhex(case.get("prefix_hex", ""))
	        text = (head + text * case["repeat_to"])[:case["repeat_to"]]
	    text = text[:900].translate(None, b"\r\n\0")
	    if text and b" | " not in text:
	        sys.stdout.buffer.write(text + b"\n")
	END
    hostile_count=0
    while IFS= read -r text; do
        hostile_count=$((hostile_count + 1))
        lab_session --brief --record "$record" --source 203.0.113.80 "EHLO $text" \
            "MAIL FROM:<$text@third.example>" "RCPT TO:<$text@far.example>" "RCPT TO:<$text@example.jp>" \
            "RCPT TO:<$text>" RSET "MAIL FROM:<$text>" "RCPT TO:<victim@far.example>" QUIT >/dev/null
    done <"$lab/hostile"
    that "hostile strings: there are some" [ "$hostile_count" -gt 10 ]
    sink_as_permitted "hostile strings"
    stranger_in "after hostile strings" 250 -
fi
that "no control byte in sekisho's log" equal "$(LC_ALL=C tr -d '\n' <"$lab_log" | LC_ALL=C grep -c '[[:cntrl:]]')" 0
count_anew

# ---------------------------------------------------------------- equal mailboxes in one message

# Sendmail makes one of equal mailboxes: if the second were refused, the first would get nothing either,
# although it was told 250. So a verdict must stay for as long as the message lasts.
in_force() { sleep 2.2; }
# pause FILE: until the session has come to its @FILE; then the policy is edited, and go FILE
pause() { lab_until 20 test -e "$1.here" || bad "no session came to $1"; }
go() { : >"$1"; }

ask "one mailbox three times" 250 - --source 198.51.100.77 "HELO mx.third.example" "MAIL FROM:<x@third.example>" \
    "RCPT TO:<taro@example.jp>" "RCPT TO:<TARO@Example.JP>" "RCPT TO:<taro@example.jp>" DATA QUIT
arrived "one mailbox three times" taro 1

lab_session --source 203.0.113.90 "HELO mx.third.example" "MAIL FROM:<x@third.example>" \
    "RCPT TO:<taro@example.jp>" "@$lab/equal" "RCPT TO:<TARO@Example.JP>" "RCPT TO:<hanako@example.jp>" \
    "RCPT TO:<taro@example.jp>" DATA QUIT >"$lab/equal.out" &
session=$!
pause "$lab/equal"
lab_sql "INSERT INTO ip_range(range, verdict, note) VALUES ('203.0.113.90', 'reject', 'now')" || bad "insert"
in_force
go "$lab/equal"
wait $session
that "listed while it speaks: the mailbox that had its yes keeps it" equal \
    "$(sed -nE 's/.*"code": ([0-9]+),.*/\1/p' "$lab/equal.out" | xargs)" "220 250 250 250 250 550 250 354 250 221"
arrived "listed while it speaks" taro 1
arrived "listed while it speaks" hanako 0

# Also where virtusertable makes one mailbox of two addresses, of which one would be refused: from a listed client
# postmaster is accepted, and pm@alias.example, which leads there, by itself is not.
lab_sql "INSERT INTO ip_range(range, verdict, note) VALUES ('203.0.113.92', 'reject', 'listed')" || bad "insert"
in_force
merged() # NAME CODES HOW-MUCH-ARRIVES RECIPIENT...: one message, the codes of its recipients
{
    local name=$1 codes=$2 much=$3 to=()
    shift 3
    for recipient in "$@"; do to+=("RCPT TO:<$recipient>"); done
    lab_session --source 203.0.113.92 "HELO mx.third.example" "MAIL FROM:<x@third.example>" "${to[@]}" DATA QUIT >"$lab/merged"
    that "$name" equal "$(sed -nE 's/.*"sent": "RCPT.*"code": ([0-9]+),.*/\1/p' "$lab/merged" | xargs)" "$codes"
    arrived "$name" postmaster "$much"
}
pm=postmaster@example.jp
merged "listed, one that leads to postmaster" "550" 0 pm@alias.example
merged "listed, postmaster and one that leads there" "250 250" 1 $pm pm@alias.example
that "the other is on record too" grep -q 'action=accept .*to="<pm@alias.example>"' "$lab_log"
merged "listed, one that leads to postmaster, and postmaster" "550 250" 1 pm@alias.example $pm
merged "listed, the other before and after postmaster" "550 250 250 250" 1 pm@alias.example $pm pm@alias.example $pm
merged "listed, postmaster and somebody else" "250 550 550" 1 $pm info@alias.example taro@example.jp
merged "listed, postmaster and an alias" "250 550" 1 $pm chief@example.jp
merged "listed, an alias and postmaster" "550 250" 1 chief@example.jp $pm
merged "listed, postmaster and what is not ours" "250 550" 1 $pm postmaster@far.example
arrived "listed" taro 0
sink_as_permitted "listed"

# The door has no memory of the message, and needs none: what check_rcpt refuses is not merged.
lab_sql "INSERT INTO client_host(range, note) VALUES ('203.0.113.91', 'guest')" || bad "insert"
in_force
lab_session --source 203.0.113.91 "HELO pc" "MAIL FROM:<hanako@example.jp>" \
    "RCPT TO:<friend@far.example>" "@$lab/door" "RCPT TO:<FRIEND@Far.Example>" "RCPT TO:<friend@far.example>" \
    DATA QUIT >"$lab/door.out" &
session=$!
pause "$lab/door"
lab_sql "DELETE FROM client_host WHERE note = 'guest'" || bad "delete"
in_force
go "$lab/door"
wait $session
that "no longer a client host while it speaks" equal \
    "$(sed -nE 's/.*"code": ([0-9]+),.*/\1/p' "$lab/door.out" | xargs)" "220 250 250 250 550 550 354 250 221"
office_got_out
sink_as_permitted "equal mailboxes"

# ---------------------------------------------------------------- mail that does not come from the network

# bs CONFIGURATION LINE...: sendmail -bs as a mail program runs it, one line after the reply to the one before
bs()
{
    local cf=$1 line reply to from
    shift
    coproc BS { timeout 60 "$lab_root/usr/libexec/sendmail/sendmail" -C "$lab_conf/$cf" -bs 2>&1; }
    local pid=$BS_PID
    exec {from}<&"${BS[0]}" {to}>&"${BS[1]}"
    eval "exec ${BS[0]}<&- ${BS[1]}>&-"
    for line in "" "$@"; do
        [ -z "$line" ] || printf '%b\r\n' "$line" >&"$to"
        while IFS= read -r -t 30 -u "$from" reply && [[ $reply == ???-* ]]; do :; done
        printf '%s ' "${reply:0:3}"
    done
    exec {to}>&- {from}<&-
    wait "$pid"
}
submission=("HELO localhost" "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" "RCPT TO:<taro@example.jp>"
    DATA "Subject: from here\r\n\r\nA letter.\r\n." QUIT)
for cf in sendmail.cf submit.cf; do
    that "-bs with $cf" equal "$(bs $cf "${submission[@]}")" "220 250 250 250 250 354 250 221 "
    office_got_out
    arrived "-bs with $cf" taro 1
done
that "-bs is on record as a submission" grep -q 'action=accept reason=pass-submission .*to="<friend@far.example>"' "$lab_log"
# What would be refused over the network, too: a login's sender, our own name, a receive-only sender.
that "-bs as postmaster" equal "$(bs sendmail.cf "HELO mail.example.jp" "MAIL FROM:<postmaster@example.jp>" \
    "RCPT TO:<friend@far.example>" DATA "Subject: x\r\n\r\nx\r\n." QUIT)" "220 250 250 250 354 250 221 "
permitted+=("<postmaster@example.jp> -> <friend@far.example>")
for cf in sendmail.cf submit.cf; do
    printf 'To: friend@far.example, taro@example.jp\nSubject: x\n\nA letter.\n' |
        timeout 60 "$lab_root/usr/libexec/sendmail/sendmail" -C "$lab_conf/$cf" -t -f hanako@example.jp
    that "-t with $cf" equal $? 0
    office_got_out
    arrived "-t with $cf" taro 1
done
sink_as_permitted "not from the network"

# ---------------------------------------------------------------- the filter stopped, killed, frozen

lab_stop_sekisho
# shellcheck disable=SC2154  # lab_stop_sekisho sets it
that "sekisho-milter ends with status 0 on TERM" equal "$lab_sekisho_status" 0
all_deferred "stopped"
arrived "stopped" taro 0
# with neither filter nor door, mail of this machine waits (F=T) or goes, but is never lost or refused for good
that "-bs while stopped" grep -qE '^220 (4[0-9][0-9] |250 )' <<<"$(bs sendmail.cf "HELO localhost" QUIT)"
printf 'To: friend@far.example\nSubject: x\n\nA letter.\n' |
    timeout 60 "$lab_root/usr/libexec/sendmail/sendmail" -C "$lab_conf/submit.cf" -t -f hanako@example.jp
that "-t while stopped is queued" equal $? 0
that "it waits in the queue" [ -n "$(find "$lab/clientqueue" -name 'qf*')" ]
lab_start_sekisho
timeout 60 "$lab_root/usr/libexec/sendmail/sendmail" -C "$lab_conf/submit.cf" -Ac -q
office_got_out
sink_as_permitted "-t while stopped arrives later"
all_work "started again"
kill -KILL "$lab_sekisho_pid"
wait "$lab_sekisho_pid" 2>/dev/null
all_deferred "killed"
lab_start_sekisho
all_work "started over its own remains"

kill -STOP "$lab_sekisho_pid"
all_deferred "frozen"
kill -CONT "$lab_sekisho_pid"
sleep 1
sink_as_permitted "frozen"
all_work "thawed"
count_anew

# One that ends in the middle of a session: the rest of it is deferred, nothing is let through.
lab_session --source 203.0.113.66 "HELO x" "MAIL FROM:<x@third.example>" "@$lab/middle" \
    "RCPT TO:<victim@far.example>" "RCPT TO:<taro@example.jp>" DATA QUIT >"$lab/middle.out" &
session=$!
pause "$lab/middle"
lab_stop_sekisho
go "$lab/middle"
wait $session
that "stopped in the middle: nothing is let through" equal \
    "$(sed -nE 's/.*"sent": "RCPT.*"code": ([0-9]).*/\1/p' "$lab/middle.out" | xargs)" "4 4"
lab_start_sekisho
sink_as_permitted "stopped in the middle"
arrived "stopped in the middle" taro 0

# ---------------------------------------------------------------- the door away, hanging, talking nonsense

mv /run/sekisho/permit.sock /run/sekisho/permit.away
door_useless()  # NAME
{
    stranger_in "$1" 250 -
    stranger_out "$1" '[45][0-9][0-9]' -
    office_out "$1" 451 -
    login_out "$1" 451 - taro taro@example.jp
    login_out "$1" 451 - postmaster postmaster@example.jp
    sink_as_permitted "$1"
    arrived "$1" taro 1
}
door_useless "no door"
# fake_door ANSWER: a door that says this to everything, or nothing at all
fake_door()
{
    "$lab_python" - "$1" <<-'END' &
	import os, socket, sys, threading
	path, answer = "/run/sekisho/permit.sock", sys.argv[1].encode()
	door = socket.socket(socket.AF_UNIX)
	door.bind(path)
	door.listen(50)
	def serve(client):
	    while client.recv(4096):
	        if answer:
	            client.sendall(b"%d:%s," % (len(answer), answer))
	while True:
	    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
	END
    fake=$!
    lab_until 10 lab_listens /run/sekisho/permit.sock || bad "no fake door"
}
for answer in "" "OK " "OK maybe" "OK yes yes" "NOTFOUND " "TEMP not now" "TIMEOUT " "PERM never" "yes" "OK 550"; do
    fake_door "$answer"
    begin=$SECONDS
    door_useless "door says '$answer'"
    that "door says '$answer': nobody waits long" [ $((SECONDS - begin)) -lt 60 ]
    kill $fake
    wait $fake 2>/dev/null
    rm -f /run/sekisho/permit.sock
done
mv /run/sekisho/permit.away /run/sekisho/permit.sock
all_work "door again"
count_anew

# ---------------------------------------------------------------- other .mc files

# with_mc NAME SEKISHO.M4 LINE...: Sendmail with these in its sendmail.mc
with_mc()
{
    lab_site_mc "${@:2}" >"$lab_conf/other.mc"
    cp "$lab_conf/sendmail.cf" "$lab/sendmail.cf.shipped"
    lab_make_cf "$lab_conf/other.mc" "$lab_conf/sendmail.cf"
    lab_restart_sendmail
    other=$1
}
mc_as_shipped()
{
    sink_as_permitted "$other"
    cp "$lab/sendmail.cf.shipped" "$lab_conf/sendmail.cf"
    lab_restart_sendmail
    count_anew
}

# The filter taken out: the relay stays shut, and all that the door judges still holds.
filter_out()
{
    stranger_out "$1" 550 relay-denied
    office_out "$1" 250 -
    office_got_out
    login_out "$1" 250 - taro taro@example.jp
    taro_got_out
    login_out "$1" 550 identity-receive-only postmaster postmaster@example.jp
    ask "$1: 2004" 550 relay-denied --source 220.86.127.1 "HELO mail.example.jp" \
        "MAIL FROM:<taro@example.jp>" "RCPT TO:<victim@far.example>" DATA QUIT
    ask "$1: percent hack" 550 address-routed --source 203.0.113.66 "HELO x" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<victim%far.example@example.jp>" DATA QUIT
    stranger_in "$1" 250 -
    arrived "$1" taro 1
}
grep -v '^INPUT_MAIL_FILTER' "$sendmail_here/sekisho.m4" >"$lab/no-filter.m4"
with_mc "no filter" "$lab/no-filter.m4"
that "the filter is out" equal "$(grep -c '^Xsekisho' "$lab_conf/sendmail.cf")" 0
filter_out "no filter"
mc_as_shipped
# ... also where what the file says to take out has stayed in.
with_mc "no filter, and trusted mechanisms" "$lab/no-filter.m4" \
    "TRUST_AUTH_MECH(\`PLAIN LOGIN')dnl" "define(\`confAUTH_MECHANISMS', \`PLAIN LOGIN')dnl"
filter_out "no filter, and trusted mechanisms"
mc_as_shipped
printf 'From:banned.example\tREJECT\nConnect:203.0.113\tRELAY\nConnect:220.86\tRELAY\n' >"$lab_conf/access"
lab_makemap access || bad "no access map"
with_mc "no filter, and RELAY in access" "$lab/no-filter.m4" "FEATURE(\`relay_local_from')dnl"
filter_out "no filter, and RELAY in access"
mc_as_shipped

# A domain that the tables call ours and Sendmail does not is a mistake in one of them, and no open relay.
lab_sql "INSERT INTO local_domain(domain, mail_from, note) VALUES ('far.example', 'anyone', 'mistake')" || bad "insert"
in_force
stranger_out "a local_domain row too much" 550 relay-denied
lab_sql "DELETE FROM local_domain WHERE note = 'mistake'" || bad "delete"
in_force
sink_as_permitted "a local_domain row too much"
all_work "as shipped again"

# ---------------------------------------------------------------- the record

"$lab_python" - "$record" "$lab_log" <<'END' >"$lab/numbers" || bad "the record could not be read"
import collections, json, re, sys
numbers = [reply["number"] for reply in map(json.loads, open(sys.argv[1])) if reply["number"]]
log = open(sys.argv[2], encoding="utf-8", errors="backslashreplace").read().splitlines()
lines = collections.Counter(int(m.group(1)) for line in log for m in [re.search(r" decision=(\d+) action=", line)] if m)
print(len(numbers), len(numbers) - len(set(numbers)), sum(1 for n in set(numbers) if lines[n] != 1))
END
read -r numbers twice unlogged <"$lab/numbers"
that "replies carry numbers" [ "${numbers:-0}" -ge 100 ]
that "no number was told twice" equal "${twice:-?}" 0
that "each number told stands in exactly one line of the log" equal "${unlogged:-?}" 0
that "only printable ASCII in what the door says" equal "$("$lab_python" - "$record" <<'END'
import json, sys
print(sum(1 for line in open(sys.argv[1]) for reply in [json.loads(line)] for text in [reply["text"].rpartition(">... ")[2]]
          if reply["reason"] and not (text.isascii() and text.isprintable())))
END
)" 0
that "sekisho-milter is still the process that was started last" [ -d "/proc/$lab_sekisho_pid" ]
lab_stop_sekisho
that "sekisho-milter ends with status 0 at the end" equal "$lab_sekisho_status" 0
that "no sanitizer has spoken" equal "$(grep -cE 'ERROR: (Address|Leak)Sanitizer|runtime error:|ThreadSanitizer' "$lab_log")" 0

# ---------------------------------------------------------------- the README's own command

if [ -x "$top/contrib/sendmail/try" ] &&
    timeout 300 "$top/contrib/sendmail/try" --build-dir "$build" >"$lab/try" 2>&1; then
    ok
else
    bad "contrib/sendmail/try --build-dir $build"
    cat "$lab/try"
fi

finished=yes
