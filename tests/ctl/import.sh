#!/bin/bash
# sekisho import: a list is taken whole or not at all, and each bad line is named.
# SPDX-License-Identifier: BSD-2-Clause
#
# import.sh BUILD: the folder with ctl/sekisho. One line for each failed case, last
# "N passed, N failed"; exit status 1 if one failed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: import.sh BUILD}" && pwd) || exit 1
cases=${SEKISHO_CASES:?}
tool=$build/ctl/sekisho
work=$(mktemp -d) || exit 1
writer=
disk=
cleanup()
{
    [ -z "$writer" ] || kill "$writer" 2> /dev/null
    [ -z "$disk" ] || umount "$work/disk"
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1
# shellcheck source=tests/ctl/lib.sh
. "$here/lib.sh"
ulimit -f 400000 # KiB: whatever goes wrong, the disk stays

run()
{
    timeout 100 "$tool" --policy policy.db "$@" > out 2> err
    ended=$?
    if grep -q 'Sanitizer\|runtime error' err; then fail "$*: $(cat err)"; fi
}
json() { # WHAT PYTHON...: the output is JSON, and each expression is true of it (j)
    local what=$1 expression
    shift
    for expression in "$@"; do
        if python3 -c "import json,sys; j = json.load(open('out')); sys.exit(not ($expression))" 2> trace
        then pass; else fail "$what: $expression: $(head -c 2000 out trace)"; fi
    done
}
fresh() { cp fresh.db policy.db; }
# rows WHAT SQL WANTED: what the sqlite3 shell sees in the policy
rows()
{
    local got
    got=$(db policy.db "$2" 2>&1)
    if [ "$got" = "$3" ]; then pass; else fail "$1: $2: '$got', not '$3'"; fi
}
# untouched WHAT: the file is what it was, and nothing lies beside it
untouched()
{
    if cmp -s policy.db "${2:-fresh.db}"; then pass; else fail "$1: policy.db was changed"; fi
    if [ -e policy.db-journal ] || [ -e policy.db-wal ]; then fail "$1: a journal was left"; else pass; fi
}

"$tool" --policy fresh.db init --domain example.jp --hostname mail.example.jp > /dev/null
fresh

# ---- words ----------------------------------------------------------------------------------
printf '192.0.2.1\n' > one
while IFS='|' read -r words want; do
    # shellcheck disable=SC2086  # a list of words
    run import $words; ends "import $words" 2; says "import $words" "sekisho: $want"
done <<'END'
|TABLE or FILE is missing; import takes TABLE FILE
ip_range|TABLE or FILE is missing; import takes
ip_range one two|that is too much; import takes
ip_range one --frob|--frob is not an option of import
ip_range one --source|--source needs a value
version one|version: not a table; there are local_domain, own_name, client_host
sqlite_master one|sqlite_master: not a table
IP_RANGE one|IP_RANGE: not a table
client_host one --source x|--source is for ip_range; client_host has no sources
ip_range one --set|--set needs a value
ip_range one --set verdict|--set verdict: write COLUMN=VALUE; columns of ip_range: range, verdict, applies_to, source, expires, note
ip_range one --set id=7|--set id=7: write COLUMN=VALUE
ip_range one --set verdict=accept --set verdict=reject|the column verdict is set twice
ip_range one --set source=a --source b|the column source is set twice
ip_range absent|absent: No such file or directory; nothing was imported
ip_range .|.: is a folder; nothing was imported
END
for table in 'ip_range"; DROP TABLE ip_range; --' "ip_range'" 'main.ip_range' 'ip_range ' ''; do
    run import "$table" one; ends "TABLE $table" 2; says "TABLE $table" "not a table"
done
untouched "wrong words"
mv policy.db away; run import ip_range one; ends "no policy" 4; says "no policy" "sekisho init makes one"; mv away policy.db

# ---- plain lists ----------------------------------------------------------------------------
printf '\xef\xbb\xbf# a list\r\n; also\r\n\r\n1.2.3.0/24 ; SBL1\r\n  \r\n220.86.126.1 - 220.86.126.255\t# the story\r\n2001:DB8::/32\n9.9.9.9#no\n' > list
run import ip_range list; ends "a # inside" 1
says "a # inside" 'list:8: range "9.9.9.9#no": write an address' 'list: 1 of 4 entries are bad; nothing was imported'
untouched "a # inside"
sed -i '$d' list; printf '9.9.9.9 #last, without an end' >> list
run import ip_range list; ends "a list" 0
says "a list" "ip_range: 4 entries of list: 4 rows added, 0 changed, 0 were there, 0 removed" "policy.db: good"
rows "a list" "SELECT range, verdict, applies_to, source IS NULL, expires IS NULL, note FROM ip_range" \
"1.2.3.0/24|reject|strangers|1|1|SBL1
220.86.126.1-220.86.126.255|reject|strangers|1|1|the story
2001:DB8::/32|reject|strangers|1|1|
9.9.9.9|reject|strangers|1|1|last, without an end"
cp policy.db before.db
run import ip_range list; ends "again" 0; says "again" "0 rows added, 0 changed, 4 were there"
untouched "again" before.db
fresh
printf '192.0.2.1\ttempfail\teveryone\tfeed\t2030-01-01 00:00:00\tmine; all # of it\n192.0.2.2\t\t\t\t\tsecond\n' > list
run import ip_range list; ends "columns" 0
rows "columns" "SELECT * FROM ip_range" \
"192.0.2.1|tempfail|everyone|feed|2030-01-01 00:00:00|mine; all # of it|1
192.0.2.2|reject|strangers|||second|2"
printf '192.0.2.3\t\t\t\t\t\tmore\n' | "$tool" --policy policy.db import ip_range - > out 2> err; ended=$?
ends "a column too many" 1; says "a column too many" "-:1: has more columns than there are: range, verdict"
fresh
printf 'taro\ttaro@example.jp\nDOMAIN\\hanako sato\t@example.net\n' > list
run import identity_sender list; ends "logins" 0
rows "logins" "SELECT identity, sender FROM identity_sender ORDER BY id" "taro|taro@example.jp
DOMAIN\\hanako sato|@example.net"
printf 'taro taro@example.net\n' > list
run import identity_sender list; ends "a blank for a tab" 1; says "a blank for a tab" "list:1: sender is missing"

# ---- what registries publish, into ip_range only ---------------------------------------------
fresh
cat > list <<'END'
2|apnic|20261124|4|19830613|20261123|+1000
apnic|*|ipv4|*|2|summary
apnic|KR|asn|9318|1|19980101|allocated
apnic|KR|ipv4|220.86.0.0|131072|20001010|allocated
apnic|JP|ipv4|192.0.2.0|384|20001010|assigned|A918
apnic|JP|ipv6|2001:db8::|32|20001010|allocated
inetnum:        203.0.113.0 - 203.0.113.255
route6:         2001:db8:1::/48
NetRange:       198.51.100.0 - 198.51.100.127
END
run import ip_range list --source registries; ends registries 0
rows registries "SELECT range, note FROM ip_range" "220.86.0.0/15|apnic KR
192.0.2.0-192.0.3.127|apnic JP
2001:db8::/32|apnic JP
203.0.113.0-203.0.113.255|
2001:db8:1::/48|
198.51.100.0-198.51.100.127|"
cat > list <<'END'
apnic|KR|ipv4|220.86.0.0|0|20001010|allocated
apnic|KR|ipv4|255.255.255.0|257|20001010|allocated
apnic|KR|ipv4|220.086.0.0|256|20001010|allocated
apnic|KR|ipv6|192.0.2.0|32|20001010|allocated
apnic|KR|ipv6|2001:db8::1|32|20001010|allocated
apnic|KR|ipv4|1.2.3.4
END
run import ip_range list; ends "bad registry lines" 1; says "bad registry lines" "list:1: is no line of a registry" \
    "list:2: goes beyond the last" 'list:3: "220.086.0.0" is not an IPv4 address' 'list:4: "192.0.2.0" is not an IPv6' \
    "list:5: 2001:db8::1/32 begins inside a block" "list:6: is no line of a registry" "6 of 6 entries are bad"
run import client_host list; ends "a registry for client_host" 1; says "a registry for client_host" 'list:1: range "apnic|KR'

# ---- CSV ------------------------------------------------------------------------------------
fresh
printf '# made by hand\r\nNote,domain,subdomains\r\n"a ""b"", c\r\nd",example.com,1\r\n,example.net,\r\n#x,y\r\n  "" , example.org , 0 \r\n' > list
run import local_domain list; ends CSV 0
rows CSV "SELECT domain, subdomains, mail_from, hex(note) FROM local_domain WHERE id > 1 ORDER BY id" \
"example.com|1|ours|61202262222C20630A64
example.net|0|ours|
example.org|0|ours|"
cp policy.db before.db
while IFS='|' read -r text want; do
    printf '%b' "$text" > list
    run import ip_range list; ends "CSV $text" "${want%% *}"; says "CSV $text" "${want#* }"
    untouched "CSV $text" before.db
done <<'END'
range,verdit\n192.0.2.1,reject\n|1 list:1: "verdit" is not a column that a list may name: range, verdict, applies_to, source, expires, note
range,id\n192.0.2.1,1\n|1 list:1: "id" is not a column
range;range\n192.0.2.1;1\n|1 list:1: the column range is named twice
range,note\n192.0.2.1\n192.0.2.2,x\n|1 list:2: has 1 fields, the header names 2
range,note\n192.0.2.1,"x"y\n192.0.2.2,x\n|1 list:2: something stands behind a closed quote
note,range\n"x\n\n192.0.2.2,x\n|1 list:2: a quote is not closed
note,range\n\n"x\ny",192.0.2.\n|1 list:3: range "192.0.2.": IPv4 is four numbers
END
printf 'range\tverdict\n192.0.2.1\taccept\n\t\n192.0.2.2\t\n' > list
run import ip_range list; ends "a tab's header" 0
rows "a tab's header" "SELECT range, verdict FROM ip_range" "192.0.2.1|accept
192.0.2.2|reject"
printf 'range,source\n192.0.2.3,x\n' > list
run import ip_range list --source y; ends "two sources" 2; says "two sources" 'has a column source, which is set to "y"'
run import ip_range list --replace; ends "replace many" 2; says "replace many" "--replace is for one source"
# the administrator's own rows are not swept for a list of somebody else's
db policy.db "INSERT INTO ip_range(range, verdict) VALUES('198.51.100.1','accept')"
own() { rows "$1" "SELECT count(*) FROM ip_range WHERE range='198.51.100.1' AND source IS NULL" 1; }
printf '192.0.2.3\treject\tstrangers\tfeed\n' > list
run import ip_range list --replace; ends "replace by sources" 1; says "replace by sources" "list:1: has a source"; own "replace by sources"
printf '192.0.2.3\n' > list
run import ip_range list --replace --set source=feed; ends "replace and set" 2; says "replace and set" "write --source NAME"; own "replace and set"
# what looks like a header, and a remark in any column but the last
printf '192.0.2.0/24 ; source\n' > list; run import ip_range list; ends "no header" 0
printf '192.0.2.8\treject\tstrangers\tfeed # why\n' > list; run import ip_range list; ends "a remark later" 0
rows "a remark later" "SELECT source, note FROM ip_range WHERE range='192.0.2.8'" "feed|why"
printf 'note\n' > list; run import identity list; ends "a login note" 0
rows "a login note" "SELECT count(*) FROM identity WHERE name='note'" 1
python3 -c 'print("192.0.2.1" + " " * 60000 + "x")' > list
timeout 5 "$tool" --policy policy.db import ip_range list > out 2> err; ended=$?; ends "blanks" 1
(python3 -c 'print("#" * 70000)'; echo 192.0.2.77) > list; run import ip_range list; ends "a long remark first" 0
printf '192.0.2.3\taccept\n' > list
run import ip_range list --set verdict=reject; ends "set and given" 1; says "set and given" "list:1: has a verdict of its own"

# ---- what is no list ------------------------------------------------------------------------
fresh
printf '\xff\xfe1\0.\0' > list; run import ip_range list; ends UTF-16 1; says UTF-16 "is in UTF-16; save it as UTF-8"
printf '192.0.2.1\n1.2.\0003.4\n192.0.2.2 # caf\xe9\n192.0.2.3 # \xed\xa0\x80\n%070000d\n192.0.2.4' 0 > list
run import ip_range list; ends "odd octets" 1
says "odd octets" "list:2: holds a NUL octet" "list:3: is not UTF-8" "list:4: is not UTF-8" "list:5: is longer than 65536 octets" "4 of 6 entries"
seq 100 > list; printf '192.0.2.1\n' >> list
run import ip_range list; ends "many bad lines" 1; says "many bad lines" 'list:20: range "20"' "... and 80 more" "100 of 101 entries are bad"
silent "many bad lines" "list:21:"
run --json import ip_range list; ends "many --json" 1
json "many --json" 'j["ok"] is False' 'j["bad"] == 100' 'j["entries"] == 101' 'len(j["faults"]) == 20' \
    'j["faults"][2]["line"] == 3' '"write an address" in j["faults"][2]["fault"]'
: > list; run import ip_range list; ends "an empty list" 0; untouched "an empty list"
mkfifo pipe; (printf '192.0.2.1\n'; sleep 1; printf '192.0.2.x\n') > pipe & writer=$!
run import ip_range pipe; writer=; ends "a FIFO" 1; says "a FIFO" 'pipe:2: range "192.0.2.x"'
printf '192.0.2.1\n' | "$tool" --policy policy.db import ip_range - --source a > out 2> err; ended=$?
ends "standard input" 0; rows "standard input" "SELECT range, source FROM ip_range" "192.0.2.1|a"

# ---- replacing, and what stands twice -------------------------------------------------------
fresh
db policy.db "INSERT INTO ip_range(range,source,note) VALUES('10.0.0.0/8',NULL,'own'),('192.0.2.1','b','other')"
printf '192.0.2.1\n192.0.2.2 # two\n192.0.2.3\n192.0.2.1\n' > list
run import ip_range list --source a --json; ends "first time" 0
json "first time" 'j["added"] == 3' 'j["repeated"] == 1' 'j["entries"] == 4' 'j["removed"] == 0' 'j["source"] == "a"' 'j["battery"] > 400'
printf '192.0.2.4\n192.0.2.2 # zwei\n192.0.2.3\n' > list
run import ip_range list --source a --json; ends "second time" 0
json "second time" 'j["added"] == 1' 'j["changed"] == 1' 'j["kept"] == 1' 'j["removed"] == 1'
rows "second time" "SELECT * FROM ip_range" "10.0.0.0/8|reject|strangers|||own|1
192.0.2.1|reject|strangers|b||other|2
192.0.2.2|reject|strangers|a||zwei|4
192.0.2.3|reject|strangers|a|||5
192.0.2.4|reject|strangers|a|||6"
cp policy.db before.db
: > list; run import ip_range list --source a; ends "replaced by nothing" 1
says "replaced by nothing" "has no entry; rows are not replaced by nothing"; untouched "replaced by nothing" before.db
printf '192.0.2.9\n192.0.2.x\n' > list; run import ip_range list --source a; ends "replaced by half" 1; untouched "replaced by half" before.db
printf '11.0.0.0/8\n12.0.0.0/8\n11.0.0.0/8\n' > list; run import ip_range list --replace; ends "own rows" 0
rows "own rows" "SELECT range, source FROM ip_range WHERE source IS NULL OR source <> 'a' ORDER BY id" "192.0.2.1|b
11.0.0.0/8|
12.0.0.0/8|"
fresh
printf '192.0.2.1\n192.0.2.2\n' > list
run import client_host list; ends "client hosts" 0
printf 'range,expires\n192.0.2.2,\n192.0.2.1,2030-01-01 00:00:00\n192.0.2.3,\n192.0.2.3,2030-01-01 00:00:00\n' > list
cp policy.db before.db
run import client_host list; ends "other values" 1
says "other values" 'list:3: range "192.0.2.1" stands in client_host 3 already, with other values' \
    'list:5: range "192.0.2.3" stands in line 4 with other values' "2 of 4"
untouched "other values" before.db
sed -i '$d' list; printf '::1,\n127.0.0.0/8,\n' >> list
run import client_host list --replace; ends "the table replaced" 0
rows "the table replaced" "SELECT * FROM client_host" "127.0.0.0/8||this machine|1
::1||this machine|2
192.0.2.1|2030-01-01 00:00:00||3
192.0.2.2|||4
192.0.2.3|||5"

# ---- what only the whole policy shows --------------------------------------------------------
fresh
printf 'trap@example.jp\npostmaster\n' > list; run import spam_trap list; ends "a trap that must receive" 3
says "a trap that must receive" "list:2: postmaster is receive-only" "policy.db: would not load with this list; nothing was imported"
untouched "a trap that must receive"
printf 'domain,subdomains\nexample.net,1\ncom,1\n' > list; run import local_domain list; ends "an open relay" 3
says "an open relay" "list:3: open relay: a stranger"; untouched "an open relay"
printf '10.0.0.0/8\n8.0.0.0/8\n' > list; run import client_host list; ends "too many client hosts" 3
says "too many client hosts" "client_host_most"; untouched "too many client hosts"
printf '2001:db8::9-2001:db8::1\nip6\n2001:db8::1/64\n' > list; run import ip_range list; ends "left to the program" 1
says "left to the program" "list:1: 2001:db8::9-2001:db8::1 ends before it begins" 'list:2: range "ip6"' "list:3: 2001:db8::1/64 begins" "3 of 3"
if [ "$(cut -d: -f2 out | head -3 | tr -d '\n')" = 123 ]; then pass; else fail "not in the list's order: $(head -c 2000 out)"; fi
untouched "left to the program"
db policy.db "PRAGMA ignore_check_constraints=1; INSERT INTO own_name(name) VALUES('')"; cp policy.db before.db
run import ip_range one; ends "bad before" 3; says "bad before" "own_name 2: name is not a domain name" "would not load"; untouched "bad before" before.db

# ---- files that will not do ------------------------------------------------------------------
fresh; db policy.db "PRAGMA journal_mode=WAL" > /dev/null; run import ip_range one; ends WAL 3; says WAL "is in WAL mode"
fresh; db policy.db "DROP TABLE version; CREATE TABLE version(schema INTEGER); INSERT INTO version VALUES(9)"; cp policy.db before.db
run import ip_range one; ends "a newer version" 3; says "a newer version" "made by a newer sekisho (schema 9"; untouched "a newer version" before.db
fresh; db policy.db "CREATE TRIGGER t AFTER INSERT ON ip_range BEGIN DELETE FROM ip_range; END"; cp policy.db before.db
run import ip_range one; ends "a trigger" 3; says "a trigger" "has a trigger, which would not be run"; untouched "a trigger" before.db
fresh; mv policy.db real.db; ln -s real.db policy.db; run import ip_range one; ends "a symlink" 3; says "a symlink" "symbolic link"; rm policy.db
fresh; chmod 600 policy.db; touch -d 2020-01-01 policy.db
if [ "$(id -u)" = 0 ]; then chown 1234:4321 policy.db; fi
was=$(stat -c '%a %u %g %i' policy.db)
run import ip_range one; ends "mode and owner" 0
if [ "$(stat -c '%a %u %g %i' policy.db)" = "$was" ]; then pass; else fail "mode and owner: $was, now $(stat -c '%a %u %g %i' policy.db)"; fi
rows "mode and owner" "PRAGMA journal_mode" delete

# ---- somebody else edits ---------------------------------------------------------------------
fresh
mkfifo go; db policy.db > locked < go & writer=$!
exec 4> go; printf 'BEGIN IMMEDIATE; SELECT 1;\n' >&4
for _ in $(seq 100); do [ -s locked ] && break; sleep 0.1; done
start=$(date +%s); run import ip_range one; took=$(($(date +%s) - start))
ends "locked" 4; says "locked" "policy.db: an editor holds its lock; nothing was imported"
if [ $took -ge 4 ] && [ $took -le 12 ]; then pass; else fail "locked: waited for $took s"; fi
(sleep 2; printf 'COMMIT;\n' >&4) &
run import ip_range one; ends "locked for a while" 0
exec 4>&-; wait "$writer"; writer=
# a reader meanwhile reads the policy of before: the pages come at the commit
fresh
mkfifo slow; "$tool" --policy policy.db import ip_range slow --source a > out 2> err & writer=$!
exec 4> slow; sleep 0.5; printf '192.0.2.1\n' >&4
run check; ends "a reader meanwhile" 0
db policy.db "INSERT INTO own_name(name) VALUES('x.example')" # a slow writer holds no lock
kill -TERM $writer; wait $writer; ended=$?; writer=; exec 4>&-
ends "a slow writer" 4; says "a slow writer" "interrupted; nothing was imported"
rows "a slow writer" "SELECT count(*) FROM own_name WHERE name='x.example'" 1
rows "a slow writer" "SELECT count(*) FROM ip_range" 0

# ---- interrupted, in the middle ---------------------------------------------------------------
fresh
python3 -c 'for i in range(400000): print("10.%d.%d.%d" % (i >> 16, i >> 8 & 255, i & 255))' > long
"$tool" --policy policy.db import ip_range long --source a > said 2>&1 & writer=$!
for _ in $(seq 100); do [ -e policy.db-journal ] && break; sleep 0.1; done
run check; ends "a reader beside a long list" 0
kill -TERM $writer; wait $writer; ended=$?; writer=
cp said out
ends interrupted 4; says interrupted "interrupted; nothing was imported"; untouched interrupted

fresh; seq 100 > list; "$tool" --policy policy.db import ip_range list 2> err | true
untouched "a broken pipe"

# ---- no place, no right -----------------------------------------------------------------------
if [ "$(id -u)" = 0 ] && mkdir disk && mount -t tmpfs -o size=3m none disk 2> /dev/null; then
    disk=1
    cp fresh.db disk/policy.db
    head -100000 long > shorter
    "$tool" --policy disk/policy.db import ip_range shorter --source a > out 2> err; ended=$?
    ends "a full disk" 4; says "a full disk" "disk/policy.db: database or disk is full; nothing was imported"
    if cmp -s disk/policy.db fresh.db && [ ! -e disk/policy.db-journal ]; then pass; else fail "a full disk: changed"; fi
    "$tool" --policy disk/policy.db check > out 2> err; ended=$?; ends "after a full disk" 0
    dd if=/dev/zero of=disk/fill bs=64k 2> /dev/null
    cat long long > longer
    TMPDIR=$work/disk "$tool" --policy policy.db import ip_range - < longer > out 2> err; ended=$?
    ends "no place for the copy" 2; says "no place for the copy" "-: no place for a copy of it: No space left"
    untouched "no place for the copy"
    umount disk; disk=
else
    echo "skipped: a full disk (not root)"
fi
if [ "$(id -u)" = 0 ] && mkdir -p ro && mount --bind "$work/ro" ro 2> /dev/null; then
    cp fresh.db ro/policy.db; mount -o remount,ro,bind ro
    "$tool" --policy ro/policy.db import ip_range one > out 2> err; ended=$?
    ends "a read-only folder" 4; says "a read-only folder" "cannot be written" "nothing was imported"
    umount ro
fi

# ---- the same as the sqlite3 shell's INSERT, value by value ------------------------------------
# The shell takes it: the same row, or the same policy does not load. It refuses: line 2 is named.
if python3 - "$tool" "$cases" <<'END'
import json, re, shutil, sqlite3, subprocess, sys
tool, cases = sys.argv[1:]
passed = failed = 0
def check(good, *what):
    global passed, failed
    passed += bool(good); failed += not good
    if not good: print("FAILED", *what)
def tried(table, column, value):
    """What INSERT makes of it: the rows, or None."""
    shutil.copy("fresh.db", "by-hand.db")
    db = sqlite3.connect("by-hand.db")
    try:
        if column == "range": value = re.sub(" *- *", "-", value)  # the one liberty that a list has
        with db: db.execute(f'INSERT INTO {table}("{column}") VALUES(?)', (value,))
        return list(db.execute(f"SELECT * FROM {table}"))
    except sqlite3.IntegrityError:
        return None
    finally:
        db.close()
def run(db, *words):
    ended = subprocess.run([tool, "--policy", db, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return ended.returncode, ended.stdout.decode("ascii", "replace")
def compare(table, column, octets):
    try: value = octets.decode()
    except UnicodeDecodeError: return refused(table, column, octets)
    if "\0" in value or not value: return refused(table, column, octets)
    shutil.copy("fresh.db", "policy.db")
    with open("list.csv", "wb") as file:
        file.write(column.encode() + b"\n\"" + octets.replace(b'"', b'""') + b"\"\n")
    code, said = run("policy.db", "import", table, "list.csv")
    check(all(c == "\n" or " " <= c <= "~" for c in said), table, value[:60], "raw octets", repr(said))
    db = sqlite3.connect("policy.db"); rows = list(db.execute(f"SELECT * FROM {table}")); db.close()
    wanted = tried(table, column, value)
    if wanted is None:
        check(code == 1 and "list.csv:2: " in said, table, value[:60], "INSERT refuses it", code, said)
    elif run("by-hand.db", "check")[0] != 0:
        check(code in (1, 3) and "list.csv:2: " in said, table, value[:60], "would not load", code, said)
        wanted = None
    else:
        check(code == 0 and rows == wanted, table, value[:60], "INSERT takes it", code, said, rows, wanted)
    if wanted is None:
        with open("policy.db", "rb") as a, open("fresh.db", "rb") as b: check(a.read() == b.read(), value, "changed")
def refused(table, column, octets):
    if len(octets) == 0: return
    shutil.copy("fresh.db", "policy.db")
    with open("list.csv", "wb") as file:
        file.write(column.encode() + b"\n\"" + octets.replace(b'"', b'""') + b"\"\n")
    code, said = run("policy.db", "import", table, "list.csv")
    check(code == 1 and "list.csv:2: " in said, table, octets[:60], "no text", code, said)
for case in json.load(open(cases + "/ranges.json"))["cases"]:
    if "text" in case and isinstance(case["text"], str): compare("ip_range", "range", case["text"].encode())
hostile = []
for case in json.load(open(cases + "/hostile-strings.json"))["cases"]:
    octets = bytes.fromhex(case.get("hex", ""))
    if "repeat_to" in case:
        head = bytes.fromhex(case.get("prefix_hex", ""))
        octets = (head + octets * (case["repeat_to"] // max(1, len(octets)) + 1))[:case["repeat_to"]]
    if len(octets) < 60000: hostile.append(octets)
hostile += [b"'); DROP TABLE identity; --", b"x'||(SELECT 1)||'", b"a\n.shell touch hit\n", b"\x1b]0;x\x07"]
for octets in hostile:
    if octets == b"*": continue  # stands there: tested above
    compare("identity", "name", octets)
for octets in hostile[::3]:
    compare("own_name", "name", octets)
    compare("receive_only", "address", octets)
print(passed, "alike,", failed, "not")
sys.exit(failed != 0)
END
then pass; else fail "not as the sqlite3 shell"; fi
if [ -e hit ]; then fail "a shell command was run"; else pass; fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
