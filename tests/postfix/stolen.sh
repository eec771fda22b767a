#!/bin/bash
# A stolen password and a real Postfix: as many letters as the limit allows get out, and each of the others is told.
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stolen.sh BUILD      (as root; BUILD holds milter/sekisho-milter and ctl/sekisho)
# exit 0: all passed; 1: something failed; 2: usage; 77: this machine cannot run it.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../../contrib/postfix/lab.sh
. "$top/contrib/postfix/lab.sh"
# shellcheck source-path=SCRIPTDIR source=able.sh
. "$here/able.sh"

[ $# -eq 1 ] || { echo "usage: stolen.sh BUILD" >&2; exit 2; }
build=$(cd "$1" 2>/dev/null && pwd) || { echo "stolen.sh: no directory $1" >&2; exit 2; }
allowed=40 letters=500

lab_enter "$here/stolen.sh" "$build"
# The rows of init stay, but the hour's: it would defer before the other one blocks.
lab_rows="UPDATE rate_limit SET allowed = $allowed, seconds = 3600, \"then\" = 'block', block_for = 7200
              WHERE name = 'login-day';
          DELETE FROM rate_limit WHERE name = 'login-hour'"
lab_start "$build"
# shellcheck source-path=SCRIPTDIR source=asking.sh
. "$here/asking.sh"

tool() { timeout 20 "$build/ctl/sekisho" --policy "$lab_policy" --state "$lab_state" "$@"; }
steal() { timeout 60 "$lab_python" -B "$here/stolen.py" "$lab_server4" "$@" </dev/null; }
# contains TEXT COMMAND...: its output has the text
contains() { local text=$1; shift; local said; said=$("$@" 2>&1); [[ $said == *"$text"* ]] || { echo "    no '$text' in: ${said:0:600}"; return 1; }; }
written() { [ "$(tool --json log --login taro | wc -l)" -ge "$1" ]; }

# ---------------------------------------------------------------- the night

steal 203.0.113.9 taro taro-secret 1 $letters 4 >"$lab/told"
lab_settle || bad "the queue did not become empty"
that "every letter has had an answer" equal "$(grep -c '"code": [245]' "$lab/told")" $letters
that "$allowed were taken" equal "$(grep -c '"code": 250,' "$lab/told")" $allowed
that "$allowed got out, no more and no fewer" equal "$(lab_sink_count)" $allowed
that "those that were taken got out" equal \
    "$(lab_sink_list | sed -n 's/^<taro@example.jp> -> <victim-\(.*\)@far.example>$/\1/p' | sort)" \
    "$(sed -n 's/^{"letter": \([0-9]*\), "code": 250,.*/\1/p' "$lab/told" | sort)"

# ---------------------------------------------------------------- the morning after

that "all decisions are written down" lab_until 10 written $letters
tool --json log --login taro >"$lab/log.json"
tool --json usage identity:taro >"$lab/usage.json"
"$lab_python" -B - "$lab" "$allowed" "$letters" "$build/ctl/sekisho" --policy "$lab_policy" --state "$lab_state" \
    <<'END' >"$lab/account"
import concurrent.futures, json, re, subprocess, sys
lab, allowed, letters, tool = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
told = [json.loads(line) for line in open(lab + "/told")]
log = [json.loads(line) for line in open(lab + "/log.json")]

def that(what, good, seen=""):
    print("ok" if good else "FAILED %s: %s" % (what, str(seen)[:500]))

by_letter = {}
for one in log:
    by_letter.setdefault(one["to"], []).append(one)
that("the log has one decision a letter", sorted(map(len, by_letter.values())) == [1] * letters, len(log))
number_of = {}
wrong = []
for one in told:
    entry = by_letter.get("<victim-%d@far.example>" % one["letter"], [{}])[0]
    if one["code"] == 250:
        good = entry.get("action") == "accept" and entry.get("outcome") == "accepted" and entry.get("queue_id")
    else:
        found = re.search(r"\[sekisho ([a-z-]+) #(\d+)\]", one["text"])
        good = found and (found.group(1), int(found.group(2))) == (entry.get("reason"), entry.get("number"))
        good = good and str(one["code"])[0] == {"reject": "5", "tempfail": "4"}[entry["action"]]
    if not good:
        wrong.append((one, entry))
that("the log says of each letter what the thief was told", not wrong, wrong[:1])
that("every number is another", len({one["number"] for one in log}) == letters)

def explain(one):
    done = subprocess.run(tool + ["--json", "explain", str(one["number"])], capture_output=True, text=True, timeout=20)
    return one, done.returncode, done.stdout

with concurrent.futures.ThreadPoolExecutor(2) as pool:
    answers = list(pool.map(explain, log))
wrong, reasons, counts = [], {}, []
for one, status, text in answers:
    try:
        said = json.loads(text)
        decision = said["decision"]
        row, limit = decision["row"], decision["limit"]
        reasons[decision["reason"]] = reasons.get(decision["reason"], 0) + 1
        good = bool(decision == one and row["text"])
        if decision["reason"] != "pass-identity":
            good = good and (row["table"], row["row"]) == ("rate_limit", 2) and bool(said["cause"] and said["remedy"])
        if decision["reason"] != "identity-blocked":
            good = good and (limit["row"], limit["subject"], limit["counts"], limit["allowed"], limit["seconds"]) == (
                2, "identity:taro", "recipients", allowed, 3600)
            counts.append(limit["count"])
    except (ValueError, KeyError, TypeError) as fault:
        good = repr(fault)
    if not good or isinstance(good, str):
        wrong.append((good, status, one, text))
that("explain tells each of them: number, row with its text, cause, remedy, count and limit", not wrong, (len(wrong), wrong[:1]))
that("one letter was one too many, and the others met the block",
     reasons == {"pass-identity": allowed, "rate-identity": 1, "identity-blocked": letters - allowed - 1}, reasons)
that("the counts are told as they grew", sorted(counts) == list(range(allowed)) + [allowed], sorted(counts))
END
cat "$lab/account" | grep FAILED
passed=$((passed + $(grep -c '^ok' "$lab/account"))) failed=$((failed + $(grep -c '^FAILED' "$lab/account")))
that "the account was made" equal "$(grep -cE '^(ok|FAILED)' "$lab/account")" 6
that "explain in words" contains "login taro" tool explain "$(sed -n 's/.*identity-blocked #\([0-9]*\).*/\1/p' "$lab/told" | head -n 1)"
that "the block is in the list" contains "identity:taro" tool block list
that "with its reason" contains "rate-identity" tool block list
that "usage: at the limit" contains "$allowed of $allowed" tool usage identity:taro

# What the administrator is told, by a mail that goes through this Postfix; the null sender is let through.
MAIL_CONFIG=$lab_conf tool --json report --mail hanako@example.jp >"$lab/mailed"
that "the report was taken by Postfix" contains hanako@example.jp cat "$lab/mailed"
lab_settle || bad "the queue did not become empty"
that "and has arrived" equal "$(lab_mailbox_count hanako)" 1
cat "$lab_mail"/hanako/new/* >"$lab/report"
that "from nobody" grep -q '^Return-Path: <>' "$lab/report"
that "what got out" grep -q "^   From a day before until now $allowed recipients elsewhere and 0 of ours" "$lab/report"
# The lines that can be pasted; of letters that have left already Postfix says nothing.
sed -n '/^      postsuper /,/[^\]$/p' "$lab/report" >"$lab/hold"
that "in which letters" equal "$(tr -s ' \\' '\n' <"$lab/hold" | grep -E '^[0-9A-Za-z]{8,}$' | grep -v postsuper | sort -u)" \
    "$("$lab_python" -c 'import json, sys; print(*sorted({json.loads(line)["queue_id"] for line in sys.stdin}), sep="\n")' \
        < <(tool --json log --login taro --action accept))"
that "a command as Postfix takes it" contains "Placed on hold: 0 messages" \
    env MAIL_CONFIG="$lab_conf" timeout 20 bash "$lab/hold"

# The owner is locked out as a sender, not as a recipient; his colleague and the office are not at all.
stranger_in "while the login is blocked" 250 -
login_out "his colleague" 250 - hanako hanako@example.jp
office_out "the office" 250 -
login_out "the owner himself" 550 identity-blocked taro taro@example.jp
lab_settle || bad "the queue did not become empty"
that "the owner has received" equal "$(lab_mailbox_count taro)" 1
that "the others have sent" equal "$(lab_sink_count)" $((allowed + 2))

# ---------------------------------------------------------------- lifted: the counts hold

that "lifted" contains "identity:taro: lifted" tool block lift identity:taro
that "nobody is blocked" contains "nobody is blocked" tool block list
login_out "lifted, and the window is still full" 550 rate-identity taro taro@example.jp
that "blocked again" contains "rate-identity" tool block list
lab_sql "UPDATE rate_limit SET allowed = $((allowed + 3)) WHERE name = 'login-day'"
that "lifted again" contains "identity:taro: lifted" tool block lift identity:taro
sleep 2.2                       # the edit is in force
steal 203.0.113.9 taro taro-secret 1001 20 2 >"$lab/told"
lab_settle || bad "the queue did not become empty"
that "three more allowed, three more taken" equal "$(grep -c '"code": 250,' "$lab/told")" 3
that "and three more got out" equal "$(lab_sink_count)" $((allowed + 5))
that "no sanitizer has spoken" equal "$(grep -cE 'ERROR: AddressSanitizer|runtime error:|ThreadSanitizer' "$lab_log")" 0
lab_stop_sekisho
that "sekisho-milter ends with status 0" equal "$lab_sekisho_status" 0

finished=yes
