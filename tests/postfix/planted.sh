#!/bin/bash
# Proves the tests with a real Postfix: takes each guard out in a copy and names the check that fails.
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: planted.sh [PART...]      (as root; PART as in trouble.sh, or run for run.sh; all by default)
# Each line: the guard that is missing, how many checks fail, the first of them. The README has them as a table.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
wanted=" $* "
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
most=4                          # so many at once: they wait more than they work
count=0

mkdir "$work/tree"
cp -r "$top"/{CMakeLists.txt,schema,policy,milter,ctl,tests,contrib} "$work/tree/" || exit 1
: >"$work/tree/tests/CMakeLists.txt"
cmake -S "$work/tree" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$work/configure.log" 2>&1 ||
    { cat "$work/configure.log"; exit 1; }
cmake --build "$work/build" -j2 --target sekisho-milter sekisho >"$work/build.log" 2>&1 || { tail "$work/build.log"; exit 1; }

# planted PART FILES SED GUARD [CHECK]: FILES without the guard, and PART of the tests with them; a check whose name has
# CHECK in it must be among those that fail
planted()
{
    local name file files
    read -r -a files <<<"$2"
    [ "$wanted" = "  " ] || [[ "$wanted" == *" $1 "* ]] || return 0
    count=$((count + 1))
    name=$work/$count
    for file in "${files[@]}"; do
        cp "$top/$file" "$work/tree/$file"
        sed -i -E "$3" "$work/tree/$file"
        if cmp -s "$top/$file" "$work/tree/$file"; then
            echo "FAULT $4: cannot be taken out, $file has changed" | tee "$name.result"
            return
        fi
    done
    if cmake --build "$work/build" -j2 --target sekisho-milter sekisho >"$work/build.log" 2>&1; then
        mkdir -p "$name/build/milter" "$name/build/ctl"
        cp "$work/build/milter/sekisho-milter" "$name/build/milter/"
        cp "$work/build/ctl/sekisho" "$name/build/ctl/"
        cp -r "$work/tree" "$name/tree"
        while [ "$(jobs -rp | wc -l)" -ge $most ]; do wait -n; done
        tried "$name" "$1" "$4" "${5-}" &
    else
        tail "$work/build.log"
        echo "FAULT $4: does not build without" | tee "$name.result"
    fi
    for file in "${files[@]}"; do cp "$top/$file" "$work/tree/$file"; done
}
tried() # FOLDER PART GUARD CHECK
{
    local words=("$1/tree/tests/postfix/trouble.sh" "$1/build" "$2")
    [ "$2" != run ] || words=("$1/tree/tests/postfix/run.sh" "$1/build")
    SHARED=$top/../shared/cases timeout 600 "${words[@]}" >"$1/said" 2>&1
    local failed
    failed=$(grep -c "^FAILED.*$4" "$1/said")
    if [ "$failed" -gt 0 ]; then
        echo "ok $2 | $3 | $failed | $(grep -m 1 "^FAILED.*$4" "$1/said" | cut -c 8-160)" | tee "$1.result"
    else
        echo "FAULT $2 | $3: no check fails: $(tail -n 1 "$1/said")" | tee "$1.result"
    fi
}

planted locked policy/store/policydb.c 's/^( +)return why_set\(why, STATUS_BUSY, "%s: an editor holds.*/\1return STATUS_OK;/' \
    'a locked policy.db is not taken for an empty one'
planted locked policy/live/keeper.c 's/^( +)tell_refused\(keeper, &why\);/&\n\1{ uint64_t g; slot_replace(keeper->slot, NULL, \&g); }/' \
    'what cannot be read leaves the policy before in force (lock)'
planted locked policy/live/keeper.c 's/^( +)take_last_good\(keeper\);/\1;/' 'a start while it is locked takes the last good policy'
planted killed contrib/postfix/main.cf.sekisho 's/default_action=tempfail/default_action=accept/' \
    'default_action=tempfail (filter killed)'
planted accept_for_all contrib/postfix/main.cf.sekisho 's/^(smtpd_milters = .*), default_action=tempfail/\1/' \
    'default_action of our own beats milter_default_action=accept'
planted door_hangs contrib/postfix/main.cf.sekisho 's/, timeout=5s, try_limit=2//' 'the time limit of the door'
planted unfiltered contrib/postfix/main.cf.sekisho 's/^    check_policy_service .*/    permit_mynetworks, permit_sasl_authenticated,/' \
    'the door in smtpd_relay_restrictions (office out)'
planted unfiltered contrib/postfix/main.cf.sekisho 's/^    reject$/    permit/; s/^    check_policy_service .*/    permit_mynetworks,/' \
    'the door and the reject behind it'
planted replaced policy/live/keeper.c 's/^( +)tell_refused\(keeper, &why\);/&\n\1{ uint64_t g; slot_replace(keeper->slot, NULL, \&g); }/' \
    'what cannot be read leaves the policy before in force (empty, away, garbage)'
planted replaced policy/live/keeper.c 's/return a->there == b->there && a->device/return (a->there == b->there \&\& a->size == b->size) || a->device/' \
    'a file is told from another by more than its size'
planted editor policy/store/db.c 's/sqlite3_open_v2\(resolved, db, flags/sqlite3_open_v2((flags \& SQLITE_OPEN_READONLY) \&\& resolved[0] == 47 ? sqlite3_mprintf("file:%s?immutable=1", resolved) : resolved, db, flags | SQLITE_OPEN_URI/' \
    'half an edit is seen by its journal'
planted wal policy/store/policydb.c 's/header\[18\] == 2 \|\| header\[19\] == 2/header[18] == 77/' \
    'a policy.db in WAL mode is not opened'
planted unreadable policy/live/keeper.c 's/^( +)tell_refused\(keeper, &why\);/&\n\1{ uint64_t g; slot_replace(keeper->slot, NULL, \&g); }/' \
    'what cannot be read leaves the policy before in force (unreadable)'
planted bad_rows policy/store/policydb.c 's/^( +)tell_fault\(reading, table, id, status, &why\);/\1;/' \
    'a bad row makes the whole edit void'
planted bad_rows policy/live/keeper.c 's/status = proof_run\(\*policy, NULL, NULL, NULL, why\)/status = STATUS_OK/' \
    'the battery is run before a policy is in force'
planted bad_rows 'policy/live/keeper.c policy/core/policy_seal.c' 's/status = proof_run\(\*policy, NULL, NULL, NULL, why\)/status = STATUS_OK/; s/status = check_client_host_most\(policy, seconds, why\)/status = STATUS_OK/' \
    'client_host_most and the battery: 0.0.0.0/0 and its halves'
planted restart policy/live/keeper.c 's/^( +)take_last_good\(keeper\);/\1;/' 'a start with a wrong policy.db takes the last good one'
planted restart 'policy/live/keeper.c policy/core/policy_seal.c' 's/status = proof_run\(\*policy, NULL, NULL, NULL, why\)/status = STATUS_OK/; s/status = check_client_host_most\(policy, seconds, why\)/status = STATUS_OK/' \
    'client_host_most and the battery, at a start too'
planted open_sessions policy/live/keeper.c 's/^( +)expire\(keeper\);/\1;/' 'a row that expires goes out of force by itself'
planted open_sessions policy/live/keeper.c 's/if \(publish\(keeper, policy, keeper->policy_path\) ==/if (keeper->report.generation == 0 \&\& publish(keeper, policy, keeper->policy_path) ==/' \
    'an edit comes into force'
planted forms milter/session.c 's/session->helo_broken = !keep\(&session->helo, helo\);/if (session->helo.size == 0) &/' 'the last HELO counts'
planted forms milter/session.c 's/bool kept = keep\(&session->sender, sender\);/bool kept = session->sender.size > 0 || keep(\&session->sender, sender);/' \
    'each message is judged by its own sender'
planted recipients milter/permit.c 's/^( +)bool plain = local_size > 0;/&\n\1if (local_size > 0) { return bare; }/' \
    'the door puts back the quotes'
planted run contrib/postfix/main.cf.sekisho 's/default_action=tempfail/default_action=accept/' \
    'default_action=tempfail (filter stopped, killed, hanging)'
planted run contrib/postfix/main.cf.sekisho 's/default_action=tempfail/default_action=accept/' \
    'default_action=tempfail, frozen' 'filter frozen: session 2'
planted recipients policy/core/address.c 's/size_t length = utf8_length\(text \+ at, size - at\);/size_t length = (unsigned char)text[at] < 0x80;/' \
    'UTF-8 in an address is no fault of it' 'SMTPUTF8'
planted run contrib/postfix/main.cf.sekisho 's/^    check_policy_service .*/    permit_mynetworks, permit_sasl_authenticated,/' \
    'the door, pipelined' '2004, pipelined'
planted run contrib/postfix/main.cf.sekisho 's/^    check_policy_service .*/    permit_mynetworks, permit_sasl_authenticated,/' \
    'the door in smtpd_relay_restrictions (no smtpd_milters)'
planted run policy/core/decide.c 's/recipient->routed && stranger/false \&\& stranger/' 'a route is refused (relay forms)'
wait
cat "$work"/*.result | grep -c '^FAULT' >"$work/faults"
echo "$(cat "$work"/*.result | grep -c '^ok') passed, $(cat "$work/faults") failed"
[ "$(cat "$work/faults")" -eq 0 ]
