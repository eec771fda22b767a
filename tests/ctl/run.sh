#!/bin/bash
# The administrator's tool, called as its user would: what it says, how it ends, its JSON.
# SPDX-License-Identifier: BSD-2-Clause
#
# shellcheck disable=SC2086  # the words of a session are a list
#
# run.sh BUILD: the folder with ctl/sekisho and milter/sekisho-milter. One line for each failed
# case, last "N passed, N failed"; exit status 1 if one failed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: run.sh BUILD}" && pwd) || exit 1
tool=$build/ctl/sekisho
work=$(mktemp -d) || exit 1
daemon=
cleanup()
{
    [ -z "$daemon" ] || kill "$daemon" 2> /dev/null
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1
# shellcheck source=tests/ctl/lib.sh
. "$here/lib.sh"


# run WORD...: calls the tool; its output is in out and err, how it ended in ended.
run()
{
    "$tool" --policy policy.db --state state/state.db "$@" > out 2> err
    ended=$?
    if grep -q 'Sanitizer\|runtime error' err; then fail "$*: $(cat err)"; fi
}
golden() { # WHAT FILE: the output is this file, letter for letter
    if diff -u "$here/$2" out > difference; then pass; else fail "$1: $(cat difference)"; fi
}
json() { # WHAT PYTHON...: the output is JSON, and each expression is true of it (j)
    local what=$1 expression
    shift
    if ! python3 -m json.tool < out > /dev/null 2>&1; then
        fail "$what: no JSON: $(cat out err)"
        return
    fi
    python3 - "$@" > trace 2>&1 <<'END'
import json, sys
j = json.load(open("out"))
for expression in sys.argv[1:]:
    try:
        good, why = eval(expression), ""
    except Exception as error:
        good, why = False, repr(error)
    print("ok" if good else f"not so: {expression} {why}")
END
    passed=$((passed + $(grep -c '^ok$' trace)))
    if grep -vx ok trace > difference; then
        while read -r expression; do fail "$what: $expression"; done < difference
    fi
}

# ---- the words in front ---------------------------------------------------------------------
run; ends "no verb" 2; says "no verb" "sekisho: no verb" "usage: sekisho"
run --help; ends "help" 0; says "help" explain prove status check init --help --version
run --version; ends "version" 0; says "version" "sekisho 0."
run frobnicate; ends "unknown verb" 2; says "unknown verb" "frobnicate: not a verb"
run --frobnicate; ends "unknown option" 2
for verb in check prove status; do
    run $verb please; ends "$verb with a word" 2; says "$verb with a word" "please: $verb takes no arguments"
done

# ---- no policy, or none that will do --------------------------------------------------------
session="--client 198.51.100.9 --from a@example.org --to taro@example.jp"
for verb in check prove "explain $session"; do
    run $verb; ends "no file: $verb" 4; says "no file: $verb" "policy.db: No such file or directory; sekisho init makes one"
    : > policy.db
    run $verb; ends "empty file: $verb" 3; says "empty file: $verb" "is empty"
    run --json $verb; ends "empty file: $verb --json" 3
    json "empty file: $verb --json" 'j["ok"] is False' '"is empty" in j["error"]'
    rm policy.db
    mkdir policy.db
    run $verb; ends "a folder: $verb" 3; says "a folder: $verb" "not a file but a folder"
    rmdir policy.db
done

# ---- init and check -------------------------------------------------------------------------
while IFS='|' read -r words want; do
    run init $words; ends "init $words" 2; says "init $words" "sekisho: $want"
done <<'END'
|--domain is missing; init takes --domain D ... [--hostname H]
--domain|--domain needs a value; init takes
--domain example.jp --frob|--frob is not an option of init; init takes
example.jp|example.jp is not an option of init; init takes
--domain bad_name!|bad_name!: not a domain name
END
run --policy absent/policy.db init --domain example.jp
ends "init without a folder" 2; says "init without a folder" "cannot be made: No such file or directory; make its folder first"
run init --domain example.jp --hostname mail.example.jp; ends init 0; says init "closed to strangers"
run init --domain example.jp; ends "init twice" 1; says "init twice" "exists already"
run check; ends check 0; says check "policy.db: good"
run check --json; ends "check --json" 0; json "check --json" 'j["ok"]' 'j["battery"] > 400' 'j["faults"] == []'
cp policy.db fresh.db
if [ "$(id -u)" != 0 ]; then
    chmod 0 policy.db
    run prove; ends "unreadable: prove" 4; says "unreadable: prove" "cannot be opened"
    chmod 640 policy.db
fi

db policy.db "
INSERT INTO client_host(range,expires) VALUES('192.0.2.0/28',NULL),('192.0.2.77','2026-12-01 00:00:00');
INSERT INTO ip_range(range) VALUES('220.86.126.1-220.86.126.255'),('203.0.113.66');
INSERT INTO ip_range(range,verdict) VALUES('203.0.113.80/28','tempfail');
INSERT INTO exemption(range,\"check\",sender) VALUES('203.0.113.5','sender','@example.jp');
INSERT INTO identity(name,may_send) VALUES('jiro',0);
INSERT INTO identity_host(identity,range) VALUES('hanako','10.0.0.0/8');
INSERT INTO spam_trap(address) VALUES('trap@example.jp');"

# ---- explain: a session ---------------------------------------------------------------------
at="--at 2026-11-24T03:00:00Z"
explain() { run explain $at "$@"; }

explain --client 220.86.126.33 --helo mail.example.jp --from '<info@example.jp>' --to '<x@elsewhere.example>'
ends "2004" 1; golden "2004" golden-2004.txt
explain --client 203.0.113.5 --helo a.example --from '<taro@example.jp>' --to '<taro@example.jp>'
ends "forwarder" 0; golden "forwarder" golden-forwarder.txt
explain --client 198.51.100.9 --helo a.example --login hanako --from '<>' --to '<x@elsewhere.example>'
ends "wrong host" 1; golden "wrong host" golden-wrong-host.txt

# reason TAB edit TAB what it leads to (- none, ? not tried) TAB words; each edit is then pasted and must do what was said
while IFS=$'\t' read -r reason edit leads words; do
    [ -n "$reason" ] || continue
    cp policy.db before.db
    eval "explain $words"
    ends "$reason: $words" 1
    says "$reason" "answer  " ", $reason, " "[sekisho $reason]" "cause   " "remedy  "
    says "$reason" "edit    $edit"
    case $leads in
    -) silent "$reason" "then: " "not tried" ;;
    \?) says "$reason" "not tried in memory" ;;
    *pass-*) says "$reason" "then: $leads"; silent "$reason" "first of several" ;;
    *) says "$reason" "then: $leads; so this is only the first of several obstacles" ;;
    esac
    eval "explain $words --json"
    ends "$reason --json" 1
    json "$reason --json" 'j["ok"] is False' "j['reason'] == '$reason'" 'len(j["checks"]) == 11' \
        'j["reply"]["code"][0] == j["reply"]["enhanced"][0]' "'#' not in j['reply']['text']"
    case $edit in
    none*) json "$reason --json" 'j["edit"] is None' ;;
    *)
        printf '%s\n' "$edit" > pasted
        python3 -c 'import json; print(json.load(open("out"))["edit"]["sql"])' > line
        if cmp -s line pasted; then pass; else fail "$reason: JSON has the edit $(cat line)"; fi
        if db policy.db < line 2> trace; then pass; else fail "$reason: $(cat line): $(cat trace)"; fi
        eval "explain $words --json"
        if [ "$leads" = '?' ]; then
            json "$reason, pasted" "j['reason'] != '$reason'"
        else
            json "$reason, pasted" "'$leads' == j['action'] + ', ' + j['reason']"
        fi
        ;;
    esac
    cp before.db policy.db
done <<'END'
relay-denied	INSERT INTO client_host(range) VALUES('198.51.100.9');	accept, pass-client-host	--client 198.51.100.9 --from a@example.org --to x@elsewhere.example
relay-denied	INSERT INTO client_host(range) VALUES('2001:db8::9');	accept, pass-client-host	--client IPv6:2001:db8::9 --from a@example.org --to x@elsewhere.example
relay-denied	UPDATE client_host SET expires=NULL WHERE id=4;	accept, pass-client-host	--client 192.0.2.77 --from a@example.org --to x@elsewhere.example --at '2026-12-01 00:00:00'
relay-denied	INSERT INTO local_domain(domain) VALUES('elsewhere.example');	accept, pass-local	--client unknown --from a@example.org --to x@elsewhere.example
relay-denied	none	-	--client unknown --from a@example.org --to 'x@[192.0.2.200]'
address-routed	INSERT INTO client_host(range) VALUES('198.51.100.9');	accept, pass-client-host	--client 198.51.100.9 --from a@example.org --to 'x%elsewhere.example@example.jp'
address-malformed	none	-	--client 192.0.2.1 --from a@example.org --to 'x@y@example.jp'
client-listed	INSERT INTO ip_range(range,verdict) VALUES('220.86.126.33','accept');	accept, pass-local	--client 220.86.126.33 --from a@example.org --to taro@example.jp
client-listed	INSERT INTO exemption(range,"check") VALUES('203.0.113.66','listed');	accept, pass-local	--client 203.0.113.66 --from a@example.org --to taro@example.jp
client-deferred	INSERT INTO ip_range(range,verdict) VALUES('203.0.113.81','accept');	reject, relay-denied	--client 203.0.113.81 --from a@example.org --to x@elsewhere.example
sender-spoofed	INSERT INTO exemption(range,"check",sender) VALUES('198.51.100.9','sender','info@example.jp');	reject, helo-our-name	--client 198.51.100.9 --helo example.jp --from Info@Example.JP --to taro@example.jp
sender-spoofed	INSERT INTO exemption(range,"check") VALUES('198.51.100.9','sender');	accept, pass-local	--client 198.51.100.9 --from '<root>' --to taro@example.jp
helo-our-name	INSERT INTO exemption(range,"check") VALUES('198.51.100.9','helo');	accept, pass-local	--client 198.51.100.9 --helo '[198.51.100.1]' --listener 198.51.100.1 --from a@example.org --to taro@example.jp
helo-our-name	INSERT INTO exemption(range,"check") VALUES('198.51.100.9','helo');	accept, pass-local	--client 198.51.100.9 --helo mx.example.net --host mx.example.net --from a@example.org --to taro@example.jp
spam-trap	INSERT INTO exemption(range,"check") VALUES('198.51.100.9','trap');	accept, pass-local	--client 198.51.100.9 --from a@example.org --to trap@example.jp
identity-may-not-send	UPDATE identity SET may_send=1 WHERE id=2;	?	--client 198.51.100.9 --login jiro --from jiro@example.jp --to x@elsewhere.example
identity-wrong-host	INSERT INTO identity_host(identity,range) VALUES('hanako','198.51.100.9');	accept, pass-identity	--client 198.51.100.9 --login hanako --from hanako@example.jp --to x@elsewhere.example
identity-wrong-host	INSERT INTO identity_host(identity,range) VALUES('hanako','198.51.100.9');	reject, sender-not-yours	--client 198.51.100.9 --login hanako --from taro@example.jp --to x@elsewhere.example
sender-not-yours	INSERT INTO identity_sender(identity,sender) VALUES('taro','info@example.jp');	accept, pass-identity	--client 198.51.100.9 --login taro --from info@example.jp --to x@elsewhere.example
sender-not-yours	INSERT INTO identity_sender(identity,sender) VALUES('o''neil','info@example.jp');	accept, pass-identity	--client 198.51.100.9 --login "o'neil" --from info@example.jp --to x@elsewhere.example
identity-receive-only	none	-	--client 198.51.100.9 --login postmaster --from taro@example.jp --to x@elsewhere.example
END

# an edit that would open the relay is not offered
explain --client unknown --from a@example.org --to x@sekisho-proof-5d1e.com
ends "an opening edit" 1
says "an opening edit" "edit    none" "VALUES('sekisho-proof-5d1e.com'); would be refused: open relay"

# rows that go out of force: the same session at two moments
run explain --client 192.0.2.77 --from a@example.org --to x@elsewhere.example --at '2026-11-30 23:59:59'
ends "before it expires" 0; says "before it expires" "pass-client-host, by client_host 4 (192.0.2.77)"
run explain --client 192.0.2.77 --from a@example.org --to x@elsewhere.example --at '2026-12-01T00:00:00Z'
ends "expired" 1; says "expired" "relay-denied"

# a pass, and what would end it
explain --client 192.0.2.1 --from a@example.org --to x@elsewhere.example
ends "client host" 0; says "client host" "judged as client-host to a recipient elsewhere" \
    "edit    INSERT INTO ip_range(range,verdict) VALUES('192.0.2.1','reject');" "then: reject, client-listed" \
    "door    accept, pass-client-host"
silent "client host" "reply   " "cause   "
explain --client 198.51.100.9 --login taro --from taro@example.jp --to x@elsewhere.example
ends "login" 0; says "login" "INSERT INTO identity(name,may_send) VALUES('taro',0);" "then: reject, identity-may-not-send"
explain --client 198.51.100.9 --login taro --from '' --to x@elsewhere.example
ends "observed" 0; says "observed" "6 null-sender  only observed, by check_mode 6; otherwise sender-null"

# the tables once more, otherwise: no row *, an enforced check, a check that is off, a full client_host
cp policy.db before.db
db policy.db "DELETE FROM identity WHERE name='*'; UPDATE check_mode SET mode='enforce' WHERE id=6;
    UPDATE check_mode SET mode='off' WHERE \"check\"='helo'; UPDATE setting SET value='0' WHERE name='client_host_most';
    DELETE FROM client_host WHERE id>2; INSERT INTO identity(name,expires) VALUES('gone','2026-01-01 00:00:00'),('saburo',NULL);
    UPDATE setting SET value='https://example.jp/why' WHERE name='help_url'"
explain --client 198.51.100.9 --login taro --from taro@example.jp --to x@elsewhere.example
ends "unknown login" 1; says "unknown login" identity-unknown "INSERT INTO identity(name) VALUES('taro');" "then: accept, pass-identity"
says "help_url" "[sekisho identity-unknown] https://example.jp/why"
explain --client 198.51.100.9 --login gone --from gone@example.jp --to x@elsewhere.example
ends "expired login" 1; says "expired login" "UPDATE identity SET expires=NULL WHERE name='gone';" "not tried in memory"
explain --client 198.51.100.9 --login '*' --from gone@example.jp --to x@elsewhere.example
ends "login *" 1; says "login *" identity-unknown "edit    none"
# what steers a terminal stands nowhere as it is, least of all in a line that is to be copied
for steering in $'\xe2\x80\xae' $'\xc2\x9b31m'; do
    explain --client 198.51.100.9 --login "太郎$steering" --from gone@example.jp --to x@elsewhere.example
    ends "login that steers" 1; says "login that steers" identity-unknown "edit    none"; silent "login that steers" "$steering"
    explain --client 198.51.100.9 --login "太郎$steering" --from gone@example.jp --to x@elsewhere.example --json
    ends "login that steers, in JSON" 1; silent "login that steers, in JSON" "$steering"
    says "login that steers, in JSON" '"login": "太郎\u'; json "login that steers" 'j["edit"] is None' 'j["reason"] == "identity-unknown"'
done
explain --client 198.51.100.9 --login "太郎" --from gone@example.jp --to x@elsewhere.example
says "login in Japanese" "INSERT INTO identity(name) VALUES('太郎');"
explain --client 198.51.100.9 --login saburo --from '<>' --to x@elsewhere.example
ends "enforced null sender" 1; says "enforced null sender" sender-null "UPDATE check_mode SET mode='observe' WHERE id=6;"
explain --client 198.51.100.9 --helo example.jp --from a@example.org --to taro@example.jp
ends "helo off" 0; says "helo off" "7 helo         off, by check_mode 7"
explain --client 9.9.9.9 --from a@example.org --to 'x@[192.0.2.200]'
ends "full client_host" 1
says "full client_host" "edit    none" "would be refused: client_host (new): with 9.9.9.9 all client hosts together hold 1"
explain --client 9.9.9.9 --from a@example.org --to 'x@[192.0.2.200]' --json
json "full client_host --json" 'j["edit"] is None' '"(new)" in j["edit_refused"]'
cp before.db policy.db

# the door refuses what the milter would let pass
db policy.db "UPDATE check_mode SET mode='off' WHERE \"check\"='identity'"
explain --client 198.51.100.9 --login jiro --from jiro@example.jp --to x@elsewhere.example
ends "door refuses" 1; says "door refuses" "answer  accept, pass-identity" \
    "door    reject, identity-may-not-send: 550 5.7.1" "cause   The identity row" "UPDATE identity SET may_send=1 WHERE id=2;"
explain --client 198.51.100.9 --login jiro --from jiro@example.jp --to taro@example.jp
ends "door not asked" 0; says "door not asked" "the MTA need not ask: the recipient is local"
cp before.db policy.db

# hostile texts come out harmless, and as JSON
bad=$'a\033[2J"\\\302\233\377'
explain --client 198.51.100.9 --helo "$bad" --login "$bad" --from "$bad" --to "$bad"
ends "hostile" 1
if LC_ALL=C grep -q '[^ -~]' out err; then fail "hostile: raw bytes come out"; else pass; fi
explain --client 198.51.100.9 --helo "$bad" --login "$bad" --from "$bad" --to "$bad" --json
ends "hostile --json" 1; json "hostile --json" 'j["reason"] == "address-malformed"'
explain --client 198.51.100.9 --login "$bad" --from x@example.jp --to taro@example.org
ends "hostile login" 1; says "hostile login" sender-not-yours "edit    none"
explain --client 198.51.100.9 --login "$(printf '%05000d' 7)" --from x@example.jp --to taro@example.org
ends "long login" 1

# ---- explain: bad words ---------------------------------------------------------------------
refuses() { # SENTENCE WORD...
    local sentence=$1
    shift
    run explain "$@"; ends "$*" 2; says "$*" "$sentence"
    run --json explain "$@"; ends "$* --json" 2; json "$* --json" 'j["ok"] is False' 'j["error"]'
}
run explain; ends "explain alone" 2; says "explain alone" "explain takes --client IP"
refuses "--client 1.2.3: not an IP address" --client 1.2.3 --from a@b.example --to c@d.example
refuses "--client 192.0.2.0/24: not an IP address" --client 192.0.2.0/24 --from a@b.example --to c@d.example
refuses "--listener x: not an IP address" --client 192.0.2.1 --listener x --from a@b.example --to c@d.example
refuses "--client is missing" --from a@b.example --to c@d.example
refuses "--from (the empty sender is '<>') is missing" --client 192.0.2.1 --to c@d.example
refuses "--to is missing" --client 192.0.2.1 --from a@b.example
refuses "--client needs a value" --client
refuses "--colour is not an option of explain" --colour red
refuses "more is not an option of explain" --client 192.0.2.1 --from a@b.example --to c@d.example more
for time in tomorrow 2026-02-30T00:00:00Z '2026-11-24' '2026-11-24 25:00:00' '2026-11-24T03:00:00' '2026-11-24 03:00:00Z' ' 2026-1-24 03:00:0'; do
    refuses "--at $time: write UTC" --client 192.0.2.1 --from a@b.example --to c@d.example --at "$time"
done

# ---- explain: a reason, a number ------------------------------------------------------------
run explain no-such-reason; ends "unknown reason" 2; says "unknown reason" "no-such-reason: not a reason"
reasons=$(sed -n 's/^  \([a-z-]*\) .*/\1/p' err)
if [ "$(echo "$reasons" | wc -l)" = 32 ]; then pass; else fail "32 reasons: $reasons"; fi
run explain no-such-reason --json; ends "unknown reason --json" 2; json "unknown reason --json" 'len(j["reasons"]) == 32'
for reason in $reasons; do
    run explain "$reason"; ends "$reason" 0; says "$reason" "$reason: " "cause   "
    case $reason in
    pass-*) says "$reason" "$reason: accept" ;;
    *) says "$reason" "remedy  " ;;
    esac
    run explain "$reason" --json
    json "$reason --json" "j['reason'] == '$reason'" 'j["action"] == "accept" or j["code"][0] == j["enhanced"][0]'
done
run explain relay-denied; says "relay-denied" "reject, 550 5.7.1 Relaying denied: not a client host and not logged in"
run explain 48213; ends "a number" 4; says "a number" "is not there; sekisho-milter makes it" "state/state.db"
run explain '#48213'; ends "#number" 4; says "#number" "state/state.db"
run explain 48213 --json; ends "a number --json" 4; json "a number --json" 'j["ok"] is False'

# ---- prove ----------------------------------------------------------------------------------
run prove; ends prove 0
cases=$(grep -c '^held  ' out)
says prove "policy.db: held, $cases forged sessions of strangers were refused" "<\"%U@%E\"@%D>" "client 192.0.2.16"
silent prove OPEN
if [ "$cases" -gt 400 ]; then pass; else fail "prove: $cases cases"; fi
run prove --json; ends "prove --json" 0
json "prove --json" 'j["ok"]' "j['cases'] == len(j['battery']) == $cases" 'j["open"] == 0' 'all(c["held"] for c in j["battery"])'
db policy.db "INSERT INTO local_domain(domain) VALUES('sekisho-proof-5d1e.com')"
run prove; ends "prove: open" 1
says "prove: open" "OPEN  pass-local" ", opened by local_domain 2 (sekisho-proof-5d1e.com" "policy.db: NOT HELD"
run prove --json; ends "prove --json: open" 1
json "prove --json: open" 'j["open"] > 0' 'j["open"] == sum(not c["held"] for c in j["battery"])' '"local_domain 2" in j["fault"]'
run explain $session; ends "explain: open" 3; says "explain: open" "open relay" "would not come into force"
db policy.db "DELETE FROM local_domain WHERE id=2; INSERT INTO client_host(range) VALUES('0.0.0.0/1'),('128.0.0.0/1')"
for verb in check prove "explain $session"; do
    run $verb; ends "$verb: too wide" 3; says "$verb: too wide" "all client hosts together hold"
done
cp before.db policy.db

# ---- status ---------------------------------------------------------------------------------
run status; ends "no daemon" 4; says "no daemon" "not running"
run status --json; ends "no daemon --json" 4; json "no daemon --json" 'j["running"] is False' 'j["ok"] is False'
cp fresh.db policy.db
start()
{
    "$build/milter/sekisho-milter" --policy policy.db --state state/state.db --socket unix:milter.sock \
        --permit unix:permit.sock --stderr 2>> log &
    daemon=$!
}
stop()
{
    kill "$daemon"
    wait "$daemon"
    daemon=
}
becomes() { # WHAT CODE TEXT: within 5 seconds the status is this
    for _ in {1..50}; do
        run status
        if [ "$ended" = "$2" ] && grep -qF -- "$3" out; then break; fi
        sleep 0.1
    done
    ends "$1" "$2"
    says "$1" "$3"
}
start
becomes "daemon" 0 "daemon   running, pid $daemon, since 2"
says "daemon" "policy   generation 1 in force since 2" "from policy.db" "refused  nothing since it started" \
    "state    can be written" "reserved up to 1000001"
rows=$(run check --json; python3 -c 'import json; print(json.load(open("out"))["rows"])')
run status --json; ends "daemon --json" 0
json "daemon --json" 'j["ok"] and j["running"]' "j['pid'] == $daemon" "j['rows'] == $rows" 'j["bytes"] > 1000' \
    'j["refused"] is False' 'j["refused_at"] is None' 'j["origin"] == "policy.db"'
db policy.db "PRAGMA ignore_check_constraints=1; INSERT INTO own_name(name) VALUES('a \"b\\ c')"
becomes "a refused edit" 1 "refused  2"
says "a refused edit" "own_name 2: name a \\x22b\\x5c c is not a domain name" "policy   generation 1 in force"
silent "a refused edit" "mended"
run status --json; ends "a refused edit --json" 1; json "a refused edit --json" 'j["refused"]' '"own_name 2" in j["refusal"]'
db policy.db "DELETE FROM own_name WHERE id=2"
becomes "mended" 0 "(mended since)"
says "mended" "policy   generation 2 in force" "own_name 2"
rm policy.db
becomes "policy gone" 1 "No such file"
for _ in {1..200}; do run status; [ "$ended" = 1 ] || break; done
ends "200 looks" 1
stop
run status; ends "stopped" 4; says "stopped" "daemon   not running; what follows was so"
# two hundred looks at the lock while a daemon starts
( for _ in {1..200}; do "$tool" --state state/state.db status > /dev/null; done ) &
looks=$!
start
becomes "last good" 1 "the last good one, kept in the state directory"
wait $looks
if kill -0 "$daemon"; then pass; else fail "the looks kept the daemon from starting: $(tail -3 log)"; fi
stop
# somebody looks at the lock at the very moment the daemon takes it
flock -s state/lock sleep 0.05 &
start
becomes "a look at the lock" 1 "daemon   running, pid $daemon,"
stop
# what the daemon before wrote is not told as if it were so now
mkdir state/status.json.new
start
becomes "no status" 1 "running, but it has written no status"
rmdir state/status.json.new
becomes "a late status" 1 "daemon   running, pid $daemon,"
stop
rm -r state
start
becomes "no policy" 1 "policy   none in force"
stop
printf '{"pid": "x"' > state/status.json
run status; ends "damaged status" 4
run status --json; ends "damaged status --json" 4; json "damaged status --json" '"status.json" in j["error"]'

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
