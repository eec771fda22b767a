#!/bin/bash
# The daemon as a service: notifications, watchdog, restarts; the units and their score; what is installed where.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh BUILD: plays the service manager itself, so it needs no systemd that runs (see boot.sh for
# that), only its programs systemd-analyze and systemd-socket-activate.
# One line for each failed check, last "N passed, N failed"; exit status 1 if one failed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
build=$(cd "${1:?which build folder?}" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() # WHAT COMMAND...: passes when the command says yes; shows what it said when it does not
{
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n%s\n' "$what" "$said"
    fi
}

not() { ! "$@"; }

for script in notify restart; do
    timeout 300 python3 -B "$here/$script.py" "$build" > "$work/said" 2>&1
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

# ---------------------------------------------------------------- what is installed where

prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")
root=$work/root
check "cmake --install" env DESTDIR="$root" cmake --install "$build"
cat > "$work/expected" <<END
$prefix/bin/sekisho 755
$prefix/lib/systemd/system/sekisho-alarm.service 644
$prefix/lib/systemd/system/sekisho-alarm.timer 644
$prefix/lib/systemd/system/sekisho-direct.service 644
$prefix/lib/systemd/system/sekisho-report.service 644
$prefix/lib/systemd/system/sekisho-report.timer 644
$prefix/lib/systemd/system/sekisho.service 644
$prefix/lib/systemd/system/sekisho.socket 644
$prefix/lib/sysusers.d/sekisho.conf 644
$prefix/lib/tmpfiles.d/sekisho.conf 644
$prefix/sbin/sekisho-milter 755
$prefix/share/doc/sekisho/CHANGES.md 644
$prefix/share/doc/sekisho/DESIGN.md 644
$prefix/share/doc/sekisho/LICENSE 644
$prefix/share/doc/sekisho/README.ja.md 644
$prefix/share/doc/sekisho/README.md 644
$prefix/share/doc/sekisho/contrib/dovecot/10-sekisho.conf 644
$prefix/share/doc/sekisho/contrib/fail2ban/filter.d/sekisho.conf 644
$prefix/share/doc/sekisho/contrib/fail2ban/jail.d/sekisho.conf 644
$prefix/share/doc/sekisho/contrib/postfix/main.cf.sekisho 644
$prefix/share/doc/sekisho/contrib/postfix/master.cf.sekisho 644
$prefix/share/doc/sekisho/contrib/sendmail/sekisho.m4 644
$prefix/share/sekisho/dovecot/post-login 755
$prefix/share/sekisho/policy.sql 644
$prefix/share/sekisho/state.sql 644
END
for page in "$top"/man/*.[1-9] "$top"/man/ja/*.[1-9]; do
    [ -e "$page" ] || continue
    language=$(basename "$(dirname "$page")")
    [ "$language" = ja ] || language=
    echo "$prefix/share/man/${language:+ja/}man${page##*.}/${page##*/} 644"
done >> "$work/expected"
for guide in "$top"/doc/*.md; do
    echo "$prefix/share/doc/sekisho/doc/${guide##*/} 644"
done >> "$work/expected"
sort -o "$work/expected" "$work/expected"
find "$root" -type f -printf '/%P %m\n' | sort > "$work/seen"
check "the files that are installed" diff "$work/expected" "$work/seen"
for unit in sekisho sekisho-direct; do
    check "$unit.service starts the program that is installed" \
        grep -q "^ExecStart=$prefix/sbin/sekisho-milter " "$root$prefix/lib/systemd/system/$unit.service"
done
for unit in sekisho-report sekisho-alarm; do
    check "$unit.service starts the program that is installed" \
        grep -q "^ExecStart=$prefix/bin/sekisho report --mail" "$root$prefix/lib/systemd/system/$unit.service"
done
# Dovecot's lines name the script, the script names the program: those that are installed.
dovecot=$root$prefix/share/doc/sekisho/contrib/dovecot/10-sekisho.conf
check "two scripts in $dovecot" test "$(grep -c 'executable = script-login /' "$dovecot")" -eq 2
while read -r path; do
    check "10-sekisho.conf: $path is installed" test -x "$root$path"
done < <(sed -n 's/.*executable = script-login //p' "$dovecot")
path=$(sed -n 's/^sekisho=.*:-\(.*\)}$/\1/p' "$root$prefix/share/sekisho/dovecot/post-login")
check "post-login: the program '$path' is installed" test -n "$path" -a -x "$root$path"

# ---------------------------------------------------------------- the units

units=$work/units
mkdir "$units"
for unit in sekisho sekisho-direct; do # systemd-analyze wants to see the program
    sed "s|$prefix/sbin/sekisho-milter|$build/milter/sekisho-milter|" \
        "$root$prefix/lib/systemd/system/$unit.service" > "$units/$unit.service"
done
for unit in sekisho-report sekisho-alarm; do
    sed "s|$prefix/bin/sekisho|$build/ctl/sekisho|" \
        "$root$prefix/lib/systemd/system/$unit.service" > "$units/$unit.service"
    cp "$root$prefix/lib/systemd/system/$unit.timer" "$units/"
done
cp "$root$prefix/lib/systemd/system/sekisho.socket" "$units/"
for unit in sekisho.service sekisho.socket sekisho-direct.service sekisho-report.service sekisho-report.timer \
    sekisho-alarm.service sekisho-alarm.timer; do
    check "systemd-analyze verify $unit" systemd-analyze verify --man=no "$units/$unit"
done

score() # UNIT [MOST]: at most 0.4
{
    systemd-analyze security --offline=true --no-pager "$1" |
        awk -v most="${2:-0.4}" '{ print } /Overall exposure level/ { sub(/.*: /, ""); s = $1; n++ }
            END { exit !(n == 1 && s <= most + 0) }'
}
check "score of sekisho.service" score "$units/sekisho.service"
check "score of sekisho-direct.service" score "$units/sekisho-direct.service"
# These start sendmail, whose helper gets the rights of a group by being started: of all that hardens, what
# systemd.exec(5) says to bring NoNewPrivileges with it would take that away.
for unit in sekisho-report sekisho-alarm; do
    check "score of $unit.service" score "$units/$unit.service" 5.5
    check "$unit.service lets sendmail's helper have its group" not grep -nE \
        '^(NoNewPrivileges|SystemCall[A-Za-z]*|RestrictAddressFamilies|RestrictNamespaces|RestrictRealtime|RestrictSUIDSGID|PrivateDevices|PrivateUsers|DynamicUser|MemoryDenyWriteExecute|LockPersonality|ProtectClock|ProtectHostname|ProtectKernel[A-Za-z]*)=' \
        "$units/$unit.service"
done
rules_of_report() { sed -n '/^\[Service\]/,$p' "$1" | grep -vE '^(#|$|ExecStart=|RuntimeDirectory)'; }
check "the same rules in report and alarm" diff <(rules_of_report "$units/sekisho-report.service") \
    <(rules_of_report "$units/sekisho-alarm.service")
next() # TIMER SECONDS: it rings at least that often
{
    systemd-analyze calendar --iterations=2 "$(sed -n 's/^OnCalendar=//p' "$1")" |
        awk -v most="$2" '{ print } /Next elapse|Iter. #2/ { sub(/.*: [A-Z][a-z][a-z] /, ""); sub(/ [A-Z]+$/, ""); t[n++] = $0 }
            END { for (i = 0; i < 2; i++) { gsub(/[-:]/, " ", t[i]); s[i] = mktime(t[i]) }
                  exit !(n == 2 && s[1] > s[0] && s[1] - s[0] <= most) }'
}
check "the alarm is a matter of a minute" next "$units/sekisho-alarm.timer" 60
check "the report is one of a day" next "$units/sekisho-report.timer" 86400

# The two differ in how they come to their sockets, in nothing else.
rules() { sed -n '/^\[Service\]/,/^\[Install\]/p' "$1" | grep -vE '^(#|$|    --|ExecStart=|ReadWritePaths=)'; }
check "the same rules in both" diff <(rules "$units/sekisho.service") <(rules "$units/sekisho-direct.service")

# ---------------------------------------------------------------- user and directories

if [ "$(id -u)" -eq 0 ]; then
    mkdir -p "$root/etc/sekisho" "$root/var/spool/postfix"
    echo 'root:x:0:0::/:/bin/sh' > "$root/etc/passwd"
    printf 'root:x:0:\npostfix:x:4711:\n' > "$root/etc/group"
    : > "$root/etc/sekisho/policy.db"
    chmod 600 "$root/etc/sekisho/policy.db"
    check "systemd-sysusers" systemd-sysusers --root="$root" "$root$prefix/lib/sysusers.d/sekisho.conf"
    check "systemd-tmpfiles" systemd-tmpfiles --create --root="$root" "$root$prefix/lib/tmpfiles.d/sekisho.conf"
    uid=$(awk -F: '$1 == "sekisho" { print $3 }' "$root/etc/passwd")
    gid=$(awk -F: '$1 == "sekisho" { print $3 }' "$root/etc/group")
    check "a user" test "${uid:-0}" -gt 0 -a "${gid:-0}" -gt 0
    while read -r path owner; do
        check "$path" test "$(stat -c %u:%g:%a "$root$path")" = "$owner"
    done <<END
/etc/sekisho 0:$gid:2750
/etc/sekisho/policy.db 0:$gid:640
/var/spool/postfix/sekisho $uid:4711:2750
END
fi

printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
