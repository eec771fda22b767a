#!/bin/bash
# The log as the real programs show it: standard error, /dev/log, rsyslogd, journald; then fail2ban-regex.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh BUILD, as root: /dev, /run and the processes are of namespaces of their own, so that neither the machine's
# /dev/log nor its journal sees a line of it. Last line "N passed, N failed"; exit status 1 if one failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?which build folder?}" && pwd) || exit 1
PATH=$PATH:/usr/sbin:/sbin

if [ -z "${SEKISHO_LOGS:-}" ]; then
    [ "$(id -u)" -eq 0 ] || { echo "this must be run as root: it makes namespaces"; exit 1; }
    for tool in rsyslogd journalctl fail2ban-regex fail2ban-client unshare sqlite3 python3; do
        command -v $tool >/dev/null || { echo "FAILED $tool is not installed"; exit 1; }
    done
    folder=$(mktemp -d /tmp/sekisho-logs.XXXXXX) || exit 1
    trap 'rm -rf "$folder"' EXIT
    SEKISHO_LOGS=$folder timeout 500 unshare --mount --pid --fork --kill-child --mount-proc \
        -- bash "$here/run.sh" "$build"
    exit $?
fi

# A /dev with nothing in it that could lead outside: no kmsg, no log.
dev=$SEKISHO_LOGS/dev
mkdir "$dev" && mount -t tmpfs -o mode=755 tmpfs "$dev" || exit 1
for name in null zero full random urandom; do
    : >"$dev/$name" && mount --bind "/dev/$name" "$dev/$name" || exit 1
done
ln -s /proc/self/fd "$dev/fd"
mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/systemd && mount --rbind "$dev" /dev || exit 1
if ! [ -s /etc/machine-id ]; then # journald wants one
    echo 0123456789abcdef0123456789abcdef >"$SEKISHO_LOGS/machine-id"
    : >>/etc/machine-id && mount --bind "$SEKISHO_LOGS/machine-id" /etc/machine-id || exit 1
fi

passed=0 failed=0
for script in logs fail2ban; do
    timeout 200 python3 -B "$here/$script.py" "$build" >"$SEKISHO_LOGS/said" 2>&1
    last=$(tail -n 1 "$SEKISHO_LOGS/said")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
        sed '$d' "$SEKISHO_LOGS/said"
    else
        failed=$((failed + 1))
        cat "$SEKISHO_LOGS/said"
        printf 'FAILED %s.py came to no end\n' "$script"
    fi
done
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
