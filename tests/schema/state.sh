#!/bin/bash
# Asks the real sqlite3 shell whether state.sql takes every good edit and refuses every bad one.
# SPDX-License-Identifier: BSD-2-Clause
#
# state.sh [STATE.SQL]: another schema to be asked.
# One line for each failed case, last "N passed, N failed"; exit status 1 if one failed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
schema=${1:-$here/../../schema/state.sql}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED %s\n' "$*"; }
same() { # what, got, expected
    if [ "$2" = "$3" ]; then pass; else fail "$1: got '$2', expected '$3'"; fi
}
db() { sqlite3 -init /dev/null -batch -bail "$@" 2>&1; }

# The schema loads without a word inside one transaction, as the daemon runs it.
p=$work/state.db
same "journal mode" "$(db "$p" 'PRAGMA journal_mode = WAL')" wal
{ echo 'BEGIN EXCLUSIVE;'; cat "$schema"; echo 'COMMIT;'; } > "$work/load"
same "load" "$(db "$p" < "$work/load")" ""
same "application_id" "$(db "$p" 'PRAGMA application_id')" 1397050195
same "user_version" "$(db "$p" 'PRAGMA user_version')" 1
same "version" "$(db "$p" 'SELECT * FROM version')" 1
tables="decision block login_window request note counter value"
same "tables" "$(db "$p" "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master
    WHERE type = 'table' AND name NOT IN ('version', 'sqlite_sequence') ORDER BY rowid)")" "$tables"
same "no views" "$(db "$p" "SELECT count(*) FROM sqlite_master WHERE type = 'view'")" 0

# .schema explains every table, and every column on its line or the next.
for t in $tables; do
    db "$p" ".schema $t" > "$work/manual"
    same "$t: comment" "$(sed -n '2s/^ *-- .*[.a-z].*/yes/p' "$work/manual")" yes
    [ "$t" = value ] && continue # said in the table's comment
    for c in $(db "$p" "SELECT name FROM pragma_table_info('$t')"); do
        { [ "$c" = id ] && [ "$t" != block ]; } && continue
        same "$t.$c: comment" "$(awk -v c="$c" '$1 == c || $1 == "\"" c "\"" {
            if (/ -- /) { print "yes"; exit } }' "$work/manual")" yes
    done
done
for t in block login_window request note; do
    same "$t: last column" "$(db "$p" "SELECT name || pk FROM pragma_table_info('$t')
        ORDER BY cid DESC LIMIT 1")" id1
done

# One row in each table.
db "$p" "
INSERT INTO decision (number, at, action, reason, kind, post, recipient_local, policy, mta_refused,
    submission, not_for_mta) VALUES (1, '2026-11-24 03:00:00.123', 'accept', 'pass-local',
    'stranger', 'milter', 1, 1, 0, 0, 0);
INSERT INTO block (subject) VALUES ('client:192.0.2.1');
INSERT INTO login_window (client, login, opened, until)
    VALUES ('192.0.2.1', 'taro', '2026-11-24 03:00:00', '2026-11-24 03:01:00');
INSERT INTO request (verb) VALUES ('lift');
INSERT INTO note (at, kind) VALUES ('2026-11-24 03:00:00.123', 'block');
INSERT INTO counter VALUES (0, 0, 0, 0, 0, 0, 0, 0, zeroblob(48), '');
INSERT INTO value VALUES ('a', 'b');" > "$work/out"
same "a row in each table" "$(cat "$work/out")" ""

# Every edit of state-edits.tsv, and no constraint without one that meets it.
: > "$work/seen"
edits=0
while IFS=$'\t' read -r table set expected; do
    case $table in '' | '#'*) continue ;; esac
    edits=$((edits + 1))
    got=$(db "$p" "BEGIN; UPDATE $table SET $set")
    got=${got#Error: }
    got=${got#*stepping, }
    got=${got#*near line 1: }
    case $expected in
    ok) want="" ;;
    *" constraint failed"*) want=$expected ;;
    *) want="CHECK constraint failed: $expected" ;;
    esac
    if [ "$got" = "$want" ] || { [ -n "$want" ] && [ "$got" = "$want (19)" ]; } ||
        { [ -n "$want" ] && [[ $got == "$want "* ]]; }; then
        pass
        printf '%s\t%s\n' "$table" "$expected" >> "$work/seen"
    else
        fail "$table SET $set: got '$got', expected '$want'"
    fi
done < "$here/state-edits.tsv"
same "edits were tried" "$([ $edits -gt 80 ] && echo many)" many
awk '/^CREATE TABLE / { t = $3 } /^ *CONSTRAINT "/ { split($0, q, "\""); print t "\t" q[2] }' \
    "$schema" | sort -u > "$work/constraints"
same "constraints are found" "$([ "$(wc -l < "$work/constraints")" -gt 25 ] && echo yes)" yes
while IFS=$'\t' read -r t name; do
    if grep -qxF "$t	$name" "$work/seen"; then pass; else fail "$t: no edit met \"$name\""; fi
done < "$work/constraints"
cut -f1 "$work/constraints" | sort -u | while read -r t; do
    grep -qxF "$t	ok" "$work/seen" || echo "$t"
done > "$work/out"
same "tables of which no edit passed" "$(cat "$work/out")" ""

# What an administrator does with block.
q=$work/edit.db
db "$q" < "$work/load"
same "a block, all else by itself" "$(db "$q" "INSERT INTO block (subject, until) VALUES
    ('client:192.0.2.1', '2026-11-25 03:00:00'); SELECT subject, until, reason, number IS NULL,
    strikes, by_hand, note, until_steady IS NULL, id FROM block")" \
    "client:192.0.2.1|2026-11-25 03:00:00||1|1|1||1|1"
same "since is now" "$(db "$q" "SELECT abs(strftime('%s', since) - strftime('%s', 'now')) < 60
    FROM block")" 1
same "NULL for the defaults" "$(db "$q" "INSERT INTO block (subject, since, reason, strikes, by_hand,
    note) VALUES ('client:192.0.2.2', NULL, NULL, NULL, NULL, NULL);
    SELECT length(since), reason, strikes, by_hand, note FROM block WHERE id = 2")" "19||1|1|"
same "a subject twice" "$(db "$q" "INSERT INTO block (subject) VALUES ('client:192.0.2.1')" |
    grep -o 'UNIQUE constraint failed: block.subject')" "UNIQUE constraint failed: block.subject"
same "a new until counts by the wall clock" "$(db "$q" "UPDATE block SET until_steady = 77;
    UPDATE block SET until = '2026-11-26 00:00:00' WHERE id = 1;
    SELECT id, ifnull(until_steady, 'none') FROM block ORDER BY id")" "1|none
2|77"
same "another edit leaves the daemon's clock" "$(db "$q" "UPDATE block SET until_steady = 78;
    UPDATE block SET note = 'Tanaka'; SELECT DISTINCT until_steady FROM block")" 78
same "ids are never given twice" "$(db "$q" "DELETE FROM block;
    INSERT INTO block (subject) VALUES ('identity:taro'); SELECT id FROM block")" 3
same "quick_check" "$(db "$q" 'PRAGMA quick_check')" ok

# .dump and restore.
db "$p" .dump > "$work/dump.sql"
same "restore" "$(db "$work/copy.db" < "$work/dump.sql")" ""
same "comments of the restored" "$(db "$work/copy.db" .schema | sort |
    cmp - <(db "$p" .schema | sort) && echo same)" same
same "version of the restored" "$(db "$work/copy.db" 'SELECT schema FROM version')" 1

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
