#!/bin/bash
# A real Postfix with sekisho: nothing gets out but what a client host or a login was permitted.
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh BUILD      (as root; BUILD holds milter/sekisho-milter and ctl/sekisho)
# SHARED is the directory of the shared cases, ../shared/cases beside the repository by default.
# exit 0: all passed; 1: something failed; 2: usage; 77: this machine cannot run it.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../../contrib/postfix/lab.sh
. "$top/contrib/postfix/lab.sh"
# shellcheck source-path=SCRIPTDIR source=able.sh
. "$here/able.sh"

[ $# -eq 1 ] || { echo "usage: run.sh BUILD" >&2; exit 2; }
build=$(cd "$1" 2>/dev/null && pwd) || { echo "run.sh: no directory $1" >&2; exit 2; }
forms=${SHARED:-$top/../shared/cases}/relay-forms.tsv
hostile=${SHARED:-$top/../shared/cases}/hostile-strings.json

lab_enter "$here/run.sh" "$build"
# Few clients ask very much here: limits and blocks have tests of their own.
lab_rows="DELETE FROM rate_limit; UPDATE check_mode SET mode = 'off' WHERE \"check\" = 'block'"
lab_start "$build"

# shellcheck source-path=SCRIPTDIR source=asking.sh
. "$here/asking.sh"

# ---------------------------------------------------------------- the chrooted smtpd is what is tested

that "smtpd is chrooted" grep -qE '^smtp +inet +n +- +y ' "$lab_conf/master.cf"
that "submission is chrooted" grep -qE '^submission +inet +n +- +y ' "$lab_conf/master.cf"
that "the shipped restrictions are in force" equal \
    "$(postconf -c "$lab_conf" -hx smtpd_relay_restrictions | xargs)" \
    "permit_auth_destination, check_policy_service { unix:sekisho/permit.sock, timeout=5s, try_limit=2 }, reject"

# ---------------------------------------------------------------- one of each

stranger_out "plain" 550 relay-denied
ask "587 without a login" 554 - --source 203.0.113.66 --port 587 "EHLO x" STARTTLS "EHLO x" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT
stranger_in "plain" 250 -
office_out "plain" 250 -
office_got_out
login_out "plain" 250 - taro taro@example.jp
taro_got_out
ask "capital letters in the login" 250 - --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
    "AUTH TARO taro-secret" "MAIL FROM:<Taro@Example.JP>" "RCPT TO:<friend@far.example>" DATA QUIT
permitted+=("<Taro@Example.JP> -> <friend@far.example>")
login_out "not own sender" 550 sender-not-yours taro hanako@example.jp
login_out "receive-only" 550 identity-receive-only postmaster postmaster@example.jp
login_out "receive-only" 550 identity-receive-only abuse abuse@example.jp
login_out "receive-only, foreign sender" 550 identity-receive-only abuse x@third.example
ask "login from port 465" 250 - --source 2001:db8::9 --port 465 --tls "EHLO home" \
    "AUTH hanako hanako-secret" "MAIL FROM:<hanako@example.jp> | RCPT TO:<friend@far.example> | DATA" QUIT
[ "$lab_ipv6" = yes ] && office_got_out
ask "wrong password" 535 - --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
    "AUTH taro wrong" QUIT
ask "login to a colleague" 250 - --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
    "AUTH taro taro-secret" "MAIL FROM:<taro@example.jp>" "RCPT TO:<hanako@example.jp>" DATA QUIT
ask "forged colleague" 550 sender-spoofed --source 203.0.113.66 "HELO x" \
    "MAIL FROM:<taro@example.jp>" "RCPT TO:<hanako@example.jp>" QUIT
ask "forwarder with an exemption" 250 - --source 203.0.113.40 "HELO lists.third.example" \
    "MAIL FROM:<taro@example.jp>" "RCPT TO:<hanako@example.jp>" DATA QUIT
ask "the exemption does not relay" 550 relay-denied --source 203.0.113.40 "HELO lists.third.example" \
    "MAIL FROM:<taro@example.jp>" "RCPT TO:<victim@far.example>" QUIT
ask "our name in HELO" 550 helo-our-name --source 203.0.113.66 "HELO mail.example.jp" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" QUIT
ask "our address in HELO" 550 helo-our-name --source 203.0.113.66 "EHLO [$lab_server4]" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" QUIT
ask "bounce for taro" 250 - --source 203.0.113.67 "HELO mx.third.example" "MAIL FROM:<>" \
    "RCPT TO:<taro@example.jp>" DATA QUIT
ask "bare postmaster" 250 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<postmaster>" DATA QUIT
ask "the MTA's own host name" 250 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<taro@mail.example.jp>" DATA QUIT
ask "virtual alias domain" 250 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<info@alias.example>" DATA QUIT
ask "backup MX" 250 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<somebody@backup.example>" DATA QUIT
permitted+=("<x@third.example> -> <somebody@backup.example>")
ask "an alias that leads outside" 250 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<forwarded@example.jp>" DATA QUIT
permitted+=("<x@third.example> -> <someone@far.example>")
ask "unknown mailbox of ours" 550 - --source 203.0.113.67 "HELO mx.third.example" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<nobody-here@example.jp>" QUIT
if [ "$lab_ipv6" = yes ]; then
    ask "mail for taro over IPv6" 250 - --source 2001:db8::77 "EHLO mx.third.example" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT
    ask "stranger out over IPv6" 550 relay-denied --source 2001:db8::77 "EHLO mx.third.example" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<victim@far.example>" QUIT
    ask "our IPv6 address in HELO" 550 helo-our-name --source 2001:db8::77 "EHLO [IPv6:$lab_server6]" \
        "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" QUIT
fi
# The filter-free listener for a content filter: for this machine only.
ask "re-injection from here" 250 - --source 127.0.0.1 --port 10026 --server 127.0.0.1 "HELO localhost" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<scanned@far.example>" DATA QUIT
permitted+=("<x@third.example> -> <scanned@far.example>")
ask "re-injection from elsewhere" 554 - --source 203.0.113.66 --port 10026 --server 127.0.0.1 \
    "HELO localhost" "MAIL FROM:<x@third.example>" "RCPT TO:<victim@far.example>" DATA QUIT
# A second message in a session is judged anew, also the login's.
ask "second message, other sender" 550 sender-not-yours --source 203.0.113.9 --port 587 "EHLO home" \
    STARTTLS "EHLO home" "AUTH taro taro-secret" "MAIL FROM:<taro@example.jp>" \
    "RCPT TO:<friend@far.example>" DATA "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" QUIT
taro_got_out
sink_as_permitted "one of each"

# ---------------------------------------------------------------- the attack of 2004

before=$(grep -c '"reason": "relay-denied"' "$record")
lab_session --brief --record "$record" --times 100 --parallel 25 --source 220.86.126.33 \
    "HELO mail.example.jp" "MAIL FROM:<taro@example.jp>" "RCPT TO:<victim{n}@far.example>" DATA QUIT \
    >"$lab/attack"
that "2004: 100 sessions at once, all refused" \
    equal "$(grep -cE $'^550\trelay-denied\t[0-9]+\t' "$lab/attack")" 100
lab_session --brief --record "$record" --source 220.86.126.34 "HELO mail.example.jp" \
    "MAIL FROM:<taro@example.jp> | RCPT TO:<v1@far.example> | RCPT TO:<v2@far.example> | RCPT TO:<taro@example.jp> | DATA" \
    QUIT >"$lab/attack"
that "2004, pipelined" grep -qE $'^550\trelay-denied\t' "$lab/attack"
sink_as_permitted "2004"

# ---------------------------------------------------------------- the relay forms of all the testers

# Whatever is not known here by its id is a stranger's try and must be refused.
forms_table()
{
    "$lab_python" - "$forms" "$lab_server4" <<-'END'
	import re, sys
	words = {"EXT": "far.example", "EXT2": "further.example", "HOST": "mail.example.jp",
	         "DOM": "example.jp", "dOm": "eXample.JP", "RELAYDOM": "backup.example",
	         "CLI": "tester.example", "RND": "q7x", "IP": sys.argv[2], "U": "victim", "X": "spammer",
	         "L": "taro", "L2": "hanako"}
	token = re.compile(r"(?<![A-Za-z])(EXT2|EXT|HOST|DOM|dOm|RELAYDOM|CLI|RND|IP|L2|L|U|X)(?![A-Za-z0-9])")
	fill = lambda text: token.sub(lambda m: words[m.group(1)], text)
	for line in open(sys.argv[1], encoding="utf-8"):
	    if line.startswith("#") or not line.strip():
	        continue
	    name, _, _, sender, recipient = line.rstrip("\n").split("\t")
	    # A remark may follow the address.
	    path = lambda text: re.match(r"<.*>|", fill(text)).group() or "-"
	    print(name, path(sender), path(recipient), sep="\t")
	END
}

form_number=0
form()          # ID CODE REASON HELO SENDER RECIPIENT: each from an address of its own
{
    form_number=$((form_number + 1))
    ask "form $1 $5 $6" "$2" "$3" --source "203.0.114.$form_number" "HELO $4" \
        "MAIL FROM:$5" "RCPT TO:$6" DATA QUIT
}
if [ -r "$forms" ]; then
    while IFS=$'\t' read -r id sender recipient; do
        case $id in
        W03)    # ordinary inbound mail
            form "$id" 250 - tester.example "$sender" "$recipient" ;;
        C08)    # must be seen as local: a mailbox that exists gets it
            form "$id" 250 - tester.example "$sender" "${recipient/victim/taro}" ;;
        W04)
            form "$id" 550 sender-spoofed tester.example "$sender" "$recipient" ;;
        T01)
            form "$id" 550 relay-denied mail.example.jp "$sender" "$recipient"
            form "$id" 550 relay-denied example.jp "$sender" "$recipient" ;;
        T02) form "$id" 550 relay-denied "[$lab_server4]" "$sender" "$recipient" ;;
        T03) form "$id" 550 relay-denied localhost "$sender" "$recipient" ;;
        T04)
            for user in postmaster abuse; do
                login_out "form $id" 550 identity-receive-only $user "$user@example.jp"
            done ;;
        T05 | I01 | I03 | I04 | I05)
            left_out=$((left_out + 1)) ;;       # windows and gateways; not a matter of relaying
        I02)
            login_out "form $id" 550 sender-not-yours taro hanako@example.jp ;;
        C10)    # AUTH= in MAIL FROM is the client's own word
            ask "form $id port 25" '5[0-9][0-9]' '.*' --source 203.0.113.71 "EHLO x" \
                "MAIL FROM:<taro@example.jp> AUTH=taro@example.jp" "RCPT TO:<victim@far.example>" DATA QUIT
            ask "form $id port 587" '5[0-9][0-9]' '.*' --source 203.0.113.71 --port 587 "EHLO x" STARTTLS \
                "EHLO x" "MAIL FROM:<taro@example.jp> AUTH=taro@example.jp" "RCPT TO:<victim@far.example>" DATA QUIT ;;
        C11)    # the first recipient may have it, the second not
            had=$(lab_mailbox_count taro)
            ask "form $id" 550 relay-denied --source 203.0.113.72 "HELO x" \
                "MAIL FROM:<spammer@far.example>" "RCPT TO:<taro@example.jp>" \
                "RCPT TO:<victim@far.example>" DATA QUIT
            lab_settle
            that "form $id: the local recipient has it" equal "$(lab_mailbox_count taro)" $((had + 1)) ;;
        C12)
            ask "form $id" 550 relay-denied --source 203.0.113.73 "HELO x" \
                "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" RSET \
                "MAIL FROM:<hanako@example.jp>" "RCPT TO:<victim@far.example>" DATA QUIT ;;
        C14)
            for last in 1 2 3 4 5 6 7 8; do
                ask "form $id" 550 relay-denied --source "203.0.115.$last" "HELO x" \
                    "MAIL FROM:$sender" "RCPT TO:$recipient" DATA QUIT
            done ;;
        M00)
            form "$id" '5[0-9][0-9]' '.*' tester-name "$sender" "$recipient" ;;
        *)
            form "$id" '5[0-9][0-9]' '.*' tester.example "$sender" "$recipient" ;;
        esac
    done < <(forms_table)
    sink_as_permitted "relay forms"
else
    echo "relay forms: no $forms, left out"
    left_out=$((left_out + 1))
fi

# ---------------------------------------------------------------- hostile strings in every field

# Postfix takes some of them and refuses others: what counts is the log and the replies.
if [ -r "$hostile" ]; then
    "$lab_python" - "$hostile" >"$lab/hostile" <<-'END'
	import json, sys
	def octets(case):
	    text = bytes.fromhex(case["hex"])
	    if "repeat_to" in case:
	        head = bytes.fromhex(case.get("prefix_hex", ""))
	        text = (head + text * case["repeat_to"])[:case["repeat_to"]]
	    return text
	for case in json.load(open(sys.argv[1], encoding="utf-8"))["cases"]:
	    # What can stand in one SMTP line that Postfix reads as one.
	    text = octets(case)[:900].translate(None, b"\r\n\0")
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
# Before our words Postfix puts "<recipient>: Recipient address rejected: ", which is its own.
that "only printable ASCII in a reply of ours" equal "$("$lab_python" - "$record" <<'END'
import json, sys
print(sum(1 for line in open(sys.argv[1]) for reply in [json.loads(line)]
          for text in [reply["text"].rpartition("Recipient address rejected: ")[2]]
          if reply["reason"] and not (text.isascii() and text.isprintable())))
END
)" 0

# ---------------------------------------------------------------- an edit is in force within two seconds

lab_sql "INSERT INTO client_host(range, note) VALUES ('203.0.113.200', 'new machine')" || bad "insert"
sleep 2.2
ask "a new client host" 250 - --source 203.0.113.200 "HELO new" "MAIL FROM:<hanako@example.jp>" \
    "RCPT TO:<friend@far.example>" DATA QUIT
office_got_out
lab_sql "DELETE FROM client_host WHERE note = 'new machine'" || bad "delete"
sleep 2.2
ask "no longer a client host" 550 relay-denied --source 203.0.113.200 "HELO new" \
    "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" DATA QUIT
lab_sql "INSERT INTO ip_range(range, verdict, note)
    VALUES ('220.86.126.1-220.86.126.255', 'reject', 'the attack')" || bad "insert"
sleep 2.2
ask "a listed client" 550 client-listed --source 220.86.126.200 "HELO x" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<taro@example.jp>" QUIT
ask "a listed client to postmaster" 250 - --source 220.86.126.200 "HELO x" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<postmaster@example.jp>" DATA QUIT
ask "a listed client to postmaster and out" 550 relay-denied --source 220.86.126.200 "HELO x" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<postmaster@example.jp>" "RCPT TO:<victim@far.example>" QUIT
sink_as_permitted "edits"

# ---------------------------------------------------------------- the filter stopped, killed, frozen

lab_stop_sekisho
that "sekisho-milter ends with status 0 on TERM" equal "$lab_sekisho_status" 0
all_deferred "filter stopped"
lab_start_sekisho
all_work "filter started again"
kill -KILL "$lab_sekisho_pid"
wait "$lab_sekisho_pid" 2>/dev/null
all_deferred "filter killed"
lab_start_sekisho
all_work "filter started over its own remains"

# Frozen: Postfix waits 30 s for a filter; so the sessions run side by side.
kill -STOP "$lab_sekisho_pid"
frozen=()
i=0
while IFS='|' read -r source port steps; do
    i=$((i + 1))
    # shellcheck disable=SC2086  # the arguments are parted by spaces, the steps by "|" below
    (
        IFS='|' read -r -a step <<<"$steps"
        lab_session --brief --timeout 120 --source $source --port $port "${step[@]}" >"$lab/frozen.$i"
    ) &
    frozen+=($!)
done <<'END'
203.0.113.66|25|HELO x|MAIL FROM:<x@third.example>|RCPT TO:<victim@far.example>|DATA|QUIT
198.51.100.77|25|HELO x|MAIL FROM:<x@third.example>|RCPT TO:<taro@example.jp>|DATA|QUIT
192.0.2.5|25|HELO x|MAIL FROM:<hanako@example.jp>|RCPT TO:<friend@far.example>|DATA|QUIT
203.0.113.9|587|EHLO x|STARTTLS|EHLO x|AUTH taro taro-secret|MAIL FROM:<taro@example.jp>|RCPT TO:<friend@far.example>|DATA|QUIT
END
wait "${frozen[@]}"
for i in 1 2 3 4; do
    that "filter frozen: session $i is deferred, got $(cut -c 1-200 "$lab/frozen.$i")" grep -q '^4' "$lab/frozen.$i"
done
kill -CONT "$lab_sekisho_pid"
sleep 1
sink_as_permitted "filter frozen"
all_work "filter thawed"

# ---------------------------------------------------------------- without the smtpd_milters line

cp "$lab_conf/main.cf" "$lab_conf/main.cf.whole"
postconf -c "$lab_conf" -X smtpd_milters
lab_reload_postfix
that "the filter is out of main.cf" equal "$(postconf -c "$lab_conf" -h smtpd_milters)" ""
stranger_out "no smtpd_milters" 550 relay-denied
stranger_in "no smtpd_milters" 250 -
office_out "no smtpd_milters" 250 -
office_got_out
login_out "no smtpd_milters" 550 identity-receive-only postmaster postmaster@example.jp
ask "no smtpd_milters: 2004" 550 relay-denied --source 220.86.127.1 "HELO mail.example.jp" \
    "MAIL FROM:<taro@example.jp>" "RCPT TO:<victim@far.example>" DATA QUIT
ask "no smtpd_milters: percent hack" 550 address-routed --source 203.0.113.66 "HELO x" \
    "MAIL FROM:<x@third.example>" "RCPT TO:<victim%far.example@example.jp>" DATA QUIT
sink_as_permitted "no smtpd_milters"
cp "$lab_conf/main.cf.whole" "$lab_conf/main.cf"
lab_reload_postfix
all_work "smtpd_milters again"

# ---------------------------------------------------------------- without the permit door

mv "$lab_queue/sekisho/permit.sock" "$lab_queue/sekisho/permit.away"
# An smtpd that has talked to the door keeps its connection; a new one has none.
lab_reload_postfix
stranger_in "no door" 250 -
stranger_out "no door" '4[0-9][0-9]' -
office_out "no door" '4[0-9][0-9]' -
login_out "no door" '4[0-9][0-9]' - taro taro@example.jp
sink_as_permitted "no door"
mv "$lab_queue/sekisho/permit.away" "$lab_queue/sekisho/permit.sock"
lab_reload_postfix
all_work "door again"

# ---------------------------------------------------------------- the record

that "2004 was refused in our words" [ "$(grep -c '"reason": "relay-denied"' "$record")" -ge $((before + 100)) ]
"$lab_python" - "$record" "$lab_log" <<'END' >"$lab/numbers" || bad "the record could not be read"
import collections, json, re, sys
numbers = [reply["number"] for reply in map(json.loads, open(sys.argv[1])) if reply["number"]]
log = open(sys.argv[2], encoding="utf-8", errors="backslashreplace").read().splitlines()
lines = collections.Counter(int(m.group(1)) for line in log for m in [re.search(r" decision=(\d+) action=", line)] if m)
twice = [n for n, count in collections.Counter(numbers).items() if count > 1]
unlogged = [n for n in set(numbers) if lines[n] != 1]
print(len(numbers), len(twice), len(unlogged), sum(1 for count in lines.values() if count > 1))
if twice or unlogged:
    print("twice in replies:", twice[:5], "not exactly once in the log:", unlogged[:5], file=sys.stderr)
END
read -r numbers twice unlogged log_twice <"$lab/numbers"
that "replies carry numbers" [ "${numbers:-0}" -ge 100 ]
that "no number was told twice" equal "${twice:-?}" 0
that "each number told stands in exactly one line of the log" equal "${unlogged:-?}" 0
that "no number stands in two lines of the log" equal "${log_twice:-?}" 0
that "Postfix has no fault to report" equal "$(grep -cE ' (panic|fatal): ' "$lab_maillog")" 0
if grep -E ' (panic|fatal): ' "$lab_maillog" | head -n 5; then :; fi
that "no sanitizer has spoken" equal "$(grep -cE 'ERROR: AddressSanitizer|runtime error:|ThreadSanitizer' "$lab_log")" 0
that "sekisho-milter is still the process that was started last" [ -d "/proc/$lab_sekisho_pid" ]
lab_stop_sekisho
that "sekisho-milter ends with status 0 at the end" equal "$lab_sekisho_status" 0
that "no sanitizer has spoken at the end" equal "$(grep -cE 'ERROR: (Address|Leak)Sanitizer' "$lab_log")" 0
if [ $failed -ne 0 ]; then
    grep -E 'Sanitizer|runtime error' -A 12 "$lab_log" | head -n 40
fi

# ---------------------------------------------------------------- the README's own command

if timeout 300 "$top/contrib/postfix/try" --build-dir "$build" >"$lab/try" 2>&1; then
    ok
else
    bad "contrib/postfix/try --build-dir $build"
    cat "$lab/try"
fi

finished=yes
