#!/bin/bash
# Asks the real sqlite3 shell whether policy.sql takes every good edit and refuses every bad one.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh [CASES [POLICY.SQL]]: the folder that holds ranges.json; another schema to be asked.
# One line for each failed case, last "N passed, N failed"; exit status 1 if one failed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
cases=${1:-$here/../../../shared/cases}
schema=${2:-$here/../../schema/policy.sql}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED %s\n' "$*"; }
same() { # what, got, expected
    if [ "$2" = "$3" ]; then pass; else fail "$1: got '$2', expected '$3'"; fi
}
db() { sqlite3 -init /dev/null -batch -bail "$@" 2>&1; }
fresh() { rm -f "$1"; sqlite3 -init /dev/null -batch -bail "$1" < "$schema" 2>&1; }

tables="local_domain own_name client_host ip_range exemption identity identity_sender identity_host
receive_only spam_trap rate_limit check_mode setting"
with_range="client_host ip_range exemption identity_host"
least() { # the columns a row cannot do without, and values for them
    case $1 in
    local_domain) echo "(domain) VALUES ('example.jp')" ;;
    own_name) echo "(name) VALUES ('mail.example.jp')" ;;
    client_host | ip_range) echo "(range) VALUES ('127.0.0.1')" ;;
    exemption) echo "(range, \"check\") VALUES ('127.0.0.1', 'helo')" ;;
    identity) echo "(name) VALUES ('taro')" ;;
    identity_sender) echo "(identity, sender) VALUES ('taro', 'info@example.jp')" ;;
    identity_host) echo "(identity, range) VALUES ('taro', '127.0.0.1')" ;;
    receive_only) echo "(address) VALUES ('root')" ;;
    spam_trap) echo "(address) VALUES ('trap')" ;;
    rate_limit) echo "(name, subject, counts, allowed, seconds)
        VALUES ('all', 'identity', 'messages', 100, 3600)" ;;
    esac
}

# The schema loads without a word, and is what it says it is.
p=$work/policy.db
same "load" "$(fresh "$p")" ""
same "application_id" "$(db "$p" 'PRAGMA application_id')" 1397050185
same "user_version" "$(db "$p" 'PRAGMA user_version')" 1
same "journal_mode" "$(db "$p" 'PRAGMA journal_mode')" delete
same "version" "$(db "$p" 'SELECT * FROM version')" 1
same "tables" "$(db "$p" "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master
    WHERE type = 'table' AND name NOT IN ('version', 'sqlite_sequence') ORDER BY rowid)")" \
    "$(echo $tables)"
same "no triggers, no views" "$(db "$p" "SELECT count(*) FROM sqlite_master
    WHERE type IN ('trigger', 'view')")" 0
same "checks" "$(db "$p" 'SELECT group_concat("check" || mode, " ") FROM (SELECT * FROM check_mode
    ORDER BY id)')" "addressenforce blockenforce listedenforce identityenforce senderenforce\
 null-senderobserve heloenforce relayenforce trapenforce gatewayobserve rateenforce"
same "settings without a note" "$(db "$p" "SELECT name FROM setting WHERE note = ''")" ""
same "settings" "$(db "$p" "SELECT group_concat(name || '=' || value, ' ') FROM (SELECT * FROM
    setting ORDER BY id)")" "mode=enforce help_url= login_realm= login_domain=\
 recipient_delimiter=+ client_prefix_ipv4=32 client_prefix_ipv6=64 client_host_most=65536\
 client_host_most_ipv6=1 retention=30 login_window_seconds=0 report_address=\
 recipients_most=1000 ring_size=100000 keys_most=1000000 block_longest=604800 gateway_names=20"

# Columns: note and id are the last ones, and .schema explains every column and table.
for t in $tables; do
    same "$t: last columns" "$(db "$p" "SELECT group_concat(name || '/' || type || '/' || pk, ' ')
        FROM (SELECT * FROM pragma_table_info('$t') ORDER BY cid DESC LIMIT 2)")" \
        "id/INTEGER/1 note/TEXT/0"
    db "$p" ".schema $t" > "$work/manual"
    same "$t: comment" "$(sed -n '2s/^ *-- .*[.a-z].*/yes/p' "$work/manual")" yes
    for c in $(db "$p" "SELECT name FROM pragma_table_info('$t')"); do
        [ "$t" = setting ] && { [ "$c" = name ] || [ "$c" = value ]; } && continue # in the rows
        found=$(awk -v c="$c" '$1 == c || $1 == "\"" c "\"" { if (/ -- /) { print "yes"; exit }
            getline; if ($1 == "--") print "yes"; exit }' "$work/manual")
        same "$t.$c: comment" "$found" yes
    done
done

# The range rules are the same, letter for letter, in the four tables.
for t in $with_range; do
    db "$p" ".schema $t" | sed -n '/How a range is written/,$p' > "$work/rules.$t"
    same "$t: range rules" "$([ -s "$work/rules.$t" ] &&
        cmp -s "$work/rules.$t" "$work/rules.client_host" && echo same)" same
done

# A row made of what it cannot do without takes the defaults, also where NULL is written.
f=$work/full.db
fresh "$f" > /dev/null
for t in $tables; do
    [ -n "$(least "$t")" ] && same "$t: least row" "$(db "$f" "INSERT INTO $t $(least "$t")")" ""
done
default() { # table, columns with defaults, expected
    same "$1: defaults" "$(db "$f" "SELECT $2 FROM $1")" "$3"
    nulls=$(echo "$2" | sed 's/,/ = NULL,/g')
    same "$1: NULL for defaults" "$(db "$f" "BEGIN; UPDATE $1 SET $nulls = NULL;
        SELECT $2 FROM $1")" "$3"
}
default local_domain subdomains,mail_from,note "0|ours|"
default own_name note ""
default client_host note ""
default ip_range verdict,applies_to,note "reject|strangers|"
default exemption note ""
default identity may_send,senders,note "1|own|"
default identity_sender note ""
default identity_host note ""
default receive_only note ""
default spam_trap block_for,note "86400|"
default rate_limit 'who,direction,"then",block_for,note' "*|any|tempfail|3600|"
same "check_mode: NULL for the default" "$(db "$f" "BEGIN; UPDATE check_mode SET mode = NULL;
    SELECT DISTINCT mode FROM check_mode")" enforce
same "expires is NULL" "$(db "$f" "SELECT expires IS NULL FROM client_host")" 1

# Every edit of edits.tsv, and no constraint without one.
edit() { # table, assignments, expected
    local got want
    got=$(db "$f" "BEGIN; UPDATE $1 SET $2")
    case $3 in
    ok) want="" ;;
    *" constraint failed"*) want=$3 ;;
    *) want="CHECK constraint failed: $3" ;;
    esac
    got=${got#Error: }
    got=${got#*stepping, }
    if [ -n "$want" ] && [ "${got#"$want"}" != "$got" ] || [ "$got" = "$want" ]; then
        pass
        got=${got#CHECK constraint failed: }
        printf '%s\t%s\n' "$1" "${got% (19)}" >> "$work/seen"
    else
        fail "$1 SET $2: got '$got', expected '$want'"
    fi
}
: > "$work/seen"
while IFS=$'\t' read -r table set expected; do
    case $table in
    '' | '#'*) ;;
    RANGE) for t in $with_range; do edit "$t" "$set" "$expected"; done ;;
    EVERY) for t in $tables; do edit "$t" "$set" "$expected"; done ;;
    IDENTITY) for t in identity_sender identity_host; do edit "$t" "$set" "$expected"; done ;;
    SENDER) for t in exemption identity_sender; do edit "$t" "$set" "$expected"; done ;;
    ADDRESS) for t in receive_only spam_trap; do edit "$t" "$set" "$expected"; done ;;
    *) edit "$table" "$set" "$expected" ;;
    esac
done < "$here/edits.tsv"
awk '/^CREATE TABLE / { t = $3 } /^ *CONSTRAINT "/ { split($0, q, "\""); print t "\t" q[2] }' \
    "$schema" | sort -u > "$work/constraints"
same "constraints are found" "$([ "$(wc -l < "$work/constraints")" -gt 90 ] && echo yes)" yes
while IFS=$'\t' read -r t name; do
    if grep -qxF "$t	$name" "$work/seen"; then pass; else fail "$t: no edit met \"$name\""; fi
done < "$work/constraints"

# Rows that are there already are refused.
for t in $tables; do
    [ "$t" = ip_range ] && continue
    [ "$t" = exemption ] && continue # sender NULL
    [ -n "$(least "$t")" ] || continue
    got=$(db "$f" "INSERT INTO $t $(least "$t" | sed "s/example.jp/EXAMPLE.jp/;s/root/Root/")")
    same "$t: the same row again" "$(echo "$got" | grep -o 'UNIQUE constraint failed')" \
        "UNIQUE constraint failed"
done
again() { # what, an INSERT up to its values, values, the same values in other letters
    same "$1: the same again" "$(db "$f" "BEGIN; $2 VALUES ($3); $2 VALUES ($4)" |
        grep -o 'UNIQUE constraint failed')" "UNIQUE constraint failed"
}
again client_host "INSERT INTO client_host (range)" "'2001:db8::'" "'2001:DB8::'"
again ip_range "INSERT INTO ip_range (source, range)" "'a', '2001:db8::'" "'a', '2001:DB8::'"
again exemption 'INSERT INTO exemption ("check", sender, range)' "'helo', '@a.jp', '2001:db8::'" \
    "'helo', '@A.jp', '2001:DB8::'"
again identity_host "INSERT INTO identity_host (identity, range)" "'a', '2001:db8::'" \
    "'a', '2001:DB8::'"
again identity_sender "INSERT INTO identity_sender (identity, sender)" "'a', 'b@a.jp'" \
    "'a', 'B@A.jp'"
again spam_trap "INSERT INTO spam_trap (address)" "'b@a.jp'" "'B@A.jp'"
list="INSERT INTO ip_range (range, source) VALUES ('192.0.2.1', 'list')"
same "ip_range: one list, the same range twice" \
    "$(db "$f" "BEGIN; $list; $list" | grep -o 'UNIQUE constraint failed')" \
    "UNIQUE constraint failed"
same "ip_range: own rows may repeat" \
    "$(db "$f" "BEGIN; INSERT INTO ip_range (range, verdict) VALUES ('127.0.0.1', 'accept')")" ""
same "version: one row" "$(db "$f" "INSERT INTO version VALUES (1)" |
    grep -o 'UNIQUE constraint failed')" "UNIQUE constraint failed"

# Every text of ranges.json in every table with a range. A text with NUL is in edits.tsv, because
# older json functions cut it; the order of IPv6 ranges is the program's to check.
db "$work/cases.db" "CREATE TABLE cases AS
    SELECT json_extract(value, '\$.text') AS text, json_extract(value, '\$.verdict') AS verdict
    FROM json_each(readfile('$cases/ranges.json'), '\$.cases')
    WHERE json_extract(value, '\$.verdict') IS NOT NULL AND instr(value, '\u0000') = 0
    AND NOT (json_extract(value, '\$.text') GLOB '*:*-*:*'
        AND ifnull(json_extract(value, '\$.why'), '') GLOB 'reversed*')" > "$work/out"
same "ranges.json" "$(cat "$work/out")" ""
for verdict in valid invalid; do
    n=$(db "$work/cases.db" "SELECT count(*) FROM cases WHERE verdict = '$verdict'")
    same "ranges.json: $verdict texts" "$([ "$n" -gt 100 ] && echo many)" many
    for t in $with_range; do
        fresh "$work/r.db" > /dev/null
        case $t in
        exemption) into='exemption (range, "check")' more=", 'helo'" ;;
        identity_host) into='identity_host (range, identity)' more=", 'taro'" ;;
        *) into="$t (range)" more= ;;
        esac
        db "$work/cases.db" "SELECT 'INSERT INTO $into VALUES (' || quote(text) ||
            '${more//\'/\'\'});' FROM cases WHERE verdict = '$verdict'" > "$work/inserts"
        sqlite3 -init /dev/null -batch "$work/r.db" < "$work/inserts" > "$work/out" 2>&1
        if [ $verdict = valid ]; then
            same "$t: valid ranges taken" "$(db "$work/r.db" "SELECT count(*) FROM $t")" "$n"
            same "$t: valid ranges" "$(head -3 "$work/out")" ""
            same "$t: quick_check" "$(db "$work/r.db" 'PRAGMA quick_check')" ok
        else
            same "$t: invalid ranges taken" "$(db "$work/r.db" "SELECT range FROM $t")" ""
            same "$t: invalid ranges refused with a sentence" \
                "$(grep -c 'CHECK constraint failed: range: ' "$work/out")" "$n"
        fi
    done
done

# .import: a plain list, CSV with all columns, and a bad line.
import() { printf '%s\n' "$@" | db "$work/i.db" | grep -v 'filling the rest with NULL'; }
fresh "$work/i.db" > /dev/null
printf '192.0.2.0/24\n2001:db8::/32\n220.86.126.1-220.86.126.255\n' > "$work/list"
same "import a list" "$(import ".import $work/list ip_range")" ""
same "import a list: rows" "$(db "$work/i.db" "SELECT range, verdict, applies_to, source IS NULL,
    expires IS NULL, note, id FROM ip_range")" "192.0.2.0/24|reject|strangers|1|1||1
2001:db8::/32|reject|strangers|1|1||2
220.86.126.1-220.86.126.255|reject|strangers|1|1||3"
same "import a list into client_host" "$(import ".import $work/list client_host")" ""
printf 'example.jp,1\n"example.com",0,anyone\n' > "$work/list"
same "import CSV, columns missing" "$(import '.mode csv' ".import $work/list local_domain")" ""
same "import CSV, columns missing: rows" "$(db "$work/i.db" "SELECT domain, subdomains, mail_from,
    typeof(subdomains), note, id FROM local_domain")" "example.jp|1|ours|integer||1
example.com|0|anyone|integer||2"
printf '%s\n' 'all,identity,*,messages,out,100,3600,block,7200,"a ""note"", 例",7' > "$work/list"
same "import CSV, all columns" "$(import '.mode csv' ".import $work/list rate_limit")" ""
same "import CSV, all columns: row" \
    "$(db "$work/i.db" "SELECT *, typeof(allowed) FROM rate_limit")" \
    'all|identity|*|messages|out|100|3600|block|7200|a "note", 例|7|integer'
printf '127.0.0.1|2026-11-24 03:00:00|loopback|9\n' > "$work/list"
same "import a list, all columns" "$(import ".import $work/list client_host")" ""
same "import a list, all columns: row" \
    "$(db "$work/i.db" "SELECT * FROM client_host WHERE id = 9")" \
    "127.0.0.1|2026-11-24 03:00:00|loopback|9"
printf '10.0.0.0/8\n010.0.0.1\n10.0.0.1\n' > "$work/list"
same "import names the bad line" "$(import ".import $work/list ip_range" |
    grep -o 'list:2: .*CHECK constraint failed: range: IPv4 is four')" \
    "list:2: INSERT failed: CHECK constraint failed: range: IPv4 is four"

# Row ids are never given twice, also after .dump and restore.
same "ids" "$(db "$f" "INSERT INTO client_host (range) VALUES ('192.0.2.7');
    DELETE FROM client_host WHERE range = '192.0.2.7';
    INSERT INTO client_host (range) VALUES ('192.0.2.8');
    SELECT id FROM client_host WHERE range = '192.0.2.8';
    DELETE FROM client_host WHERE range = '192.0.2.8'")" 3
db "$f" .dump > "$work/dump.sql"
same "restore" "$(sqlite3 -init /dev/null -batch -bail "$work/copy.db" < "$work/dump.sql" 2>&1)" ""
same "dump of the restored" "$(db "$work/copy.db" .dump | cmp - "$work/dump.sql" && echo same)" same
same "version of the restored" "$(db "$work/copy.db" 'SELECT schema FROM version')" 1
same "ids of the restored" "$(db "$work/copy.db" "INSERT INTO client_host (range)
    VALUES ('192.0.2.9'); SELECT max(id) FROM client_host")" 4
same "comments of the restored" "$(db "$work/copy.db" .schema | cmp - <(db "$f" .schema) &&
    echo same)" same

# The checks answer also about rows that were written past them.
same "bad rows written past the checks" "$(db "$work/copy.db" "PRAGMA ignore_check_constraints = 1;
    INSERT INTO client_host (range) VALUES ('x.y-z.w'), ('a.b/c'), ('1.2-3.4,'), (''), (x'00');
    PRAGMA ignore_check_constraints = 0; PRAGMA quick_check" | sort -u)" \
    "CHECK constraint failed in client_host"
for d in "$p" "$f" "$work/i.db"; do
    same "integrity_check" "$(db "$d" 'PRAGMA integrity_check')" ok
    same "quick_check" "$(db "$d" 'PRAGMA quick_check')" ok
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
