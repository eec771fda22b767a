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
run block list; expect "nobody" 0 "nobody is blocked"
said=$(ask 203.0.113.7 21 | tail -n 1) status=0; expect "the door refuses" 0 "550 5.7.1" "relay-denied"
run usage client:203.0.113.7; expect "usage" 0 "21 of 20 refusals" "probing"
run block list; expect "blocked by itself" 0 "client:203.0.113.7" "by itself" "rate-client" "strikes 1"
number=$(sqlite3 "$work/state/state.db" "SELECT number FROM block")
run explain "$number"; expect "explain NUMBER" 0 "#$number of" "client 203.0.113.7" "relay-denied" "today"
run log --client 203.0.113.7 --last 1; expect "log" 0 "#$number" "reject relay-denied" "client=203.0.113.7"
run log --client 203.0.113.8; expect "log finds nothing" 1

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

run usage reset client:203.0.113.7; expect "reset" 0 "set to nothing"
run usage; expect "after the reset" 0 '!203.0.113.7'

kill "$daemon"; wait "$daemon"; status=$? said=; daemon=
expect "the daemon ends" 0
run block lift client:203.0.113.7; expect "no daemon" 4 "will be done when the daemon starts"
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
