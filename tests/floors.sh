#!/bin/sh
# The house's floors: includes go down, each library stays in its room, the core is pure.
# SPDX-License-Identifier: BSD-2-Clause
# usage: floors.sh [BUILD]   BUILD: also compares what the core's objects call with the list of what they may
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
passed=0
failed=0

ok() { passed=$((passed + 1)); }
fault() { failed=$((failed + 1)); echo "FAULT: $*"; }

# The floor of a file, by its folder and name without ending.
floor()
{
    case $1 in
    core/status | core/octets | core/xtext | core/jsonl) echo 0 ;;
    core/range | core/address | core/stamp) echo 1 ;;
    core/facts | core/verdict | core/setting | core/rangemap | core/namemap | core/ledger | core/organisation | core/gateway) echo 2 ;;
    core/usage | core/decision | core/blocklist | core/windowlist) echo 3 ;;
    core/policy_rows | core/reply | core/decision_json) echo 4 ;;
    core/policy | core/policy_build) echo 5 ;;
    core/policy_seal | core/policy_limit | core/policy_pieces) echo 6 ;;
    core/decide) echo 7 ;;
    core/proof | store/db) echo 8 ;;
    store/schema) echo 9 ;;
    store/policydb | store/statement | store/decision_row) echo 10 ;;
    store/statedb | store/policyedit | store/policydump) echo 11 ;;
    store/statedb_decision | store/statedb_block | store/statedb_counter | store/statedb_note) echo 12 ;;
    store/statedb_window | store/statedb_prune | store/statedb_request | store/figures) echo 12 ;;
    store/statedb_log) echo 13 ;;
    live/whole | live/mapped) echo 19 ;;
    live/slot | live/moment | live/sequence | live/message | live/journal | live/windows | live/hash) echo 20 ;;
    live/book_own) echo 21 ;;
    live/book) echo 22 ;;
    live/book_keep) echo 23 ;;
    live/recorder) echo 24 ;;
    live/keeper) echo 25 ;;
    live/engine) echo 26 ;;
    log | listen | notify | session | interpose | ctl) echo 30 ;;
    permit | callbacks | probe | counted | nearest | listfile | page | filter | line | course) echo 31 ;;
    watch | rehearsal | report) echo 32 ;;
    report_page | report_json | report_mail) echo 33 ;;
    *) echo 99 ;;
    esac
}

for file in policy/*/*.c policy/*/*.h milter/*.c milter/*.h ctl/*.c ctl/*.h; do
    name=${file#policy/}
    name=${name#milter/}
    name=${name#ctl/}
    name=${name%.*}
    own=$(floor "$name")
    case $name in main | verb_*) own=50 ;; esac
    [ "$own" != 99 ] || fault "$file: has no floor; say in tests/floors.sh and DESIGN.md where it stands"
    for include in $(sed -n 's/^#include "\(.*\)\.h"$/\1/p' "$file"); do
        [ "$include" = "$name" ] && continue
        under=$(floor "$include")
        if [ "$under" -ge "$own" ]; then
            fault "$file includes $include.h, which stands on floor $under, not below $own"
        else
            ok
        fi
    done
    case $file in milter/*) other=ctl ;; ctl/*) other=milter ;; *) other= ;; esac
    if [ -n "$other" ] && grep -q "^#include \"\(\.\./\)*$other/" "$file"; then
        fault "$file: the two doors never include each other"
    fi
    case $(sed -n 1p "$file") in
    "/* "*" */") ok ;;
    *) fault "$file: the first line must say its one idea" ;;
    esac
    case $(sed -n 2p "$file") in
    *SPDX-License-Identifier:*) ok ;;
    *) fault "$file: no SPDX line" ;;
    esac
done

# only FILE-PATTERN may contain PATTERN
room()
{
    for file in $(grep -lE "$2" policy/*/*.c policy/*/*.h milter/*.c milter/*.h ctl/*.c ctl/*.h); do
        case $file in
        $1) ok ;;
        $4) ok ;;
        *) fault "$file: $3" ;;
        esac
    done
}
room 'policy/store/*' '#include ["<]sqlite3.h' 'sqlite3.h belongs into policy/store' ''
room 'policy/store/stat*' '#include "store/(statement|decision_row).h' 'store/statement.h and store/decision_row.h are state.db'\''s own' ''
room 'policy/live/*' '#include ["<]pthread.h' 'pthread.h belongs into policy/live and milter' 'milter/*'
room 'milter/*' 'mfapi.h' 'mfapi.h belongs into milter' ''
room 'policy/core/range.c' '#include ["<]libcidr.h' 'libcidr.h belongs into core/range.c' ''
room 'policy/core/address.c' '#include ["<]idn2.h' 'idn2.h belongs into core/address.c' ''
room 'policy/core/proof.c' '#include ["<]libpsl.h' 'libpsl.h belongs into core/organisation.c and core/proof.c' 'policy/core/organisation.c'
room 'policy/live/moment.c' '(clock_gettime|gettimeofday|[^_a-z]time)\(' 'the clock is read in live/moment.c and ctl/main.c' 'ctl/main.c'

if grep -nE '\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|system|popen|alloca)[[:space:]]*\(' \
    policy/*/*.[ch] milter/*.[ch] ctl/*.[ch]; then
    fault "a banned function"
else
    ok
fi

# What the core may call: memory, text, numbers, its two libraries. No file, clock, thread or environment.
if [ $# -ge 1 ]; then
    archive=$1/libsekisho_core.a
    if [ ! -f "$archive" ]; then
        fault "$archive: not built"
    else
        allowed='abort|bcmp|bsearch|calloc|cidr_addr_broadcast|cidr_addr_network|cidr_free|cidr_from_str|cidr_get_addr|cidr_get_pflen|cidr_get_proto|cidr_to_in6addr|cidr_to_inaddr|free|idn2_free|idn2_lookup_u8|inet_ntop|inet_pton|malloc|memchr|memcmp|memcpy|memmove|memset|psl_builtin|psl_is_public_suffix2|psl_registrable_domain|qsort|realloc|snprintf|strchr|strcmp|strcspn|strlen|strncmp|strnlen|strpbrk|strrchr|strspn|strtoll|strtoull|vsnprintf|__errno_location|__stack_chk_fail|__snprintf_chk|__vsnprintf_chk|__memcpy_chk|__memset_chk|__memmove_chk|__isoc.*strtol.*|_GLOBAL_OFFSET_TABLE_'
        others=$(nm "$archive" 2>/dev/null | awk '
            $1 == "U" { wants[$2] = 1 }
            NF == 3 && $2 != "U" { has[$3] = 1 }
            END { for (s in wants) if (!(s in has)) print s }' |
            grep -vE '^(__asan|__ubsan|__tsan|__sanitizer|__gcov|__llvm|__start_|__stop_)' |
            grep -vxE "$allowed" | sort)
        if [ -n "$others" ]; then
            fault "the core calls what it may not: $(echo $others)"
        else
            ok
        fi
    fi
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
