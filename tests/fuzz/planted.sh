#!/bin/sh
# Proves the fuzzers: each finds the bugs that are planted for it, and nothing where none is.
# SPDX-License-Identifier: BSD-2-Clause
# usage: planted.sh [SECONDS [FUZZER...]]   SECONDS: at most so long a run (60)
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
seconds=${1:-60}
[ $# -gt 0 ] && shift
wanted=${*:-range address policy_rows permit}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export TMPDIR="$work"
passed=0
failed=0

ok() { passed=$((passed + 1)); echo "ok: $*"; }
fault() { failed=$((failed + 1)); echo "FAULT: $*"; }

mkdir "$work/tree"
for part in CMakeLists.txt schema policy milter ctl tests; do
    cp -r "$top/$part" "$work/tree/" || exit 1
done
cd "$work" || exit 1
# Only this folder of the tests is built here.
printf 'add_subdirectory(fuzz)\n' >tree/tests/CMakeLists.txt
if ! cmake -S tree -B build -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DSEKISHO_FUZZ=ON -DSEKISHO_SANITIZE=address,undefined >configure.log 2>&1; then
    cat configure.log
    exit 1
fi

build()
{
    cmake --build build --target "fuzz_$1" >build.log 2>&1 && return 0
    tail -30 build.log
    fault "fuzz_$1 does not build"
    return 1
}

# One bounded run of a fuzzer over the seeds in seeds/; true when it found something.
run()
{
    name=$1
    shift
    dict=tree/tests/fuzz/$name.dict
    [ -f "$dict" ] && set -- "$@" "-dict=$dict"
    rm -rf found && mkdir found
    # in a shell of its own, whose words on the program's end go to the log as well
    ! (exec "build/tests/fuzz/fuzz_$name" -seed=1 -artifact_prefix=found/ -print_final_stats=1 "$@" \
        seeds) >run.log 2>&1
}

what_was_found()
{
    grep -hE 'does not hold|ERROR: (AddressSanitizer|libFuzzer)|runtime error' run.log | head -1 |
        sed 's|.*/tests/fuzz/||; s/ on address.*//; s/^==[0-9]*==//'
}
executions() { sed -n 's/^stat::number_of_executed_units: *//p' run.log; }

take_seeds()
{
    rm -rf seeds
    cp -r "$here/corpus/$1" seeds
}

# A run without a bug finds nothing.
sound()
{
    build "$1" || return
    take_seeds "$1"
    if run "$1" -max_total_time="$seconds" -runs=20000000; then
        fault "fuzz_$1 without a bug: $(what_was_found)"
        grep -E '^(Base64|artifact_prefix)' run.log
    else
        ok "fuzz_$1 without a bug: nothing in $(executions) executions"
    fi
}

# planted FUZZER FILE SED WORDS: the bug is found, and not only by a seed that shows it already:
# such seeds are taken away before the run.
planted()
{
    case " $wanted " in *" $1 "*) ;; *) return ;; esac
    before=$(cksum <"tree/$2")
    cp -p "tree/$2" kept
    sed -i "$3" "tree/$2"
    if [ "$before" = "$(cksum <"tree/$2")" ]; then
        fault "$4: cannot be planted, $2 has changed"
        return
    fi
    if build "$1"; then
        take_seeds "$1"
        shown=0
        while run "$1" -runs=0; do
            sum=$(basename found/* | sed 's/.*-//')
            seed=$(sha1sum seeds/* | sed -n "s/^$sum  //p" | head -1)
            [ -n "$seed" ] || break
            rm -f "$seed"
            shown=$((shown + 1))
        done
        if run "$1" -max_total_time="$seconds" -runs=20000000 && [ -n "$(ls found)" ]; then
            ok "$4: $shown seeds show it; without them fuzz_$1 found it after" \
                "$(executions) executions: $(what_was_found)"
        else
            fault "$4: $shown seeds show it, but fuzz_$1 did not find it in $(executions) executions"
        fi
    fi
    cp kept "tree/$2"
}

for name in $wanted; do
    sound "$name"
done

planted range policy/core/range.c \
    's/for (int bit = length; bit < 128; bit++)/for (int bit = length + 2; bit < 128; bit++)/' \
    'the length of a block is one bit off'
planted range policy/core/range.c "s/ || (size > 1 && text\[0\] == '0'))/)/" \
    'a leading zero is taken'
planted address policy/core/address.c 's/strpbrk(address->local, "%!@")/strpbrk(address->local, "%@")/' \
    'the mark ! is no route'
planted address policy/core/address.c 's/return (unsigned char)c < 0x20 || c == 0x7f;/return (unsigned char)c < 0x20;/' \
    'DEL is no control character'
planted policy_rows policy/core/policy_build.c 's/cell_integer(in, 1, 0, 1, &may_send)/cell_integer(in, 1, 0, 2, \&may_send)/' \
    'identity.may_send is hardly checked'
planted policy_rows policy/core/policy.c 's/if (row != NULL && row->subdomains) {/if (row != NULL) {/' \
    'every local domain speaks for its subdomains'
planted policy_rows policy/core/rangemap.c 's/ip_compare(&end, before) >= 0/ip_compare(\&end, before) > 0/' \
    'a range ends one address early'
planted policy_rows policy/core/rangemap.c 's/if (map->first4\[middle\] <= key)/if (map->first4[middle] < key)/' \
    'a range begins one address late'
planted policy_rows policy/core/rangemap.c \
    's/(int)b->strictness - (int)a->strictness/(int)a->strictness - (int)b->strictness/' \
    'of equally wide ranges the mildest speaks'
planted policy_rows policy/core/rangemap.c 's/child <= 2 \* at + 2/child <= 2 * at + 1/' \
    'of many nested ranges a wider one speaks'
planted policy_rows policy/core/policy.c 's/payload >= 0 ? rows\[payload\].id : 0/payload >= 0 ? rows[0].id : 0/' \
    'a row that does not hold the client is named'
planted permit milter/permit.c 's/if (size < digits + 1 + number + 1) {/if (size < digits + 1) {/' \
    "a netstring's length is believed"
planted permit milter/permit.c 's/(bars != 3)/(bars < 3)/' \
    'a field reaches into the next'

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
