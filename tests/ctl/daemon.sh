#!/usr/bin/env bash
# The tool beside a daemon that runs: block, usage, log and explain NUMBER.
# SPDX-License-Identifier: BSD-2-Clause
# usage: daemon.sh BUILD
set -u
build=$(cd "$1" && pwd) || exit 2
work=$(mktemp -d) || exit 1
daemon=
passed=0 failed=0
trap '[ -z "$daemon" ] || { kill -9 "$daemon"; wait "$daemon"; } 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/state"

tool() { timeout 20 "$build/ctl/sekisho" --policy "$work/policy.db" --state "$work/state/state.db" "$@"; }

start()
{
    "$build/milter/sekisho-milter" --policy "$work/policy.db" --state "$work/state/state.db" \
        --socket "unix:$work/milter.sock" --permit "unix:$work/permit.sock" --stderr 2>>"$work/log" &
    daemon=$!
    for _ in $(seq 100); do
        [ -S "$work/permit.sock" ] && ask 127.0.0.1 >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "FAILED the daemon does not serve"
    exit 1
}

# ask CLIENT [TIMES]: relaying for a stranger, at the door
ask()
{
    timeout 20 python3 - "$work/permit.sock" "$1" "${2:-1}" <<'END'
import socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect(sys.argv[1])
for _ in range(int(sys.argv[3])):
    door.sendall(b'client_address=%s\nsender=a@far.example\nrecipient=b@elsewhere.example\n\n' % sys.argv[2].encode())
    print(door.recv(1000).decode().strip())
END
}

# expect WHAT STATUS TEXT...: the last output has these texts and ended so; a text behind ! is not in it
expect()
{
    local what=$1 wanted=$2 text
    shift 2
    if [ "$status" -ne "$wanted" ]; then
        failed=$((failed + 1))
        echo "FAILED $what: ended with $status, not $wanted: $said"
    else
        passed=$((passed + 1))
    fi
    for text; do
        case $text in
        !*) [[ $said != *"${text#!}"* ]] ;;
        *) [[ $said == *"$text"* ]] ;;
        esac && passed=$((passed + 1)) && continue
        failed=$((failed + 1))
        echo "FAILED $what: '$text' in: $said"
    done
}
run() { said=$(tool "$@" 2>&1); status=$?; }

tool init --domain example.jp --hostname mail.example.jp >/dev/null || exit 1
start
said=$(stat -c %a "$work/milter.sock" "$work/permit.sock" | sort -u) status=$?
expect "the sockets are for owner and group" 0 660 '!7'
run block list; expect "nobody" 0 "nobody is blocked"
said=$(ask 203.0.113.7 21 | tail -n 1) status=0; expect "the door refuses" 0 "550 5.7.1" "relay-denied"
run usage client:203.0.113.7; expect "usage" 0 "21 of 20 refusals" "probing"
run block list; expect "blocked by itself" 0 "client:203.0.113.7" "by itself" "rate-client" "strikes 1"
number=$(sqlite3 "$work/state/state.db" "SELECT number FROM block")
run explain "$number"; expect "explain NUMBER" 0 "#$number of" "client 203.0.113.7" "relay-denied" "today"
run log --client 203.0.113.7 --last 1; expect "log" 0 "#$number" "reject relay-denied" "client=203.0.113.7"
run log --client 203.0.113.8; expect "log finds nothing" 1 "no recorded decision fits"

run explain --client 203.0.113.7 --from a@far.example --to taro@example.jp
expect "explain a blocked client" 1 "refuses: client-blocked, read rate_limit 4" "21 of 20 refusals" \
    "edit    sekisho block lift client:203.0.113.7" "then: accept, pass-local"
run explain --client 203.0.113.7 --from a@far.example --to taro@example.jp --at 2026-11-24T03:00:00Z
expect "explain at another time" 0 "judged as if nothing were counted" '!21 of 20'

# killed at once after it was blocked: the block is there again
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
start
run block list; expect "after kill -9" 0 "client:203.0.113.7" "strikes 1"
run block lift client:203.0.113.7; expect "lift" 0 "lifted"
run block list; expect "lifted" 0 "nobody is blocked"
run block lift client:203.0.113.7; expect "lift twice" 1 "was not blocked"
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
start
run block list; expect "lifted, after kill -9" 0 "nobody is blocked"

run block add identity:taro --for 1h --note "password stolen"; expect "add" 0 "identity:taro: blocked"
run block list; expect "added" 0 "identity:taro" "by hand" "password stolen"
run block add client:192.0.2.0/24; expect "a range is no client" 2 "ip_range"
sqlite3 "$work/state/state.db" "DELETE FROM block" || exit 1
sleep 2.2
run block lift identity:taro; expect "deleted in the shell, it is over" 1 "was not blocked"

# login windows: off, then seconds long; as the door sees them
run window list; expect "no window" 0 "no login window is open"
run window open 203.0.113.20 --login taro; expect "off" 1 "login windows are off" "login_window_seconds is 0"
sqlite3 "$work/policy.db" "UPDATE setting SET value = '20' WHERE name = 'login_window_seconds';
    UPDATE setting SET value = 'example.jp' WHERE name = 'login_domain'" || exit 1
sleep 2.2
run window open 203.0.113.20; expect "whose?" 2 "--login is missing"
run window open --login taro; expect "where?" 2 "takes one IP"
run window open here --login taro; expect "no address" 2 "here: not an IP address"
run window open 127.0.0.1 --login taro; expect "loopback" 1 "127.0.0.1 is this machine"
run window open 203.0.113.20 --login postmaster; expect "receive-only" 1 "identity-receive-only"
run window open 203.0.113.20 --login taro --for 21s; expect "too long" 1 "at most 20"
said=$(ask 203.0.113.20) status=0; expect "before the window" 0 "relay-denied"
run window open 203.0.113.20 --login taro; expect "open" 0 "203.0.113.20: may relay as taro for 20 seconds"
said=$(ask 203.0.113.20) status=0; expect "within the window" 0 "OK"
run window list; expect "listed" 0 "203.0.113.20  as taro, since"
run --json window list; expect "listed in JSON" 0 '"login": "taro"'
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
sqlite3 "$work/state/state.db" "UPDATE login_window SET until_steady = until_steady + 60000" || exit 1
start
said=$(ask 203.0.113.20) status=0; expect "open, after kill -9" 0 "OK"
run window close 203.0.113.20; expect "close" 0 "closed"
run window close 203.0.113.20; expect "close twice" 1 "had no open window"
said=$(ask 203.0.113.20) status=0; expect "closed" 0 "relay-denied"
run window open 203.0.113.20 --login taro --for 1s; expect "for a second" 0 "for 1 seconds"
sleep 1.2
said=$(ask 203.0.113.20) status=0; expect "after the window" 0 "relay-denied"
for _ in $(seq 50); do # the daemon looks once a second
    [ "$(sqlite3 "$work/state/state.db" "SELECT count(*) FROM login_window")" = 0 ] && break
    sleep 0.2
done
said=$(sqlite3 "$work/state/state.db" "SELECT count(*) FROM login_window") status=0; expect "no row is left" 0 "0"
run explain --client 203.0.113.20 --window taro --from taro@example.jp --to x@far.example
expect "explain a window" 0 "the window of taro" "judged as login-window" "pass-login-window"
run explain --client 203.0.113.20 --window taro --login taro --from taro@example.jp --to x@far.example
expect "one of both" 2 "say one"

run usage reset 203.0.113.7; expect "reset of no subject" 2 "203.0.113.7: write client:IP or identity:NAME"
run usage reset client:203.0.113.7; expect "reset" 0 "set to nothing"
run usage; expect "after the reset" 0 '!203.0.113.7'

# a limit: what it says, when it was met and now
sqlite3 "$work/policy.db" "UPDATE rate_limit SET allowed=2 WHERE id=1" || exit 1
sleep 2.2
said=$(PYTHONPATH="$(dirname "$0")/../milter" timeout 20 python3 -B - "$work/milter.sock" <<'END'
import sys, wire
milter = wire.Milter(sys.argv[1])
milter.connect("198.51.100.9")
milter.helo()
for n in range(3):
    milter.mail(b"<taro@example.jp>", login="taro")
    print(*milter.rcpt(b"<friend%d@far.example>" % n))
    print(*milter.end({"i": "QUEUE%d" % n}))
END
) status=$?
expect "two of three" 0 "pass" "450 4.7.1" "rate-identity #"
number=${said##*\#} number=${number%%]*}
sleep 2.2
run explain "$number"
expect "explain a limit that spoke" 0 "identity:taro: 2 of 2 recipients" "today   the same" \
    "UPDATE rate_limit SET allowed=3 WHERE id=1;" "then: accept, pass-identity"
run usage; expect "two are counted" 0 "identity:taro  2 of 2 recipients"
run explain --client 198.51.100.9 --login taro --from taro@example.jp --to friend@far.example
expect "explain a limit that would speak" 1 "defers: rate-identity" "2 of 2 recipients" "the next in" \
    "UPDATE rate_limit SET allowed=3 WHERE id=1;" "then: accept, pass-identity"
run --json explain --client 198.51.100.9 --login taro --from taro@example.jp --to friend@far.example
expect "explain in JSON" 1 '"counts": "recipients"' '"count": 2' '"counted": true'
run explain --client 198.51.100.9 --login hanako --from hanako@example.jp --to friend@far.example
expect "another login" 0 "identity:hanako: 0 of 2 recipients"

# two logins whose texts begin alike (山田太郎, 山田太一) have a count each
said=$(PYTHONPATH="$(dirname "$0")/../milter" timeout 20 python3 -B - "$work/milter.sock" <<'END'
import sys, wire
milter = wire.Milter(sys.argv[1])
milter.connect("198.51.100.9")
milter.helo()
milter.mail("<山田太郎@example.jp>".encode(), login="山田太郎")
print(*milter.rcpt(b"<friend@far.example>"))
print(*milter.end({"i": "QUEUE9"}))
END
) status=$?
expect "a login in kanji" 0 "pass"
sleep 2.2
run usage identity:山田太郎; expect "usage of who has sent" 0 "1 of 2 recipients"
shown=${said%%  *}
run usage identity:山田太一; expect "usage of who has not" 1 "nothing is counted"
run usage "$shown"; expect "usage of what it shows" 0 "$shown  1 of 2 recipients"
run explain --client 198.51.100.9 --login 山田太郎 --from 山田太郎@example.jp --to friend@far.example
expect "explain who has sent" 0 ": 1 of 2 recipients"
run explain --client 198.51.100.9 --login 山田太一 --from 山田太一@example.jp --to friend@far.example
expect "explain who has not" 0 ": 0 of 2 recipients"

# a login that has no room in a block's text
long=$(printf '山%.0s' $(seq 100))
run block add "identity:${long}郎"; expect "block a long login" 0 "blocked"
run explain --client 198.51.100.9 --login "${long}郎" --from a@example.jp --to friend@far.example
expect "explain a long login" 1 "refuses: identity-blocked"
run explain --client 198.51.100.9 --login "${long}一" --from a@example.jp --to friend@far.example
expect "explain one like it" 1 '!identity-blocked'
run block list; expect "a long login is listed" 0 'identity:\xe5\xb1\xb1'
run block lift "${said%%$'\n'*}"; expect "lift it as it is listed" 0 "lifted"

kill "$daemon"; wait "$daemon"; status=$? said=; daemon=
expect "the daemon ends" 0
run block lift client:203.0.113.7; expect "no daemon" 4 "will be done when the daemon starts"
run window open 203.0.113.20 --login taro; expect "no daemon, no window" 4 "nothing was done"
said=$(sqlite3 "$work/state/state.db" "SELECT count(*) FROM request WHERE verb GLOB 'window-*' AND done IS NULL") status=0
expect "no window later" 0 "0"
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
