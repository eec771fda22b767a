#!/usr/bin/env bash
# sekisho replay: what real sessions met, judged again by policies that differ in one row each.
# SPDX-License-Identifier: BSD-2-Clause
# usage: replay.sh BUILD
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd) || exit 2
work=$(mktemp -d) || exit 1
daemon=
trap '[ -z "$daemon" ] || { kill -9 "$daemon"; wait "$daemon"; } 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
# shellcheck source=tests/ctl/lib.sh
. "$here/lib.sh"
mkdir state

run()
{
    timeout 60 "$build/ctl/sekisho" --policy policy.db --state "${state:-state/state.db}" "$@" > out 2> err
    ended=$?
    if grep -q 'Sanitizer\|runtime error' err; then fail "$*: $(cat err)"; fi
}
json() { # WHAT PYTHON...: each expression is true; j is the answer, d(...) its differences as short texts
    local what=$1
    shift
    python3 -B - "$@" > trace 2>&1 <<'END'
import json, sys
j = json.load(open("out"))
def d(*names):
    """(recipient's local part, what it would be) of each difference, in order."""
    return [(x["decision"]["to"].strip("<>").split("@")[0], x["would"]["reason"]) for x in j["differences"]]
for expression in sys.argv[1:]:
    try:
        good, why = eval(expression), ""
    except Exception as error:
        good, why = False, repr(error)
    print("ok" if good else f"not so: {expression} {why} in {json.dumps({k: v for k, v in j.items() if k != 'differences'})}")
    if not good:
        print("not so:   the list was", d() if "differences" in j else None)
END
    grep -q . trace || fail "$what: nothing was asked"
    passed=$((passed + $(grep -c '^ok$' trace)))
    if grep -vx ok trace > difference; then
        while read -r line; do fail "$what: $line"; done < difference
    fi
}
# replay WHAT CODE SQL [OPTION...]: by a copy of the policy that this SQL has changed, in JSON
replay()
{
    local what=$1 code=$2 sql=$3
    shift 3
    cp policy.db candidate.db
    db candidate.db "$sql" || fail "$what: the SQL"
    run --json replay --with candidate.db "$@"
    ends "$what" "$code"
}
start()
{
    "$build/milter/sekisho-milter" --policy policy.db --state state/state.db --socket unix:m.sock \
        --permit unix:p.sock --stderr 2>> log &
    daemon=$!
    for _ in $(seq 100); do
        [ -S p.sock ] && run status && [ "$ended" = 0 ] && return
        sleep 0.1
    done
    fail "the daemon does not serve: $(cat log)"
    exit 1
}
recorded() { # N: so many decisions are in state.db
    for _ in $(seq 100); do
        [ "$(db state/state.db 'SELECT count(*) FROM decision')" -ge "$1" ] && return
        sleep 0.1
    done
    fail "$1 decisions are not recorded: $(db state/state.db 'SELECT count(*) FROM decision')"
}

# ---- words ----------------------------------------------------------------------------------
"$build/ctl/sekisho" --policy policy.db init --domain example.jp --hostname mail.example.jp > /dev/null || exit 1
while IFS='|' read -r words want; do
    run replay $words; ends "replay $words" 2; says "replay $words" "$want"
done <<'END'
|--with is missing; replay takes --with CANDIDATE
--with|--with needs a value
--with policy.db --frob|--frob is not an option of replay
--with policy.db more|more is not an option of replay
--with policy.db --since soon|--since soon: write 90s, 30m, 24h, 7d
--with policy.db --most -1|--most -1: write a number from 0 to 100000
--with policy.db --most 100001|write a number from 0 to 100000
--with policy.db --reason nonsense|not a reason
--with policy.db --since 1h --until 2h|--since is not before --until
END
run replay --with policy.db; ends "no state" 4; says "no state" "state.db"
db policy.db "INSERT INTO client_host(range) VALUES ('192.0.2.0/24');
    INSERT INTO spam_trap(address) VALUES ('trap@example.jp');
    INSERT INTO rate_limit(name, subject, who, counts, direction, allowed, seconds)
        VALUES ('login-hour', 'identity', 'saburo', 'recipients', 'out', 2, 3600);
    UPDATE setting SET value = '20' WHERE name = 'login_window_seconds'" || exit 1
start
run replay --with policy.db --since 1h; ends "nothing is recorded" 0; says "nothing is recorded" "0 decisions from"

# ---- sessions of the real daemon ------------------------------------------------------------
cat > sessions.py <<'END'
import subprocess, sys
sys.path.insert(0, sys.argv[1])
import wire
tool = sys.argv[2:]
serial = 0
def session(client, login=None, name=b"client.example"):
    milter = wire.Milter("m.sock")
    milter.connect(client)
    milter.helo(name)
    milter.login = login
    return milter
def message(milter, sender, *recipients, abort=False, answers=None, refused=None):
    """As Postfix: a queue id from the first recipient on that has passed."""
    global serial
    serial += 1
    queue, said = {"i": "Q%d" % serial}, []
    milter.mail(b"<%s>" % sender, login=milter.login, macros={})
    for recipient in recipients:
        macros = dict(queue) if "pass" in said else {}
        if refused:
            macros.update({"{rcpt_mailer}": "error", "{rcpt_host}": "5.1.1", "{rcpt_addr}": refused})
        said.append(milter.rcpt(b"<%s>" % recipient, macros)[0])
        if refused:
            said[-1] = "refused"
    if abort or "pass" not in said:
        milter.send(b"A")
    else:
        said.append(milter.end(queue)[0])
    print(*said)
    return said
def expect(want, said):
    if said != want.split():
        print("FAILED sessions: expected", want, "got", *said)
def ask(*words):
    done = subprocess.run(tool + list(words), capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        print("FAILED sessions:", *words, done.stdout, done.stderr)

host = session("192.0.2.10")
expect("pass pass", message(host, b"a@far.example", b"relayed@far.example"))
stranger = session("203.0.113.7")
expect("550", message(stranger, b"a@far.example", b"denied@elsewhere.example"))
expect("pass pass", message(stranger, b"a@far.example", b"welcome@example.jp"))
taro = session("198.51.100.9", "taro")
for n in range(1, 7):
    expect("pass pass", message(taro, b"taro@example.jp", b"burst%d@far.example" % n))
hanako = session("198.51.100.10", "hanako")
for n in range(1, 4):
    message(hanako, b"hanako@example.jp", b"given-back%da@far.example" % n, b"given-back%db@far.example" % n, abort=True)
for n in range(1, 3):
    expect("pass pass", message(hanako, b"hanako@example.jp", b"kept%d@far.example" % n))
saburo = session("198.51.100.11", "saburo")
for n in range(1, 3):
    expect("pass pass", message(saburo, b"saburo@example.jp", b"saburo%d@far.example" % n))
expect("450", message(saburo, b"saburo@example.jp", b"saburo3@far.example"))
ask("usage", "reset", "identity:saburo")
expect("pass pass", message(saburo, b"saburo@example.jp", b"saburo4@far.example"))
goro = session("198.51.100.12", "goro")
expect("pass pass pass pass", message(goro, b"goro@example.jp", b"goro1@far.example", b"goro2@far.example", b"goro3@far.example"))
expect("pass pass pass", message(goro, b"goro@example.jp", b"goro4@far.example", b"goro5@far.example"))
jiro = session("198.51.100.13", "jiro")
expect("pass pass pass pass", message(jiro, b"jiro@example.jp", b"same@far.example", b"SAME@far.example", b"other@far.example"))
expect("pass pass", message(jiro, b"jiro@example.jp", b"same@far.example"))
sales = session("198.51.100.14", "sales")
expect("pass pass", message(sales, b"sales@example.jp", b"customer@far.example"))
trapped = session("203.0.113.60")
expect("pass 550", message(trapped, b"a@far.example", b"before-trap@example.jp", b"trap@example.jp")[:2])
expect("550", message(trapped, b"a@far.example", b"blocked@example.jp"))
ask("block", "lift", "client:203.0.113.60")
expect("pass pass", message(trapped, b"a@far.example", b"lifted@example.jp"))
byhand = session("203.0.113.50")
ask("block", "add", "client:203.0.113.50", "--for", "1h")
expect("550", message(byhand, b"a@far.example", b"by-hand@example.jp"))
ask("block", "lift", "client:203.0.113.50")
expect("pass pass", message(byhand, b"a@far.example", b"by-hand-no-more@example.jp"))
ask("window", "open", "203.0.113.20", "--login", "kiku")
window = session("203.0.113.20")
expect("pass pass", message(window, b"kiku@example.jp", b"by-window@far.example"))
probing = session("203.0.113.80")
for n in range(1, 5):
    message(probing, b"a@far.example", b"unknown%d@example.jp" % n, refused="550 5.1.1 <unknown>: User unknown")
expect("pass pass", message(probing, b"a@far.example", b"known@example.jp"))
door = wire.Door("p.sock")
for n in range(1, 4):
    said = door.policy(client_address="203.0.113.70", sender="a@far.example", recipient="door%d@elsewhere.example" % n,
                       instance="1.%d" % n)
    if not said.startswith(b"550"):
        print("FAILED sessions: the door said", said)
END
python3 -B sessions.py "$here/../milter" "$build/ctl/sekisho" --policy policy.db --state state/state.db > said 2>&1 || fail "sessions: $(cat said)"
if grep FAILED said; then failed=$((failed + 1)); else pass; fi
recorded 42
total=$(db state/state.db 'SELECT count(*) FROM decision')

# ---- by policies that differ in one row, while the daemon runs --------------------------------
run replay --with policy.db; ends "the same policy" 0
says "the same policy" "$total decisions from" "       0  would be refused that passed" \
    "       0  would be deferred that passed" "       0  would pass that were refused or deferred" \
    "       0  would have another answer or reason"
replay "the same policy" 0 ""
json "the same policy" 'j["ok"]' "j['judged'] == $total" 'j["differ"] == 0' 'j["already"] == 0' 'j["only_in_force"] == 0' \
    'j["not_judged"] == 0' 'j["in_force_error"] is None' 'j["rows"] == []' 'j["differences"] == []'

replay "no client host" 1 "DELETE FROM client_host WHERE range = '192.0.2.0/24'"
json "no client host" 'd() == [("relayed", "relay-denied")]' 'j["counts"] == {"refused": 1, "deferred": 0, "passed": 0, "other": 0}' \
    'j["rows"][0]["row"] is None' 'j["differences"][0]["in_force"]["reason"] == "pass-client-host"' \
    'j["differences"][0]["decision"]["client"] == "192.0.2.10"' 'not j["ok"]'
run replay --with candidate.db; ends "no client host, as text" 1
says "no client host, as text" "       1  would be refused that passed" "       1  reject relay-denied, built in" \
    "accept pass-client-host -> reject relay-denied client=192.0.2.10 login=- from=<a@far.example> to=<relayed@far.example> row=\"built in\" queue=Q1"

replay "a row of ip_range" 1 "INSERT INTO ip_range(range) VALUES ('203.0.113.0-203.0.113.10')"
json "a row of ip_range" 'sorted(d()) == [("denied", "client-listed"), ("welcome", "client-listed")]' \
    'j["counts"]["refused"] == 1' 'j["counts"]["other"] == 1' 'j["rows"][0]["row"]["table"] == "ip_range"' \
    '"203.0.113.0-203.0.113.10" in j["rows"][0]["row"]["text"]'
replay "a narrower one" 0 "INSERT INTO ip_range(range) VALUES ('203.0.113.0-203.0.113.6')"
json "a narrower one" 'd() == []'
replay "one that defers" 1 "INSERT INTO ip_range(range, verdict) VALUES ('203.0.113.7', 'tempfail')"
json "one that defers" 'j["counts"] == {"refused": 0, "deferred": 1, "passed": 0, "other": 1}'
run replay --with candidate.db; says "one that defers, as text" "for strangers); had not passed"
replay "one that has expired" 0 "INSERT INTO ip_range(range, expires) VALUES ('203.0.113.0/24', '2020-01-01 00:00:00')"
json "one that has expired" 'd() == []'

replay "four in an hour" 1 "UPDATE rate_limit SET allowed = 4 WHERE id = 1"
json "four in an hour" '[x for x in d() if x[0].startswith("burst")] == [("burst5", "rate-identity"), ("burst6", "rate-identity")]' \
    '[x for x in d() if not x[0].startswith("burst")] == [("goro5", "rate-identity")]' \
    'j["counts"]["deferred"] == 3' 'j["rows"][0]["row"]["row"] == 1' 'j["rows"][0]["count"] == 3'
replay "three, for who gave back" 0 "INSERT INTO rate_limit(name, subject, who, counts, direction, allowed, seconds)
    VALUES ('login-hour', 'identity', 'hanako', 'recipients', 'out', 2, 3600)"
json "three, for who gave back" 'd() == []'
replay "one, within a message" 1 "INSERT INTO rate_limit(name, subject, who, counts, direction, allowed, seconds)
    VALUES ('login-hour', 'identity', 'hanako', 'recipients', 'out', 1, 3600)"
json "one, within a message" '[x[0] for x in d()] == ["given-back1b", "given-back2b", "given-back3b", "kept2"]'
replay "one message" 1 "INSERT INTO rate_limit(name, subject, who, counts, direction, allowed, seconds)
    VALUES ('messages', 'identity', 'goro', 'messages', 'out', 1, 3600)"
json "one message" '[x[0] for x in d()] == ["goro4", "goro5"]'
replay "two messages" 0 "INSERT INTO rate_limit(name, subject, who, counts, direction, allowed, seconds)
    VALUES ('messages', 'identity', 'goro', 'messages', 'out', 2, 3600)"
json "two messages" 'd() == []'
replay "a mailbox twice in a message, and again" 1 "INSERT INTO rate_limit(name, subject, who, counts, direction, allowed, seconds)
    VALUES ('login-hour', 'identity', 'jiro', 'recipients', 'out', 2, 3600)"
json "a mailbox twice in a message, and again" 'd() == [("same", "rate-identity")]'
replay "more for saburo" 1 "UPDATE rate_limit SET allowed = 9 WHERE who = 'saburo'"
json "more for saburo" 'd() == [("saburo3", "pass-identity")]' 'j["counts"]["passed"] == 1'

replay "sales receives only" 1 "INSERT INTO receive_only(address) VALUES ('sales@example.jp')"
json "sales receives only" 'd() == [("customer", "identity-receive-only")]' 'j["rows"][0]["row"]["table"] == "receive_only"'
replay "from elsewhere" 1 "INSERT INTO identity(name) VALUES ('taro'); INSERT INTO identity_host(identity, range) VALUES ('taro', '10.0.0.0/8')"
json "from elsewhere" 'len(d()) == 6' '{x[1] for x in d()} == {"identity-wrong-host"}'
replay "no windows" 1 "UPDATE setting SET value = '0' WHERE name = 'login_window_seconds'"
json "no windows" 'd() == [("by-window", "sender-spoofed")]'
replay "a window's client is a client host" 1 "INSERT INTO client_host(range) VALUES ('203.0.113.20')"
json "a window's client is a client host" 'd() == [("by-window", "pass-client-host")]' 'j["counts"]["other"] == 1'

replay "no trap" 1 "DELETE FROM spam_trap"
json "no trap" 'd() == [("trap", "pass-local"), ("blocked", "pass-local")]'
replay "another trap" 1 "INSERT INTO spam_trap(address) VALUES ('welcome@example.jp')"
json "another trap" 'd() == [("welcome", "spam-trap")]'
replay "a trap that blocks" 1 "INSERT INTO spam_trap(address) VALUES ('unknown1@example.jp')"
json "a trap that blocks" '[x[0] for x in d()] == ["unknown1", "unknown2", "unknown3", "unknown4", "known"]' \
    '[x[1] for x in d()][4] == "client-blocked"' 'j["differences"][4]["would"]["row"]["table"] == "spam_trap"'
replay "refusals of the mail server" 1 "UPDATE rate_limit SET allowed = 3 WHERE name = 'probing'"
json "refusals of the mail server" 'd() == [("known", "client-blocked")]'
replay "by hand it stays" 0 "INSERT INTO exemption(range, \"check\") VALUES ('203.0.113.51', 'block')"
json "by hand it stays" 'd() == []'
replay "unless exempted" 1 "INSERT INTO exemption(range, \"check\") VALUES ('203.0.113.50', 'block')"
json "unless exempted" 'd() == [("by-hand", "pass-local")]'
replay "door opened" 1 "INSERT INTO client_host(range) VALUES ('203.0.113.70')"
json "door opened" 'd() == [("door1", "pass-client-host"), ("door2", "pass-client-host"), ("door3", "pass-client-host")]'
replay "door opened, the milter counts" 1 "INSERT INTO client_host(range) VALUES ('203.0.113.70'); UPDATE rate_limit SET allowed = 2 WHERE id = 3"
json "door opened, the milter counts" 'd() == [("door1", "pass-client-host"), ("door2", "pass-client-host"), ("door3", "rate-client")]' \
    'j["counts"] == {"refused": 0, "deferred": 0, "passed": 2, "other": 1}'

# ---- filters, bounds ------------------------------------------------------------------------
replay "of one login" 1 "UPDATE rate_limit SET allowed = 4 WHERE id = 1" --login TARO
json "of one login" 'd() == [("burst5", "rate-identity"), ("burst6", "rate-identity")]' 'j["judged"] == 6' "j['counted_only'] == $total - 6"
run --json replay --with candidate.db --to burst6@far.example --client 198.51.100.0/24; json "of one recipient" '[x[0] for x in d()] == ["burst6"]' 'j["judged"] == 1'
run --json replay --with candidate.db --action reject; ends "what was rejected" 0; json "what was rejected" 'd() == []' 'j["judged"] > 4'
run --json replay --with candidate.db --most 1; ends "at most one" 1; json "at most one" '[x[0] for x in d()] == ["burst5"]' 'j["not_listed"] == 2' 'j["differ"] == 3'
run replay --with candidate.db --most 2; says "at most two" "1 more are not listed (--most N)"
run replay --with candidate.db --until 1h; ends "until an hour ago" 0; says "until an hour ago" "0 decisions from"

# ---- the policy in force has been changed since ------------------------------------------------
cp policy.db before.db
db policy.db "INSERT INTO ip_range(range) VALUES ('203.0.113.7')"
replay "already in force" 0 ""
json "already in force" 'j["differ"] == 0' 'j["already"] == 2' 'd() == []'
run replay --with candidate.db; ends "already in force, as text" 0
says "already in force, as text" "       2  more differ from the record, and would with the policy in force too; --all lists them"
run --json replay --with candidate.db --all; ends "all" 0; json "all" 'sorted(d()) == [("denied", "client-listed"), ("welcome", "client-listed")]' 'all(x["already"] for x in j["differences"])'
replay "both" 1 "DELETE FROM client_host WHERE range = '192.0.2.0/24'"
json "both" 'd() == [("relayed", "relay-denied")]' 'j["already"] == 2'
run --json replay --with before.db; ends "taken back" 0; json "taken back" 'd() == []' 'j["only_in_force"] == 2'
replay "another reason than in force" 1 "DELETE FROM ip_range; INSERT INTO ip_range(range, verdict) VALUES ('203.0.113.7', 'tempfail')"
run replay --with candidate.db; says "another reason than in force" "accept pass-local -> tempfail client-deferred" 'in-force="reject client-listed"'
mv policy.db away.db
run replay --with before.db; ends "no policy in force" 0; says "no policy in force" "not compared with the policy in force: policy.db: No such file"
mv before.db policy.db

# ---- a candidate that would not load --------------------------------------------------------
cp policy.db candidate.db
db candidate.db "PRAGMA ignore_check_constraints = 1; INSERT INTO ip_range(range) VALUES ('220.86.126.9-220.86.126.1')"
run replay --with candidate.db; ends "a bad row" 3; says "a bad row" "ip_range" "ends before it begins" "candidate.db: would not load, 1 fault"
cp policy.db candidate.db
db candidate.db "INSERT INTO local_domain(domain, subdomains) VALUES ('com', 1)"
run --json replay --with candidate.db; ends "an open one" 3; json "an open one" 'j["ok"] is False' 'len(j["faults"]) == 1'
head -c 3000 policy.db > candidate.db
run replay --with candidate.db; ends "a damaged one" 3; says "a damaged one" candidate.db
cp policy.db candidate.db
db candidate.db "PRAGMA user_version = 99"
run replay --with candidate.db; ends "another version" 3; says "another version" "candidate.db: was made by a newer sekisho"
run replay --with nowhere.db; ends "not there" 4; says "not there" "nowhere.db: No such file"

# ---- the daemon goes on, and what it records is seen --------------------------------------------
python3 -B - "$here/../milter" <<'END' || fail "the daemon after replay"
import sys
sys.path.insert(0, sys.argv[1])
import wire
host = wire.Milter("m.sock")
host.connect("192.0.2.11")
host.helo()
host.mail(b"<a@example.jp>")
assert host.rcpt(b"<later@far.example>")[0] == "pass"
END
recorded $((total + 1))
replay "one more" 1 "DELETE FROM client_host WHERE range = '192.0.2.0/24'"
json "one more" '[x[0] for x in d()] == ["relayed", "later"]' "j['judged'] == $total + 1"
kill "$daemon"; wait "$daemon"; daemon=
run --json replay --with candidate.db; ends "the daemon has ended" 1; json "the daemon has ended" 'j["differ"] == 2'
cp -r state other
db other/state.db "PRAGMA user_version = 99"
state=other/state.db run replay --with candidate.db; ends "state of another version" 4; says "state of another version" other/state.db
cp -r state damaged
db damaged/state.db "PRAGMA wal_checkpoint(TRUNCATE)" > /dev/null
python3 -B - <<'END'
import os
size = os.path.getsize("damaged/state.db")
with open("damaged/state.db", "r+b") as file:  # all but the first page and the schema behind it
    file.seek(size // 3)
    file.write(b"\xa5" * (size - size // 3))
END
state=damaged/state.db run replay --with candidate.db; ends "damaged state" 4

# ---- decisions of known times ---------------------------------------------------------------
# filled FILE: a state with what comes on standard input: TIME|SESSION|CLIENT|LOGIN|RECIPIENT|QUEUE|OUTCOME|ACTION|REASON
filled()
{
    rm -rf "$1" "$1"-wal "$1"-shm
    db "$1" < "$here/../../schema/state.sql" || exit 1
    python3 -B - "$1" 3<&0 <<'END'
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = WAL")
number = 0
for line in os.fdopen(3):
    at, session, client, login, recipient, queue, outcome, action, reason = line.rstrip("\n").split("|")
    number += 1
    reason, _, row = reason.partition("/")  # a row of spam_trap
    db.execute("INSERT INTO decision(number, at, session, client, login, sender, recipient, queue_id, outcome, action,"
               " reason, kind, post, host, recipient_local, policy, mta_refused, submission, not_for_mta, row_table, row_id)"
               " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,'milter','mail.example.jp',?,1,0,0,0,?,?)",
               (number, at, session, client, login or None, "<%s@example.jp>" % login if login else "<a@far.example>",
                "<%s>" % recipient, queue or None, outcome or None, action, reason, "login" if login else "stranger",
                recipient.endswith("@example.jp"), "spam_trap" if row else None, row or None))
db.commit()
END
}
state=known.db
while read -r n at; do
    echo "2024-11-24 $at.000|S$n|198.51.100.9|taro|n$n@far.example|Q$n|accepted|accept|pass-identity"
done > lines <<'END'
1 01:00:00
2 01:30:00
3 01:59:00
4 02:00:30
5 02:45:00
6 03:40:00
END
filled known.db < lines
span=(--since "2024-11-24 02:00:00" --until "2024-11-24 04:00:00")
replay "counts from before the span" 1 "UPDATE rate_limit SET allowed = 3 WHERE id = 1" "${span[@]}"
json "counts from before the span" 'd() == [("n4", "rate-identity")]' 'j["judged"] == 3' 'j["counted_only"] == 3' 'j["already"] == 0'
replay "an hour later they are over" 1 "UPDATE rate_limit SET allowed = 1 WHERE id = 1" "${span[@]}"
json "an hour later they are over" '[x[0] for x in d()] == ["n4", "n6"]'
replay "in force for a while" 1 "INSERT INTO ip_range(range, applies_to, expires) VALUES ('198.51.100.9', 'everyone', '2024-11-24 02:30:00')" "${span[@]}"
json "in force for a while" 'd() == [("n4", "client-listed")]'
replay "from the first on" 1 "INSERT INTO ip_range(range, applies_to, expires) VALUES ('198.51.100.9', 'everyone', '2024-11-24 01:45:00')" --since "2024-11-24 00:00:00"
json "from the first on" '[x[0] for x in d()] == ["n1", "n2"]' 'j["judged"] == 6'

# a message that was refused whole would have been sent: each of its recipients is taken for a message
for n in 1 2 3 4; do
    echo "2024-11-24 02:00:0$n.000|T|198.51.100.9|taro|r$n@far.example||aborted|tempfail|rate-identity"
done > lines
filled known.db < lines
replay "refused whole, let through now" 0 "" "${span[@]}"
json "refused whole, let through now" 'j["already"] == 4'
replay "each a message" 0 "INSERT INTO rate_limit(name, subject, who, counts, direction, allowed, seconds)
    VALUES ('messages', 'identity', 'taro', 'messages', 'out', 2, 3600)" "${span[@]}"
json "each a message" 'j["already"] == 2' 'j["only_in_force"] == 2'

# a mail server that gives no queue id: a mailbox that comes again is of another message
for n in 1 2 3; do
    echo "2024-11-24 02:00:0$n.000|R|198.51.100.9|taro|same@far.example||accepted|accept|pass-identity"
done > lines
filled known.db < lines
replay "the same mailbox, three messages" 1 "UPDATE rate_limit SET allowed = 2 WHERE id = 1" "${span[@]}"
json "the same mailbox, three messages" 'd() == [("same", "rate-identity")]' 'j["differences"][0]["decision"]["number"] == 3'

# a block by hand is that of the decisions that met it, and leaves in force what was blocked by itself
cat > lines <<'END'
2024-11-24 02:00:01.000|B1|203.0.113.50||one@example.jp||aborted|reject|client-blocked
2024-11-24 02:00:02.000|B2|203.0.113.50||two@example.jp|Q2|accepted|accept|pass-local
2024-11-24 02:00:03.000|B3|203.0.113.51||trap@example.jp||aborted|reject|spam-trap/1
2024-11-24 02:00:04.000|B4|203.0.113.51||three@example.jp||aborted|reject|client-blocked
2024-11-24 02:00:05.000|B5|203.0.113.51||four@example.jp||aborted|reject|client-blocked/1
END
filled known.db < lines
replay "by hand and by itself" 0 "" "${span[@]}"
json "by hand and by itself" 'j["judged"] == 5' 'j["already"] == 0'
replay "by hand without the trap" 1 "DELETE FROM spam_trap" "${span[@]}"
json "by hand without the trap" 'd() == [("trap", "pass-local"), ("four", "pass-local")]'

# a message that a trap refuses is given back; without the trap it would have been sent
cat > lines <<'END'
2024-11-24 02:00:01.000|M1|198.51.100.9|taro|one@far.example|Q1|rejected|accept|pass-identity
2024-11-24 02:00:01.001|M1|198.51.100.9|taro|trap@example.jp|Q1|rejected|reject|spam-trap/1
2024-11-24 02:00:02.000|M2|198.51.100.9|taro|two@far.example|Q2|accepted|accept|pass-identity
END
filled known.db < lines
replay "trapped" 0 "UPDATE rate_limit SET allowed = 1 WHERE id = 1" "${span[@]}"
json "trapped" 'd() == []' 'j["already"] == 0'
replay "trapped no more" 1 "UPDATE rate_limit SET allowed = 1 WHERE id = 1; DELETE FROM spam_trap" "${span[@]}"
json "trapped no more" 'd() == [("trap", "pass-local"), ("two", "rate-identity")]'

# a lift is done after it was asked for, though the daemon had read its clock before
cat > lines <<'END'
2024-11-24 02:00:03.000|U1|203.0.113.51||trap@example.jp||aborted|reject|spam-trap/1
2024-11-24 02:00:05.000|U2|203.0.113.51||one@example.jp|Q2|accepted|accept|pass-local
2024-11-24 02:00:06.000|U3|203.0.113.51||trap@example.jp||aborted|reject|spam-trap/1
2024-11-24 02:00:07.000|U4|203.0.113.51||two@example.jp||aborted|reject|client-blocked/1
END
filled known.db < lines
db known.db "INSERT INTO request(verb, subject, at, answered, done, answer) VALUES
    ('lift', 'client:203.0.113.51', '2024-11-24 02:00:04.000', '2024-11-24 02:00:02.900', 1, 'lifted'),
    ('lift', 'client:203.0.113.51', '2024-11-24 02:00:06.500', '2024-11-24 02:00:06.600', 0, 'was not')"
replay "lifted" 0 "" "${span[@]}"
json "lifted" 'j["judged"] == 4' 'j["already"] == 0'

# what no row has judged is left out
cat > lines <<'END'
2024-11-24 02:00:01.000|N1|198.51.100.9|taro|n1@far.example||aborted|tempfail|no-policy
2024-11-24 02:00:02.000|N2|198.51.100.9|taro|n2@far.example||aborted|tempfail|no-record
2024-11-24 02:00:03.000|N3|198.51.100.9|taro|n3@far.example|Q|accepted|accept|pass-identity
END
filled known.db < lines
replay "no policy then" 0 "" "${span[@]}"
json "no policy then" 'j["judged"] == 1' 'j["not_judged"] == 2' 'j["already"] == 0'

# the clock set back by an hour: what was counted stays counted, for as long as it took
cat > lines <<'END'
2024-11-24 02:50:00.000|C1|198.51.100.9|taro|c1@far.example|Q1|accepted|accept|pass-identity
2024-11-24 01:50:00.000|C2|198.51.100.9|taro|c2@far.example|Q2|accepted|accept|pass-identity
2024-11-24 02:40:00.000|C3|198.51.100.9|taro|c3@far.example|Q3|accepted|accept|pass-identity
2024-11-24 03:05:00.000|C4|198.51.100.9|taro|c4@far.example|Q4|accepted|accept|pass-identity
END
filled known.db < lines
replay "the clock set back" 1 "UPDATE rate_limit SET allowed = 1 WHERE id = 1" --since "2024-11-24 00:00:00" --until "2024-11-24 04:00:00"
json "the clock set back" '[x[0] for x in d()] == ["c2", "c3"]'

# a candidate that was too wide while a row of it was in force
replay "too wide then" 3 "INSERT INTO client_host(range, expires) VALUES ('198.18.0.0/15', '2024-11-24 03:00:00')" --since "2024-11-24 00:00:00"
says "too wide then" "candidate.db: would not have loaded at 2024-11-24 02:50:00 UTC" client_host_most

# more than is read at once, sessions that are interleaved, one message that is long
python3 -B - > lines <<'END'
for n in range(6000):
    a = n % 3
    print("2024-11-24 02:%02d:%02d.000|L%d|198.51.100.%d|user%d|m%d@far.example|L%d|accepted|accept|pass-identity" %
          (n // 200, n // 4 % 50, a, a + 1, a, n, a if a else n))
END
filled known.db < lines
db policy.db "UPDATE rate_limit SET allowed = 9999 WHERE id IN (1, 2, 3, 5); UPDATE setting SET value = '10000' WHERE name = 'recipients_most'"
replay "many" 1 "INSERT INTO rate_limit(name, subject, who, counts, direction, allowed, seconds)
    SELECT 'messages', 'identity', column1, 'messages', 'out', column2, 3600 FROM (VALUES ('user0', 1990), ('user1', 1), ('user2', 1))" "${span[@]}" --most 100000
json "many" 'j["judged"] == 6000' '[x[0] for x in d() if int(x[0][1:]) % 3 == 0] == ["m%d" % n for n in range(5970, 6000, 3)]' \
    'j["differ"] == 10' 'j["already"] == 0'
run --json replay --with candidate.db "${span[@]}" --login user0 --number 5998; json "many, one of them" 'd() == [("m5997", "rate-identity")]' 'j["judged"] == 1' 'j["counted_only"] == 5999'
unset state
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
