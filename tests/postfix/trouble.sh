#!/bin/bash
# A real Postfix with sekisho in trouble: whatever breaks in mid-session, no stranger's mail gets out.
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: trouble.sh BUILD [PART...]      (as root; BUILD holds milter/sekisho-milter and ctl/sekisho)
# PART: one of the functions part_... below; without it all but locked, which takes a minute and is a
# test of its own.
# exit 0: all passed; 1: something failed; 2: usage; 77: this machine cannot run it.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../../contrib/postfix/lab.sh
. "$top/contrib/postfix/lab.sh"
# shellcheck source-path=SCRIPTDIR source=able.sh
. "$here/able.sh"

[ $# -ge 1 ] || { echo "usage: trouble.sh BUILD [PART...]" >&2; exit 2; }
build=$(cd "$1" 2>/dev/null && pwd) || { echo "trouble.sh: no directory $1" >&2; exit 2; }

shift
parts=("$@")
[ $# -gt 0 ] || parts=(forms recipients unfiltered killed accept_for_all door_hangs open_sessions replaced no_rows
    editor wal unreadable bad_rows restart)

lab_enter "$here/trouble.sh" "$build" "${parts[@]}"
# Few clients ask very much here: limits and blocks have tests of their own.
lab_rows="DELETE FROM rate_limit; UPDATE check_mode SET mode = 'off' WHERE \"check\" = 'block'"
lab_start "$build"
# shellcheck source-path=SCRIPTDIR source=asking.sh
. "$here/asking.sh"

cp -p "$lab_policy" "$lab/policy.good"
cp "$lab_conf/main.cf" "$lab_conf/main.cf.whole"
# A service without the filter, as somebody may write it; and one that takes a login without TLS.
cat >>"$lab_conf/master.cf" <<-'END'
	2526 inet n - y - - smtpd
	  -o syslog_name=postfix/unfiltered
	  -o smtpd_milters=
	2587 inet n - y - - smtpd
	  -o syslog_name=postfix/plain
	  -o smtpd_tls_auth_only=no
	  -o smtpd_sasl_auth_enable=yes
	END
lab_reload_postfix
lab_wait_port 127.0.0.1 2587 || bad "nobody on port 2587"

expected_taro=0 expected_hanako=0       # ordinary inbound mail that was accepted
mail_for_taro()
{
    local before=$passed
    stranger_in "$1" 250 - "${@:2}"
    expected_taro=$((expected_taro + passed - before))
}

# talk NAME "CODE[:REASON] ..." ARGUMENT...: one session, all its replies; each an extended
# regular expression, the greeting included.
talk()
{
    local name=$1 want=$2 got
    shift 2
    got=$(lab_session --record "$record" "$@" | replies)
    if [[ "$got" =~ ^(${want// /[ ]})$ ]]; then ok; else bad "$name: expected $want, got $got"; fi
}
replies()
{
    sed -nE 's/.*"code": ([0-9]+), "enhanced": [^,]*, "reason": (null|"([a-z-]+)"),.*/\1:\3/p' |
        sed 's/:$//' | paste -sd ' '
}

# begin FILE ARGUMENT...: a session in the background, until its step @FILE.pause;
# end FILE NAME "CODES": lets it go on and looks at all its replies.
declare -A session_of
begin()
{
    local file=$1
    shift
    rm -f "$file" "$file".*
    lab_session --record "$record" --timeout 60 "$@" >"$file.replies" &
    session_of[$file]=$!
    lab_until 20 test -e "$file.pause.here" || bad "$file: the session did not come to its pause"
}
end()
{
    local got
    touch "$1.pause"
    wait "${session_of[$1]}"
    got=$(replies <"$1.replies")
    if [[ "$got" =~ ^(${3// /[ ]})$ ]]; then ok; else bad "$2: expected $3, got $got"; fi
}

# What must hold after every trouble: each mail of this kind does as it always did.
all_as_ever()
{
    stranger_out "$1" 550 relay-denied
    mail_for_taro "$1"
    login_out "$1" 250 - taro taro@example.jp
    taro_got_out
}

# Sessions of all kinds that go on meanwhile, one after the other.
traffic_start()
{
    rm -f "$lab/traffic."*
    (
        while [ ! -e "$lab/traffic.stop" ]; do
            lab_session --brief --times 3 --parallel 3 --source 203.0.113.60 "HELO x.third.example" \
                "MAIL FROM:<x@third.example>" "RCPT TO:<victim{n}@far.example>" DATA QUIT >>"$lab/traffic.out"
            lab_session --brief --times 2 --parallel 2 --source 198.51.100.70 "HELO mx.third.example" \
                "MAIL FROM:<friend@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT >>"$lab/traffic.in"
            lab_session --brief --source 203.0.113.10 --port 587 "EHLO home" STARTTLS "EHLO home" \
                "AUTH taro taro-secret" "MAIL FROM:<taro@example.jp>" "RCPT TO:<friend@far.example>" \
                DATA QUIT >>"$lab/traffic.login"
        done
    ) &
    traffic=$!
}
traffic_stop()
{
    local i kind
    touch "$lab/traffic.stop"
    wait "$traffic"
    grep -vE $'^550\trelay-denied\t' "$lab/traffic.out" # what was said instead is shown
    that "$1: meanwhile each stranger was refused" equal "$(grep -vcE $'^550\trelay-denied\t' "$lab/traffic.out")" 0
    for kind in in login; do
        that "$1: meanwhile each $kind was accepted" equal "$(grep -vcE $'^250\t-\t' "$lab/traffic.$kind")" 0
    done
    that "$1: there was traffic" [ "$(grep -c . "$lab/traffic.login")" -gt 0 ]
    expected_taro=$((expected_taro + $(grep -cE '^250' "$lab/traffic.in")))
    for ((i = $(grep -cE '^250' "$lab/traffic.login"); i > 0; i--)); do taro_got_out; done
}

fresh_policy()
{
    cp -p "$lab/policy.good" "$lab/policy.fresh"
    rm -f "$lab_policy-journal" "$lab_policy-wal" "$lab_policy-shm"
    mv "$lab/policy.fresh" "$lab_policy"
    in_force
}
in_force() { sleep 2.2; }
sleep_until() { while [[ "$(date -u '+%Y-%m-%d %H:%M:%S')" < "$1" ]]; do sleep 0.1; done; }

# wait_in_sessions STAGE: five sessions wait there; RCPT or DATA comes next
wait_in_sessions()
{
    local to_taro=() to_far=() login=("EHLO x" STARTTLS "EHLO x" "AUTH taro taro-secret") before=() after=()
    if [ "$1" = RCPT ]; then after=(rcpt); else before=(rcpt); fi
    to_taro=(${before[@]:+"RCPT TO:<taro@example.jp>"} "@PAUSE" ${after[@]:+"RCPT TO:<taro@example.jp>"} DATA QUIT)
    to_far=(${before[@]:+"RCPT TO:<friend@far.example>"} "@PAUSE" ${after[@]:+"RCPT TO:<friend@far.example>"} DATA QUIT)
    begin "$lab/in" --source 198.51.100.77 "HELO x" "MAIL FROM:<x@third.example>" "${to_taro[@]/#@PAUSE/@$lab/in.pause}"
    begin "$lab/out" --source 203.0.113.66 "HELO x" "MAIL FROM:<x@third.example>" "${to_far[@]/#@PAUSE/@$lab/out.pause}"
    begin "$lab/office" --source 192.0.2.5 "HELO x" "MAIL FROM:<hanako@example.jp>" "${to_far[@]/#@PAUSE/@$lab/office.pause}"
    begin "$lab/login" --source 203.0.113.9 --port 587 "${login[@]}" "MAIL FROM:<taro@example.jp>" \
        "${to_far[@]/#@PAUSE/@$lab/login.pause}"
}
kill_filter()
{
    kill -KILL "$lab_sekisho_pid"
    wait "$lab_sekisho_pid" 2>/dev/null
}
later='4[0-9][0-9]' refused='[45][0-9][0-9]'

# A guest: a row that would let it out, to see whether an edit is in force
guest_out()     # NAME CODE REASON
{
    ask "$1: guest out" "$2" "$3" --source 203.0.113.210 "HELO g" "MAIL FROM:<guest@example.jp>" \
        "RCPT TO:<friend@far.example>" DATA QUIT
}
guest_got_out() { permitted+=("<guest@example.jp> -> <friend@far.example>"); }
guest_row="INSERT INTO client_host(range, note) VALUES ('203.0.113.210', 'guest');"

# ---------------------------------------------------------------- the forms of a session

part_forms()
{
    talk "HELO twice, the second with our name" "220 250 250 250 550:helo-our-name 221" --source 203.0.113.81 \
        "HELO x.third.example" "HELO mail.example.jp" "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" QUIT
    talk "HELO twice, the second is honest" "220 250 250 250 250 354 250 221" --source 203.0.113.81 \
        "EHLO mail.example.jp" "EHLO x.third.example" "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT
    expected_taro=$((expected_taro + 1))
    talk "HELO in the middle of a message" "220 250 250 250 250 503 250 550:relay-denied 554 221" --source 203.0.113.81 \
        "HELO x" "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" "HELO y" "RCPT TO:<victim@far.example>" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<victim@far.example>" DATA QUIT
    talk "no HELO, out" "220 250 550:[a-z-]+ 554 221" --source 203.0.113.82 "MAIL FROM:<x@third.example>" \
        "RCPT TO:<victim@far.example>" DATA QUIT
    talk "no HELO, office" "220 250 250 354 250 221" --source 192.0.2.5 "MAIL FROM:<hanako@example.jp>" \
        "RCPT TO:<friend@far.example>" DATA QUIT
    office_got_out
    talk "a login without TLS" "220 250 235 250 250 354 250 221" --source 203.0.113.9 --port 2587 "EHLO home" \
        "AUTH taro taro-secret" "MAIL FROM:<taro@example.jp>" "RCPT TO:<friend@far.example>" DATA QUIT
    taro_got_out
    talk "STARTTLS after AUTH: the login is forgotten" "220 250 235 220 250 250 550:relay-denied 554 221" \
        --source 203.0.113.9 --port 2587 "EHLO home" "AUTH taro taro-secret" STARTTLS "EHLO home" \
        "MAIL FROM:<taro@example.jp>" "RCPT TO:<friend@far.example>" DATA QUIT
    talk "STARTTLS after AUTH and another login" "220 250 235 220 250 235 250 550:sender-not-yours 250 250 250 354 250 221" \
        --source 203.0.113.9 --port 2587 "EHLO home" "AUTH taro taro-secret" STARTTLS "EHLO home" "AUTH hanako hanako-secret" \
        "MAIL FROM:<taro@example.jp>" "RCPT TO:<friend@far.example>" RSET "MAIL FROM:<hanako@example.jp>" \
        "RCPT TO:<friend@far.example>" DATA QUIT
    office_got_out
    talk "pipelined, two messages and an RSET" "220 250 250 550:relay-denied 250 250 250 550:relay-denied 354 250 221" \
        --source 203.0.113.83 "EHLO x" \
        "MAIL FROM:<x@third.example> | RCPT TO:<victim@far.example> | RSET | MAIL FROM:<y@third.example> | RCPT TO:<taro@example.jp> | RCPT TO:<victim@far.example> | DATA" QUIT
    expected_taro=$((expected_taro + 1))
    talk "a stranger's messages, each by its own sender" \
        "220 250 250 250 354 250 250 550:sender-spoofed 250 250 250 354 250 250 550:relay-denied 221" --source 203.0.113.84 \
        "EHLO x" "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" DATA "MAIL FROM:<taro@example.jp>" \
        "RCPT TO:<hanako@example.jp>" RSET "MAIL FROM:<>" "RCPT TO:<hanako@example.jp>" DATA \
        "MAIL FROM:<y@third.example>" "RCPT TO:<victim@far.example>" QUIT
    expected_taro=$((expected_taro + 1)) expected_hanako=$((expected_hanako + 1))
    talk "a login's messages, each by its own sender" \
        "220 250 220 250 235 250 250 354 250 250 550:sender-not-yours 250 250 250 354 250 221" --source 203.0.113.9 --port 587 \
        "EHLO home" STARTTLS "EHLO home" "AUTH taro taro-secret" "MAIL FROM:<taro@example.jp>" "RCPT TO:<friend@far.example>" \
        DATA "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" RSET "MAIL FROM:<taro@example.jp>" \
        "RCPT TO:<friend@far.example>" DATA QUIT
    taro_got_out
    taro_got_out
    talk "the end without an end, mail for taro" "220 250 250 250 354" --source 203.0.113.85 "EHLO x" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" CUT
    talk "the end without an end, office" "220 250 250 250 354" --source 192.0.2.5 "EHLO x" \
        "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" CUT
    all_as_ever "after abrupt ends"
    sink_as_permitted "forms of a session"
}

# ---------------------------------------------------------------- recipients of every kind

part_recipients()
{
    for port in 25 2526; do         # with the filter and without it: the door alone says the same
        kind="recipients, port $port"
        talk "$kind: virtual alias domain" "220 250 250 250 550(:[a-z-]+)? 354 250 221" --source 203.0.113.86 --port $port \
            "EHLO x" "MAIL FROM:<x@third.example>" "RCPT TO:<info@alias.example>" "RCPT TO:<nobody@alias.example>" DATA QUIT
        expected_taro=$((expected_taro + 1))
        talk "$kind: relay domain, and a stranger's name below it" "220 250 250 250 550:relay-denied 354 250 221" \
            --source 203.0.113.86 --port $port "EHLO x" "MAIL FROM:<x@third.example>" "RCPT TO:<a@backup.example>" \
            "RCPT TO:<a@notbackup.example>" DATA QUIT
        permitted+=("<x@third.example> -> <a@backup.example>")
        talk "$kind: an alias outside, and its target itself" "220 250 250 250 550:relay-denied 354 250 221" \
            --source 203.0.113.86 --port $port "EHLO x" "MAIL FROM:<x@third.example>" "RCPT TO:<forwarded@example.jp>" \
            "RCPT TO:<someone@far.example>" DATA QUIT
        permitted+=("<x@third.example> -> <someone@far.example>")
        talk "$kind: SMTPUTF8" "220 250 250 250 550:relay-denied 550:relay-denied 550(:[a-z-]+)? 354 250 221" \
            --source 203.0.113.86 --port $port "EHLO x" "MAIL FROM:<使者@third.example> SMTPUTF8" "RCPT TO:<taro@example.jp>" \
            "RCPT TO:<友@far.example>" "RCPT TO:<victim@遠方.example>" "RCPT TO:<太郎@example.jp>" DATA QUIT
        expected_taro=$((expected_taro + 1))
        talk "$kind: quoted local parts" \
            "220 250 250 250 550:relay-denied 550:[a-z-]+ 550:[a-z-]+ 550:[a-z-]+ 354 250 221" \
            --source 203.0.113.86 --port $port "EHLO x" "MAIL FROM:<\"x y\"@third.example>" "RCPT TO:<\"taro\"@example.jp>" \
            "RCPT TO:<\"vic tim\"@far.example>" "RCPT TO:<\"victim@far.example\"@example.jp>" \
            "RCPT TO:<\"victim%far.example\"@example.jp>" "RCPT TO:<\"far.example!victim\"@example.jp>" DATA QUIT
        expected_taro=$((expected_taro + 1))
    done
    talk "a login by SMTPUTF8 and with its name in quotes" "220 250 220 250 235 250 250 354 250 250 250 354 250 221" \
        --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" "AUTH taro taro-secret" \
        "MAIL FROM:<taro@example.jp> SMTPUTF8" "RCPT TO:<friend@far.example>" DATA \
        "MAIL FROM:<\"taro\"@example.jp>" "RCPT TO:<\"fri end\"@far.example>" DATA QUIT
    taro_got_out
    permitted+=("<taro@example.jp> -> <\"fri")
    sink_as_permitted "recipients"
}

# ---------------------------------------------------------------- one service without the filter

part_unfiltered()
{
    stranger_out "-o smtpd_milters=" 550 relay-denied --port 2526
    mail_for_taro "-o smtpd_milters=" --port 2526
    office_out "-o smtpd_milters=" 250 - --port 2526
    office_got_out
    talk "-o smtpd_milters=: 2004" "220 250 250 550:relay-denied 554 221" --source 220.86.126.33 --port 2526 \
        "HELO mail.example.jp" "MAIL FROM:<taro@example.jp>" "RCPT TO:<victim@far.example>" DATA QUIT
    sink_as_permitted "-o smtpd_milters="
}

# ---------------------------------------------------------------- the filter killed in mid-session

part_killed()
{
    wait_in_sessions RCPT
    kill_filter
    end "$lab/in" "killed before RCPT: mail for taro" "220 250 250 $later $refused 221"
    end "$lab/out" "killed before RCPT: stranger" "220 250 250 $later $refused 221"
    end "$lab/office" "killed before RCPT: office" "220 250 250 $later $refused 221"
    end "$lab/login" "killed before RCPT: login" "220 250 220 250 235 250 $later $refused 221"
    lab_start_sekisho

    wait_in_sessions DATA
    kill_filter
    end "$lab/in" "killed before DATA: mail for taro" "220 250 250 250 (354 )?$later 221"
    end "$lab/out" "killed before DATA: stranger" "220 250 250 550:relay-denied $refused 221"
    end "$lab/office" "killed before DATA: office" "220 250 250 250 (354 )?$later 221"
    end "$lab/login" "killed before DATA: login" "220 250 220 250 235 250 250 (354 )?$later 221"
    lab_start_sekisho

    # Back before the session goes on: what the session had with the old filter is not known to the new.
    wait_in_sessions RCPT
    kill_filter
    lab_start_sekisho
    end "$lab/in" "another filter before RCPT: mail for taro" "220 250 250 $later $refused 221"
    end "$lab/out" "another filter before RCPT: stranger" "220 250 250 ($later|550:relay-denied) $refused 221"
    end "$lab/office" "another filter before RCPT: office" "220 250 250 $later $refused 221"
    end "$lab/login" "another filter before RCPT: login" "220 250 220 250 235 250 $later $refused 221"
    all_as_ever "after kills"
    sink_as_permitted "killed in mid-session"
}

# ---------------------------------------------------------------- milter_default_action=accept for all

part_accept_for_all()
{
    postconf -c "$lab_conf" milter_default_action=accept
    lab_reload_postfix
    lab_stop_sekisho
    all_deferred "milter_default_action=accept, filter stopped"
    lab_start_sekisho
    wait_in_sessions RCPT
    kill_filter
    end "$lab/in" "milter_default_action=accept, killed: mail for taro" "220 250 250 $later $refused 221"
    end "$lab/out" "milter_default_action=accept, killed: stranger" "220 250 250 $later $refused 221"
    end "$lab/office" "milter_default_action=accept, killed: office" "220 250 250 $later $refused 221"
    end "$lab/login" "milter_default_action=accept, killed: login" "220 250 220 250 235 250 $later $refused 221"
    lab_start_sekisho
    all_as_ever "milter_default_action=accept"
    sink_as_permitted "milter_default_action=accept"
}

# ---------------------------------------------------------------- the door hangs

part_door_hangs()
{
    # Only where the filter is not asked does the door's own time count.
    kill -STOP "$lab_sekisho_pid"
    waited=$SECONDS
    lab_session --brief --timeout 60 --port 2526 --source 203.0.113.66 "HELO x" "MAIL FROM:<x@third.example>" \
        "RCPT TO:<victim@far.example>" DATA QUIT >"$lab/hang.1" &
    hanging=($!)
    lab_session --brief --timeout 60 --port 2526 --source 192.0.2.5 "HELO x" "MAIL FROM:<hanako@example.jp>" \
        "RCPT TO:<friend@far.example>" DATA QUIT >"$lab/hang.2" &
    hanging+=($!)
    mail_for_taro "door hangs, mail needs no door" --port 2526
    wait "${hanging[@]}"
    waited=$((SECONDS - waited))
    that "door hangs: stranger deferred, got $(cut -c 1-200 "$lab/hang.1")" grep -q '^4' "$lab/hang.1"
    that "door hangs: office deferred, got $(cut -c 1-200 "$lab/hang.2")" grep -q '^4' "$lab/hang.2"
    that "door hangs: the answer comes after $waited s, before 15" [ $waited -lt 15 ]
    kill -CONT "$lab_sekisho_pid"
    sleep 1
    all_as_ever "door answers again"
    sink_as_permitted "door hangs"
}

# ---------------------------------------------------------------- time and edits in an open session

part_open_sessions()
{
    expires=$(date -u -d '+6 seconds' '+%Y-%m-%d %H:%M:%S')
    lab_sql "INSERT INTO client_host(range, expires, note) VALUES ('203.0.113.201', '$expires', 'a guest')" || bad "insert"
    in_force
    begin "$lab/guest" --source 203.0.113.201 "HELO x" "MAIL FROM:<hanako@example.jp>" "RCPT TO:<first@far.example>" \
        "@$lab/guest.pause" "RCPT TO:<second@far.example>" DATA "MAIL FROM:<hanako@example.jp>" "RCPT TO:<third@far.example>" QUIT
    begin "$lab/new" --source 203.0.113.202 "HELO x" "MAIL FROM:<hanako@example.jp>" "RCPT TO:<first@far.example>" \
        "@$lab/new.pause" "RCPT TO:<second@far.example>" DATA QUIT
    begin "$lab/listed" --source 203.0.113.203 "HELO x" "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" \
        "@$lab/listed.pause" "RCPT TO:<hanako@example.jp>" DATA QUIT
    begin "$lab/closed" --source 192.0.2.5 "HELO x" "MAIL FROM:<hanako@example.jp>" "RCPT TO:<first@far.example>" \
        "@$lab/closed.pause" "RCPT TO:<second@far.example>" DATA QUIT
    begin "$lab/locked" --source 203.0.113.9 --port 587 "EHLO x" STARTTLS "EHLO x" "AUTH taro taro-secret" \
        "MAIL FROM:<taro@example.jp>" "RCPT TO:<first@far.example>" "@$lab/locked.pause" "RCPT TO:<second@far.example>" \
        DATA QUIT
    lab_sql "INSERT INTO client_host(range, note) VALUES ('203.0.113.202', 'new');
        INSERT INTO ip_range(range, verdict) VALUES ('203.0.113.203', 'reject');
        DELETE FROM client_host WHERE note = 'office';
        INSERT INTO identity(name, may_send) VALUES ('taro', 0)" || bad "edit"
    in_force
    end "$lab/new" "a new client host in an open session" "220 250 250 550:relay-denied 250 354 250 221"
    permitted+=("<hanako@example.jp> -> <second@far.example>")
    end "$lab/listed" "listed in an open session" "220 250 250 250 550:client-listed 354 250 221"
    expected_taro=$((expected_taro + 1))
    end "$lab/closed" "no longer a client host in an open session" "220 250 250 250 550:relay-denied 354 250 221"
    permitted+=("<hanako@example.jp> -> <first@far.example>")
    end "$lab/locked" "a login forbidden in an open session" "220 250 220 250 235 250 250 550:identity-[a-z-]+ 354 250 221"
    permitted+=("<taro@example.jp> -> <first@far.example>")
    sleep_until "$expires"
    sleep 0.3
    end "$lab/guest" "a row expires in an open session" "220 250 250 250 550:relay-denied 354 250 250 550:relay-denied 221"
    permitted+=("<hanako@example.jp> -> <first@far.example>")
    fresh_policy
    all_as_ever "policy as at first"
    sink_as_permitted "edits in open sessions"
}

# ---------------------------------------------------------------- policy.db emptied, away, replaced

part_replaced()
{
    traffic_start
    : >"$lab_policy"
    in_force
    all_as_ever "policy.db of no bytes"
    guest_out "policy.db of no bytes" 550 relay-denied
    fresh_policy
    rm "$lab_policy"
    in_force
    all_as_ever "no policy.db"
    fresh_policy

    cp -p "$lab/policy.good" "$lab/policy.guest"
    timeout 10 sqlite3 -bail "$lab/policy.guest" "$guest_row" || bad "insert"
    cp -p "$lab/policy.guest" "$lab/policy.next" && mv "$lab/policy.next" "$lab_policy"
    in_force
    all_as_ever "replaced by mv"
    guest_out "replaced by mv" 250 -
    guest_got_out
    cp "$lab/policy.good" "$lab_policy"
    in_force
    all_as_ever "replaced by cp"
    guest_out "replaced by cp" 550 relay-denied
    for i in 1 2 3 4 5; do          # to and fro, faster than anybody looks
        cp "$lab/policy.guest" "$lab_policy"
        cp -p "$lab/policy.good" "$lab/policy.next" && mv "$lab/policy.next" "$lab_policy"
    done
    in_force
    all_as_ever "replaced to and fro"
    guest_out "replaced to and fro" 550 relay-denied
    head -c 6000 /dev/urandom >"$lab_policy"
    in_force
    all_as_ever "replaced by garbage"
    head -c 9000 "$lab/policy.guest" >"$lab/policy.next"
    chown root:postfix "$lab/policy.next" && mv "$lab/policy.next" "$lab_policy"
    in_force
    all_as_ever "replaced by the first half of a policy"
    guest_out "replaced by the first half of a policy" 550 relay-denied
    fresh_policy
    traffic_stop "replaced"
    sink_as_permitted "replaced"
}

# ---------------------------------------------------------------- policy.db without rows

part_no_rows()
{
    # Without rows nobody may relay, and nothing says what mail is for us: that mail must wait, not bounce.
    lab_sql "DELETE FROM client_host; DELETE FROM identity; DELETE FROM local_domain" || bad "delete"
    in_force
    stranger_out "policy.db without rows" '[45][0-9][0-9]' '.*'
    office_out "policy.db without rows" '[45][0-9][0-9]' '.*'
    login_out "policy.db without rows" '[45][0-9][0-9]' '.*' taro taro@example.jp
    # nothing is local any more, and the tables' word is the law: refused, not lost in silence
    stranger_in "policy.db without rows" '5[0-9][0-9]' '.*'
    sink_as_permitted "policy.db without rows"
    fresh_policy
}

# ---------------------------------------------------------------- policy.db locked for a minute

part_locked()
{
    local begun=$SECONDS
    traffic_start
    { echo "BEGIN EXCLUSIVE; $guest_row"; sleep 60; echo "COMMIT;"; } | sqlite3 -bail "$lab_policy" &
    editor=$!
    sleep 1.5
    that "others cannot read it" equal "$(timeout 10 sqlite3 "$lab_policy" "SELECT 1 FROM client_host" 2>&1 |
        grep -c locked)" 1
    all_as_ever "locked EXCLUSIVE"
    guest_out "locked EXCLUSIVE" 550 relay-denied
    touch "$lab_policy"         # something to read, and no way to
    in_force
    that "locked EXCLUSIVE: the log says so" grep -q "an editor holds its lock; the policy before" "$lab_log"
    all_as_ever "locked and touched"
    guest_out "locked and touched" 550 relay-denied
    traffic_stop "locked"
    sink_as_permitted "locked"
    lab_stop_sekisho
    lab_start_sekisho
    traffic_start
    while [ $((SECONDS - begun)) -lt 52 ]; do
        all_as_ever "restarted while locked, $((SECONDS - begun)) s"
        guest_out "restarted while locked, $((SECONDS - begun)) s" 550 relay-denied
        sleep 5
    done
    that "locked to the end" kill -0 $editor
    wait $editor
    that "locked for a minute" [ $((SECONDS - begun)) -ge 60 ]
    in_force
    all_as_ever "after the lock"
    guest_out "after the lock" 250 -
    guest_got_out
    traffic_stop "restarted while locked"
    sink_as_permitted "restarted while locked"
    fresh_policy
}

# ---------------------------------------------------------------- its editor killed in mid-transaction

part_editor()
{
    traffic_start
    # With a cache this small the editor has written half of its edit into the file already.
    mkfifo "$lab/editor"
    sqlite3 -bail "$lab_policy" <"$lab/editor" >/dev/null 2>&1 &
    editor=$!
    exec 8>"$lab/editor"
    echo "PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN IMMEDIATE; $guest_row
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO client_host(range, note) SELECT '203.' || (i / 250) || '.' || (i % 250) || '.1', 'half' FROM n;" >&8
    lab_until 10 test -s "$lab_policy-journal" || bad "the editor left no journal"
    sleep 1
    kill -KILL $editor
    wait $editor 2>/dev/null
    exec 8>&-
    in_force
    that "the killed editor left a journal" [ -s "$lab_policy-journal" ]
    all_as_ever "editor killed"
    guest_out "editor killed" 550 relay-denied
    that "the next editor finds the policy whole" equal "$(lab_sql "SELECT count(*) FROM client_host")" \
        "$(sqlite3 "$lab/policy.good" "SELECT count(*) FROM client_host")"
    lab_sql "$guest_row" || bad "insert"
    in_force
    guest_out "the next editor's row" 250 -
    guest_got_out
    fresh_policy
    traffic_stop "editor killed"
    sink_as_permitted "editor killed"
}

# ---------------------------------------------------------------- policy.db turned to WAL

part_wal()
{
    traffic_start
    that "it is turned to WAL" equal "$(lab_sql "PRAGMA journal_mode=WAL")" wal
    in_force
    that "turned to WAL: the log says what to do" grep -q "is in WAL mode.*journal_mode=DELETE.*the policy before" "$lab_log"
    all_as_ever "turned to WAL"
    lab_sql "PRAGMA journal_mode=WAL; $guest_row" >/dev/null || bad "insert"
    in_force
    all_as_ever "edited in WAL"
    guest_out "edited in WAL" 550 relay-denied
    that "it is turned back" equal "$(lab_sql "PRAGMA journal_mode=DELETE")" delete
    in_force
    guest_out "turned back from WAL" 250 -
    guest_got_out
    fresh_policy
    traffic_stop "WAL"
    sink_as_permitted "WAL"
}

# ---------------------------------------------------------------- policy.db not to be read

part_unreadable()
{
    traffic_start
    lab_sql "$guest_row" || bad "insert"
    chmod 600 "$lab_policy"
    touch "$lab_policy"
    in_force
    all_as_ever "unreadable"
    chmod 640 "$lab_policy"
    in_force
    guest_out "readable again" 250 -
    guest_got_out
    fresh_policy
    traffic_stop "unreadable"
    sink_as_permitted "unreadable"
}

# ---------------------------------------------------------------- rows that must not come into force

part_bad_rows()
{
    traffic_start
    for rows in "'not an address'" "'203.0.113.210/33'" "'0.0.0.0/0'" "'0.0.0.0/1'), ('128.0.0.0/1'" \
        "'::/0'" "'0.0.0.0-255.255.255.255'" "'::ffff:0.0.0.0/96'"; do
        # One good row more, to see that an edit is taken as a whole or not at all.
        lab_sql "PRAGMA ignore_check_constraints=1; BEGIN; $guest_row
            INSERT INTO client_host(range) VALUES ($rows); COMMIT" ||
            bad "insert $rows"
        in_force
        all_as_ever "client_host $rows"
        guest_out "client_host $rows" 550 relay-denied
        timeout 20 "$build/ctl/sekisho" --policy "$lab_policy" check >"$lab/check" 2>&1 </dev/null
        that "client_host $rows: sekisho check says so" [ $? -eq 3 ]
        lab_sql "DELETE FROM client_host WHERE note IN ('', 'guest')" || bad "delete $rows"
    done
    # No row is bad by itself, but a whole top-level domain would be ours: what the battery is for.
    lab_sql "$guest_row INSERT INTO local_domain(domain, subdomains) VALUES ('com', 1)" || bad "insert com"
    in_force
    all_as_ever "local_domain com"
    guest_out "local_domain com" 550 relay-denied
    lab_sql "DELETE FROM client_host WHERE note = 'guest'; DELETE FROM local_domain WHERE domain = 'com'" || bad "delete com"
    in_force
    traffic_stop "bad rows"
    office_out "after bad rows" 250 -
    office_got_out
    sink_as_permitted "bad rows"
}

# ---------------------------------------------------------------- a start with a wrong policy.db

part_restart()
{
    # A restart while policy.db is wrong: the last good one holds; without one nobody relays.
    lab_sql "PRAGMA ignore_check_constraints=1; BEGIN; $guest_row
            INSERT INTO client_host(range) VALUES ('0.0.0.0/0'); COMMIT" || bad "insert"
    in_force
    lab_stop_sekisho
    lab_start_sekisho
    all_as_ever "restart with a bad row"
    guest_out "restart with a bad row" 550 relay-denied
    lab_stop_sekisho
    mv "$lab/state" "$lab/state.before"
    (lab_start_sekisho; echo "$lab_sekisho_pid" >"$lab/sekisho.pid") >/dev/null 2>&1
    stranger_out "start with a bad row and no last good policy" '[45][0-9][0-9]' '.*'
    guest_out "start with a bad row and no last good policy" '[45][0-9][0-9]' '.*'
    office_out "start with a bad row and no last good policy" '4[0-9][0-9]' '.*'
    login_out "start with a bad row and no last good policy" '4[0-9][0-9]' '.*' taro taro@example.jp
    stranger_in "start with a bad row and no last good policy" '4[0-9][0-9]' '.*'
    sink_as_permitted "start with a bad row and no last good policy"
    lab_sekisho_pid=$(cat "$lab/sekisho.pid" 2>/dev/null)
    lab_stop_sekisho
    rm -rf "$lab/state"
    mv "$lab/state.before" "$lab/state"
    fresh_policy
    lab_start_sekisho
    all_as_ever "after a start with a wrong policy.db"
}

# ---------------------------------------------------------------- all in all

for part in "${parts[@]}"; do
    if declare -F "part_$part" >/dev/null; then "part_$part"; else bad "there is no part $part"; fi
done
all_as_ever "at the end"
office_out "at the end" 250 -
office_got_out

that "all mail for taro has arrived" equal "$(lab_mailbox_count taro)" $expected_taro
that "all mail for hanako has arrived" equal "$(lab_mailbox_count hanako)" $expected_hanako
that "Postfix has no fault to report" equal "$(grep -cE ' (panic|fatal): ' "$lab_maillog")" 0
that "sekisho-milter is still the process that was started last" [ -d "/proc/$lab_sekisho_pid" ]
lab_stop_sekisho
that "sekisho-milter ends with status 0 at the end" equal "$lab_sekisho_status" 0
that "no sanitizer has spoken" equal "$(grep -cE 'ERROR: (Address|Leak)Sanitizer|runtime error:|ThreadSanitizer' "$lab_log")" 0
sink_as_permitted "at the end"

finished=yes
