#!/bin/bash
# The guides in doc/: each command marked to be run is run, and what the guide shows of the answer is compared.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh BUILD [GUIDE.md...], as root: /etc, /usr and /var are overlays, network and processes of namespaces of their
# own, so that a guide may install, make users and change /etc/postfix, and nothing of it is left. What marks there
# are: doc.py. Last line "N passed, N failed"; exit status 1 if one failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?which build folder?}" && pwd) || exit 1
shift
PATH=$PATH:/usr/sbin:/sbin

if [ -z "${SEKISHO_DOC:-}" ]; then
    [ "$(id -u)" -eq 0 ] || { echo "this must be run as root: it makes namespaces"; exit 1; }
    [ $# -gt 0 ] || set -- "$here"/../../doc/*.md
    passed=0 failed=0
    folder=$(mktemp -d /tmp/sekisho-doc.XXXXXX) || exit 1
    trap 'rm -rf "$folder"' EXIT
    for guide; do
        guide=$(realpath "$guide")
        SEKISHO_DOC=$folder timeout 120 unshare --net --mount --pid --fork --kill-child --mount-proc \
            -- bash "$here/run.sh" "$build" "$guide" >"$folder/said" 2>&1
        last=$(tail -n 1 "$folder/said")
        if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
            passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
            sed '$d' "$folder/said"
        else
            failed=$((failed + 1))
            cat "$folder/said"
            printf 'FAILED %s came to no end\n' "$guide"
        fi
    done
    printf '%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
fi

lab=$SEKISHO_DOC
mount -t tmpfs -o mode=755 tmpfs "$lab" || exit 1
for place in etc usr var; do
    mkdir "$lab/$place" "$lab/$place.work"
    mount -t overlay overlay -o "lowerdir=/$place,upperdir=$lab/$place,workdir=$lab/$place.work" /$place ||
        { echo "FAILED no overlay over /$place"; exit 1; }
done
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
printf '127.0.0.1 localhost\n198.51.100.25 mail.example.jp\n' >"$lab/hosts"
mount --bind "$lab/hosts" /etc/hosts || exit 1
rm -rf /etc/sekisho /var/lib/sekisho /usr/sbin/sekisho-milter /usr/sbin/sekisho
install "$build/milter/sekisho-milter" "$build/ctl/sekisho" /usr/local/sbin/ || exit 1
cp -r "$here/../../contrib" "$lab/contrib" && mkdir -p "$lab/here" && cd "$lab" || exit 1
exec timeout 110 python3 -B "$here/doc.py" "$@"
