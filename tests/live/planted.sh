#!/bin/bash
# Proves these tests: takes each guard out in a copy of the tree and names the check that fails.
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: planted.sh [PART...]      (as root; PART as in run.sh, or stolen for tests/postfix/stolen.sh; all by default)
# Each line: the guard that is missing, how many checks fail, the first of them. Takes about four minutes.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
wanted=" $* "
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
most=3                          # so many at once: they wait more than they work
count=0

mkdir "$work/tree"
cp -r "$top"/{CMakeLists.txt,schema,policy,milter,ctl,tests,contrib,man} "$work/tree/" || exit 1
: >"$work/tree/tests/CMakeLists.txt"
cmake -S "$work/tree" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$work/configure.log" 2>&1 ||
    { cat "$work/configure.log"; exit 1; }
cmake --build "$work/build" -j2 --target sekisho-milter sekisho >"$work/build.log" 2>&1 || { tail "$work/build.log"; exit 1; }

# planted PART FILES SED GUARD: FILES without the guard, and PART of the tests with them
planted()
{
    local name file files
    read -r -a files <<<"$2"
    [ "$wanted" = "  " ] || [[ "$wanted" == *" $1 "* ]] || return 0
    count=$((count + 1))
    name=$work/$(printf '%02d' $count)
    for file in "${files[@]}"; do
        sed -i -E "$3" "$work/tree/$file"
        if cmp -s "$top/$file" "$work/tree/$file"; then
            echo "FAULT $4: cannot be taken out, $file has changed" | tee "$name.result"
            return
        fi
    done
    if cmake --build "$work/build" -j2 --target sekisho-milter sekisho >"$work/build.log" 2>&1; then
        mkdir -p "$name/milter" "$name/ctl"
        cp "$work/build/milter/sekisho-milter" "$name/milter/"
        cp "$work/build/ctl/sekisho" "$name/ctl/"
        while [ "$(jobs -rp | wc -l)" -ge $most ]; do wait -n; done
        tried "$name" "$1" "$4" &
    else
        tail "$work/build.log"
        echo "FAULT $4: does not build without" | tee "$name.result"
    fi
    for file in "${files[@]}"; do cp "$top/$file" "$work/tree/$file"; done
}
tried() # FOLDER PART GUARD
{
    local words=("$here/run.sh" "$1" "$2") failed
    [ "$2" != stolen ] || words=("$top/tests/postfix/stolen.sh" "$1")
    timeout 300 "${words[@]}" >"$1.said" 2>&1
    failed=$(grep -c '^FAILED' "$1.said")
    if [ "$failed" -gt 0 ]; then
        echo "ok $2 | $3 | $failed | $(grep -m 1 '^FAILED' "$1.said" | cut -c 8-120)" | tee "$1.result"
    else
        echo "FAULT $2 | $3: no check fails: $(tail -n 1 "$1.said")" | tee "$1.result"
    fi
}

book=policy/live/book.c keep=policy/live/book_keep.c recorder=policy/live/recorder.c
planted counting milter/callbacks.c '/^static sfsistat on_abort/,/^}/ s/session_end_message\(session, engine, OUTCOME_ABORTED\);/;/' \
    'an abort ends the message'
planted counting $book 's/passage->shadow = mode == MODE_OBSERVE;/passage->shadow = false;/' 'what is observed has counts of its own'
planted counting $book 's/if \(message_recall\(message, mailbox/if (false \&\& message_recall(message, mailbox/' 'equal mailboxes are one'
planted counting $book 's/ passage->judgement.sender->kind == ADDRESS_NULL;/ false;/' 'bounces are not counted'
planted counting "policy/core/decide.c policy/core/policy_limit.c" \
    's/judgement->identified && usage->identity.blocked/judgement->identified \&\& (usage->identity.blocked || usage->client.blocked)/; s/subjects->counted\[SUBJECT_CLIENT\] = kind == KIND_STRANGER \|\| kind == KIND_CLIENT_HOST/subjects->counted[SUBJECT_CLIENT] = true/' \
    'a block of the client is none of the login, in two places'
planted counting $book 's/: passage->usage.client.blocked\)/: passage->usage.client.blocked) if (false)/' 'who keeps trying renews no block'
planted kill $keep '/^void book_restore_record/,/^}/ s/ledger_charge\(book->ledger, &key, text/if (false) ledger_charge(book->ledger, \&key, text/' \
    'charges come back from the records'
planted kill $keep '/^void book_restore_record/,/^}/ s/one->amount, one->at, time, number\);/2 * one->amount, one->at, time, number);/' \
    'what is given back is given back once'
planted kill $keep 's/record->blocks && number > blocks_record &&/false \&\&/' 'blocks come back from the records'
planted kill policy/live/sequence.c 's/first \+ SEQUENCE_BLOCK, &trouble\);/first + 1, \&trouble);/' 'numbers are reserved before they are given'
planted disk $recorder '/^static void begin_anew/,/^}/ s/book_touch\(recorder->book\);/;/; /^static void begin_anew/,/^}/ s/recorder->drained = recorder->blocks = recorder->counted = 0;/;/' \
    'what is known goes into the new state.db'
planted disk policy/store/statedb.c 's/if \(rename\(from, to\) != 0 && errno/if (unlink(from) != 0 \&\& errno/' 'what is damaged is kept'
planted disk $recorder 's/status = statedb_whole\(recorder->state, why\);/;/' 'who writes over state.db is noticed'
planted disk $recorder '/^static enum status drain_batch/,/^}/ s/enum status (read, )?status = statedb_begin\(recorder->state, why\);/&\nif (status != STATUS_OK) { recorder->drained = journal_last(recorder->journal); recorder->cursor = (struct journal_cursor){recorder->drained + 1, 0, 0}; return status; }/' \
    'what cannot be written now is written later'
planted disk $book 's/if \(pass && !possible && /if (false \&\& pass \&\& !possible \&\& /' 'no permission without a record'
planted clock policy/live/moment.c 's/milliseconds\(CLOCK_BOOTTIME\)/milliseconds(CLOCK_REALTIME)/' 'limits and blocks run on the steady clock'
planted clock $recorder 's/if \(leap > LEAP_MS \|\| leap < -LEAP_MS\)/if (false)/' 'after a leap nothing is pruned'
planted clock policy/live/keeper.c 's/^( +)expire\(keeper\);/\1;/' 'what expires follows the wall clock'
planted clock $recorder 's/bool same_boot = boot.*;/bool same_boot = false;/' 'over a restart the steady clock goes on'
planted stolen $book 's/use->count = ledger_count\(passage->book->ledger, &passage->key\[i\], passage->time\);/use->count = ledger_count(passage->book->ledger, \&passage->key[i], passage->time) \& ~1ULL;/' \
    'every charge counts'
wait
cat "$work"/*.result | grep -c '^FAULT' >"$work/faults"
echo "$(cat "$work"/*.result | grep -c '^ok') passed, $(cat "$work/faults") failed"
[ "$(cat "$work/faults")" -eq 0 ]
