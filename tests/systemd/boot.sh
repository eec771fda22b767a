#!/bin/bash
# sekisho and Postfix under a real systemd: units, watchdog, restarts under load, in a container of this machine.
# SPDX-License-Identifier: BSD-2-Clause
#
# boot.sh BUILD: as root, with systemd-container, postfix and python3 installed. Boots an overlay of
# this machine's own root in systemd-nspawn, without network; nothing of the machine is changed, and
# nothing is left. Not among the tests of ctest: an unprivileged machine cannot do it.
# One line for each failed check, last "N passed, N failed"; exit status 77 where it cannot run.
# Not seen: a kernel's own boot, and where the machine has no controllers of cgroup 2, TasksMax=.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
build=$(cd "${1:?which build folder?}" && pwd) || exit 1
[ "$(id -u)" -eq 0 ] || { echo "skipped: needs root"; exit 77; }
for tool in systemd-nspawn nsenter postfix python3 sqlite3 prlimit; do
    command -v $tool > /dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")
work=$(mktemp -d /tmp/sekisho-boot.XXXXXX) || exit 1
root=$work/root
nspawn='' init=''
list_cgroups() { find /sys/fs/cgroup -path '*/payload*' -type d -o -name supervisor -type d | sort; }
cgroups=$(list_cgroups)
passed=0 failed=0

finish()
{
    local rc=$?
    trap - EXIT
    if [ -n "$nspawn" ]; then
        [ -z "$init" ] || kill -s RTMIN+4 "$init" 2> /dev/null # poweroff
        for _ in $(seq 100); do kill -0 "$nspawn" 2> /dev/null && sleep 0.1; done
        # the end of process 1 is that of its namespace; nspawn's own is not
        # shellcheck disable=SC2046,SC2086  # numbers, or none
        kill -KILL $(ps -o pid= --ppid "$nspawn") $init "$nspawn" 2> /dev/null
        wait "$nspawn" 2> /dev/null
    fi
    # what systemd-nspawn makes where no systemd runs
    comm -13 <(echo "$cgroups") <(list_cgroups) | sort -r | xargs -r rmdir 2> /dev/null
    umount "$root" 2> /dev/null || umount -l "$root" 2> /dev/null
    rm -rf "$work"
    printf '%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || rc=1
    exit "$rc"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

check() # WHAT COMMAND...
{
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n%s\n' "$what" "$(tail -n 12 <<< "$said")"
    fi
}

until_yes() # SECONDS COMMAND...
{
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { "$@"; return 1; }
        sleep 0.2
    done
}

inside() { timeout 60 nsenter -t "$init" -a -- "$@"; }
property() { inside systemctl show -P "$2" "$1"; }
is() { [ "$1" = "$2" ] || { echo "$1, not $2"; return 1; }; }

# ---------------------------------------------------------------- the tree

mkdir "$root" "$work/upper" "$work/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root" ||
    { echo "skipped: no overlay of /"; exit 77; }
# nothing of the machine's own services starts
rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/*.requires "$root"/var/lib/systemd/linger
rm -rf "$root/etc/sekisho" "$root/var/lib/sekisho" "$root"/etc/systemd/system/sekisho* "$root"/etc/fstab
: > "$root/etc/machine-id"
DESTDIR=$root cmake --install "$build" > /dev/null || exit 1
check "systemd-sysusers" systemd-sysusers --root="$root" "$root$prefix/lib/sysusers.d/sekisho.conf"
check "systemd-tmpfiles" systemd-tmpfiles --root="$root" --create "$root$prefix/lib/tmpfiles.d/sekisho.conf"
rm -rf "$root/var/spool/postfix/sekisho" # made again at boot
(umask 022; "$build/ctl/sekisho" --policy "$root/etc/sekisho/policy.db" init --domain example.jp \
    --hostname mail.example.jp) > /dev/null || exit 1
# 127.0.0.1, the one client there can be, is a stranger: what it may and may not is all ours to say
sqlite3 -init /dev/null "$root/etc/sekisho/policy.db" "DELETE FROM client_host;" || exit 1
mkdir -p "$root/etc/systemd/system/sekisho.service.d"
printf '[Service]\nWatchdogSec=3\n' > "$root/etc/systemd/system/sekisho.service.d/quick.conf"

rm -rf "$root"/var/spool/postfix/{incoming,active,deferred,maildrop}/*
cat > "$root/etc/postfix/main.cf" <<END
compatibility_level = 3.6
myhostname = mail.example.jp
mydestination = mail.example.jp, example.jp, localhost
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
local_recipient_maps = static:yes
local_transport = discard:
default_transport = discard:
relay_transport = discard:
alias_maps =
alias_database =
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
END
cat "$top/contrib/postfix/main.cf.sekisho" >> "$root/etc/postfix/main.cf"
sed -e '/^smtp .*smtpd/s/.*/smtp inet n - y - - smtpd/' /usr/share/postfix/master.cf.dist > "$root/etc/postfix/master.cf"
cp "$here/load.py" "$root/srv/load.py"
systemctl --root="$root" enable sekisho.service postfix.service > /dev/null 2>&1
check "enabled together" test -L "$root/etc/systemd/system/sockets.target.wants/sekisho.socket"

# ---------------------------------------------------------------- boot

SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet -D "$root" --boot --private-network --register=no \
    --keep-unit --link-journal=no --console=pipe --machine=sekisho-boot < /dev/null > "$work/console" 2>&1 &
nspawn=$!
# its child that is process 1 of a namespace, once that is systemd
find_init()
{
    local child
    for child in $(ps -o pid= --ppid "$nspawn"); do
        [ "$(awk '/^NSpid:/ { print $NF }' "/proc/$child/status" 2> /dev/null)" = 1 ] &&
            [ "$(cat "/proc/$child/comm" 2> /dev/null)" = systemd ] && init=$child && return 0
    done
    return 1
}
if ! until_yes 20 find_init || ! until_yes 60 inside systemctl is-active multi-user.target; then
    failed=1
    cat "$work/console"
    echo "FAILED the container does not boot"
    exit
fi
inside ip link set lo up
check "sekisho.socket" inside systemctl is-active sekisho.socket
check "sekisho.service" until_yes 30 inside systemctl is-active sekisho.service
check "postfix" until_yes 30 inside systemctl is-active postfix@-.service
inside systemctl status sekisho.service sekisho.socket --no-pager -n 20 > "$work/status" 2>&1
status_text() { property sekisho.service StatusText; }
check "STATUS" grep -q "^policy 1 in force: " <(status_text)
for door in milter permit; do
    check "$door.sock is for Postfix" is \
        "$(inside stat -c %U:%G:%a /var/spool/postfix/sekisho/$door.sock)" sekisho:postfix:660
done
check "the directory is for Postfix" is "$(inside stat -c %U:%G:%a /var/spool/postfix/sekisho)" sekisho:postfix:2750
check "it runs as sekisho" is "$(inside ps -o user= -p "$(property sekisho.service MainPID)")" sekisho
most=$(awk '/^Max open files/ { print ($5 < 65536 ? $5 : 65536) }' "/proc/$init/limits") # of the container
# shellcheck disable=SC2016  # a program for awk
descriptors=$(inside awk '/^Max open files/ { print $4 }' "/proc/$(property sekisho.service MainPID)/limits")
check "with the descriptors it wants" is "$descriptors" "$most"
status() { inside cat "/proc/$(property sekisho.service MainPID)/status"; }
check "system calls are filtered" grep -q '^Seccomp:.*2$' <(status)
check "state.db" until_yes 10 inside test -s /var/lib/sekisho/state.db

# ---------------------------------------------------------------- through a chrooted smtpd

mail() { inside python3 -B /srv/load.py "$@"; } # see there
check "a message passes, a stranger may not relay" mail once
recorded() { [ "$(inside sqlite3 -readonly /var/lib/sekisho/state.db 'SELECT count(*) FROM decision;')" -ge 2 ]; }
check "both are on record" until_yes 10 recorded

check "reload" inside systemctl reload sekisho.service
journal() { inside journalctl -u sekisho.service --no-pager -o cat; }
check "reload looks at the policy" until_yes 10 grep -q "looking at the policy now" <(journal)

# restarts and kills while clients come: none is deferred
mail load 12 > "$work/load" 2>&1 &
load=$!
sleep 2
for _ in 1 2 3; do
    check "restart" inside systemctl restart sekisho.service
    sleep 1
done
wait "$load"
check "restarts under load: everybody is served" is "$?" 0
cat "$work/load"

restarts() { property sekisho.service NRestarts; }
more_than() { [ "$(restarts)" -gt "$1" ]; }
before=$(restarts)
inside systemctl kill --signal=KILL --kill-whom=main sekisho.service
check "after SIGKILL the next client is served" mail once
check "after SIGKILL it was started again" until_yes 10 more_than "$before"

# ---------------------------------------------------------------- the watchdog

main() { property sekisho.service MainPID; }
first=$(main)
sleep 7
check "the watchdog leaves alone who serves" is "$(main)" "$first"
before=$(restarts)
# no descriptor is left for whoever accepts: the process lives, and serves nobody
inside prlimit --pid "$first" --nofile="$(inside ls "/proc/$first/fd" | wc -l):"
check "starved of descriptors it is restarted" until_yes 20 more_than "$before"
check "... by the watchdog" grep -q "Watchdog timeout" <(journal)
# by chance there was one for the question's end, and none for the answer's
check "... which had said why" grep -qE "watchdog: the milter (cannot be asked: |does not answer)" <(journal)
check "... and serves again" mail once
before=$(restarts)
inside kill -STOP "$(main)"
check "frozen it is restarted" until_yes 20 more_than "$before"
check "... and serves again" mail once

# ---------------------------------------------------------------- stop, start by a client, no activation

began=$SECONDS
check "stop" inside systemctl stop sekisho.service
check "stop within 5 s" test $((SECONDS - began)) -le 6
check "no failure is left behind" is "$(property sekisho.service Result)" success
check "stopped, a client starts it" mail once
check "... really" inside systemctl is-active sekisho.service

# sendmail's helper has the rights of a group of its own, which a unit can take away
inside sqlite3 -init /dev/null /etc/sekisho/policy.db "UPDATE setting SET value = 'postmaster' WHERE name = 'report_address';"
sleep 3 # it is in force, and kept
sent() { [ "$(inside journalctl --no-pager -o cat | grep -c 'to=<postmaster@mail.example.jp>.*status=sent')" -ge "$1" ]; }
check "the report" inside systemctl start sekisho-report.service
check "... ends well" is "$(property sekisho-report.service Result)" success
check "... and is sent" until_yes 20 sent 1
check "the alarm's timer" inside systemctl enable --now sekisho-alarm.timer

check "a policy that is broken is told in STATUS" inside sqlite3 -init /dev/null /etc/sekisho/policy.db \
    "PRAGMA ignore_check_constraints=1; INSERT INTO client_host(range, note) VALUES ('0.0.0.0/0', 'everybody');"
refused() { grep -q "policy.db is refused: " <(status_text); }
check "... there" until_yes 10 refused
check "... and by mail, within a minute" until_yes 75 sent 2
inside sqlite3 -init /dev/null /etc/sekisho/policy.db "DELETE FROM client_host;"

check "score of the unit as it runs" grep -qE "Overall exposure level.*: 0\.[0-4] " \
    <(inside systemd-analyze security --no-pager sekisho.service)

check "without activation: starts" inside systemctl start sekisho-direct.service
check "... instead of the other" is "$(inside systemctl is-active sekisho.service sekisho.socket | tr '\n' ' ')" \
    "inactive inactive "
check "... and is for Postfix" is "$(inside stat -c %U:%G /var/spool/postfix/sekisho/milter.sock)" sekisho:postfix
check "... and serves" mail once
check "... and stops" inside systemctl stop sekisho-direct.service
check "... and says so" is "$(property sekisho-direct.service Result)" success
check "... and nobody gets through" mail deferred
if [ "$failed" -gt 0 ]; then
    cat "$work/status"
    journal | tail -n 60
    inside journalctl -u sekisho-direct.service -u sekisho.socket -u postfix@-.service --no-pager -n 40
fi
true # what finish finds
