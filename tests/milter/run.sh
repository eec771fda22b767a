#!/bin/bash
# The real binary, asked over the milter protocol: verdicts, sessions, replies, hostile input.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh BUILD: binaries at BUILD/milter/sekisho-milter and BUILD/ctl/sekisho.
# One line for each failed check, last "N passed, N failed"; exit status 1 if one failed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?which build folder?}" && pwd) || exit 1
work=$(mktemp -d) || exit 1
daemon=
trap '[ -n "$daemon" ] && kill "$daemon" 2> /dev/null; rm -rf "$work"' EXIT
passed=0 failed=0

count() { # reads lines "ok ..." and "FAILED ..."
    while IFS= read -r line; do
        case $line in
        "ok "*) passed=$((passed + 1)) ;;
        *) failed=$((failed + 1)) && printf '%s\n' "$line" ;;
        esac
    done
}

"$build/ctl/sekisho" --policy "$work/policy.db" init --domain example.jp --hostname mail.example.jp \
    > /dev/null || exit 1
sqlite3 -init /dev/null -batch -bail "$work/policy.db" < "$here/policy.sql" || exit 1
"$build/milter/sekisho-milter" --policy "$work/policy.db" --state "$work/state/state.db" \
    --socket "unix:$work/milter.sock" --permit "unix:$work/permit.sock" --stderr 2> "$work/log" &
daemon=$!

for script in verdicts sessions messages; do
    timeout 60 miltertest -D "lib=$here/lib.lua" -D "sock=$work/milter.sock" -D "log=$work/log" \
        -s "$here/$script.lua" > "$work/said" 2>&1
    status=$?
    count < "$work/said"
    if [ $status -ne 0 ]; then
        failed=$((failed + 1))
        printf 'FAILED %s.lua: exit status %s\n' "$script" "$status"
    fi
done
kill "$daemon" && wait "$daemon"
status=$?
daemon=
if [ $status -eq 0 ]; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    printf 'FAILED exit status %s\n' "$status"
    tail -n 20 "$work/log"
fi

for script in replies hostile crowds; do
    timeout 150 python3 -B "$here/$script.py" "$build" > "$work/said" 2>&1
    last=$(tail -n 1 "$work/said")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
        sed '$d' "$work/said"
    else
        failed=$((failed + 1))
        cat "$work/said"
        printf 'FAILED %s.py came to no end\n' "$script"
    fi
done

printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
