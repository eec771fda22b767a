# What the tests of the tool share: they count, and look at `out`, `err` and `ended` of the last call.
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED %.2000s\n' "$*"; }
db() { sqlite3 -init /dev/null -batch -bail "$@"; }
ends() { # WHAT CODE
    if [ "$ended" = "$2" ]; then pass; else fail "$1: ended with $ended, not $2: $(head -c 2000 out err)"; fi
}
says() { # WHAT TEXT...: each text stands in the output
    local what=$1 text
    shift
    for text in "$@"; do
        if grep -qF -- "$text" out err; then pass; else fail "$what: no '$text' in: $(head -c 2000 out err)"; fi
    done
}
silent() { # WHAT TEXT...: none of them does
    local what=$1 text
    shift
    for text in "$@"; do
        if grep -qF -- "$text" out err; then fail "$what: '$text' in: $(head -c 2000 out err)"; else pass; fi
    done
}
