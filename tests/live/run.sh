#!/bin/bash
# The real daemon and the real sqlite3 shell: edits, broken policies, full disks, restarts, options.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh BUILD: binaries at BUILD/milter/sekisho-milter and BUILD/ctl/sekisho.
# One line for each failed check, last "N passed, N failed"; exit status 1 if one failed.
# As root the daemon runs as another user, and a full state directory is tried too.
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/../milter" exec timeout 300 python3 -B "$here/live.py" "${1:?which build folder?}"
