# What the tests with a real Postfix ask, count and compare, as bash functions.
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034,SC2154
#
# To be sourced after lab_start; the last line of the output is then "N passed, N failed", and the
# script sets finished=yes when it has come to its end.

passed=0 failed=0 left_out=0
permitted=()                    # what may reach the sink, as lab_sink_list prints it
record=$lab/replies.jsonl
: >"$record"

# Whatever ends the run early is a failure, and the totals are the last line all the same.
finished=no
totals()
{
    if [ $finished = no ]; then
        bad "the run ended early"
        grep -E 'Sanitizer|runtime error' -A 12 "$lab_log" | head -n 40
    fi
    [ $left_out -eq 0 ] || echo "$left_out left out (login windows, gateways, header lines, or no shared cases)"
    echo "$passed passed, $failed failed"
    trap - EXIT
    [ $failed -eq 0 ] || exit 1
    exit 0
}
trap totals EXIT

ok() { passed=$((passed + 1)); }
bad()
{
    failed=$((failed + 1))
    echo "FAILED $*"
}
# that NAME COMMAND...: passes if the command says yes
that()
{
    local name=$1
    shift
    if "$@"; then ok; else bad "$name"; fi
}
equal() { [ "$1" = "$2" ] || { echo "    $1 is not $2"; return 1; }; }

# ask NAME CODE REASON ARGUMENT...: one session; CODE and REASON are extended regular expressions
# for the reply that decided ("-" is a reply without a reason of ours).
ask()
{
    local name=$1 want_code=$2 want=$3 code reason number text
    shift 3
    IFS=$'\t' read -r code reason number text < <(lab_session --brief --record "$record" "$@")
    : "$number"
    if [[ "${code:-}" =~ ^($want_code)$ && "${reason:-}" =~ ^($want)$ ]]; then
        ok
    else
        bad "$name: expected $want_code $want, got ${code:-nothing} ${reason:-} ${text:-}"
    fi
}

# The four kinds of mail, each as one session of which only the expectation is given.
stranger_out() { ask "$1: stranger out" "$2" "$3" --source 203.0.113.66 "${@:4}" "HELO x.third.example" "MAIL FROM:<x@third.example>" "RCPT TO:<victim@far.example>" DATA QUIT; }
stranger_in() { ask "$1: mail for taro" "$2" "$3" --source 198.51.100.77 "${@:4}" "HELO mx.third.example" "MAIL FROM:<friend@third.example>" "RCPT TO:<taro@example.jp>" DATA QUIT; }
office_out() { ask "$1: office out" "$2" "$3" --source 192.0.2.5 "${@:4}" "HELO pc5" "MAIL FROM:<hanako@example.jp>" "RCPT TO:<friend@far.example>" DATA QUIT; }
login_out()     # NAME CODE REASON LOGIN SENDER
{
    ask "$1: login $4 out" "$2" "$3" --source 203.0.113.9 --port 587 "EHLO home" STARTTLS "EHLO home" \
        "AUTH $4 $4-secret" "MAIL FROM:<$5>" "RCPT TO:<friend@far.example>" DATA QUIT
}
office_got_out() { permitted+=("<hanako@example.jp> -> <friend@far.example>"); }
taro_got_out() { permitted+=("<taro@example.jp> -> <friend@far.example>"); }

# sink_as_permitted NAME: what got out since the last call is exactly what was permitted
: >"$lab/sink.before"
sink_as_permitted()
{
    lab_settle || bad "$1: the queue did not become empty"
    { [ ${#permitted[@]} -eq 0 ] || printf '%s\n' "${permitted[@]}"; } | sort >"$lab/sink.want"
    lab_sink_list >"$lab/sink.now"
    comm -13 "$lab/sink.before" "$lab/sink.now" >"$lab/sink.new"
    if diff "$lab/sink.want" "$lab/sink.new" >"$lab/sink.diff"; then
        ok
    else
        bad "$1: what got out (>) is not what was permitted (<):"
        cat "$lab/sink.diff"
    fi
    mv "$lab/sink.now" "$lab/sink.before"
    permitted=()
}

all_deferred()
{
    stranger_out "$1" '4[0-9][0-9]' - --timeout 90
    stranger_in "$1" '4[0-9][0-9]' - --timeout 90
    office_out "$1" '4[0-9][0-9]' - --timeout 90
    login_out "$1" '4[0-9][0-9]' - taro taro@example.jp
    login_out "$1" '4[0-9][0-9]' - postmaster postmaster@example.jp
    sink_as_permitted "$1"
}
all_work()
{
    stranger_out "$1" 550 relay-denied
    stranger_in "$1" 250 -
    office_out "$1" 250 -
    office_got_out
    login_out "$1" 250 - taro taro@example.jp
    taro_got_out
    sink_as_permitted "$1"
}
