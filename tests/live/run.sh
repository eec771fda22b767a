#!/bin/bash
# The real daemon in trouble and under load, each part a Python file of this folder; live is the default.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh BUILD [PART]: binaries at BUILD/milter/sekisho-milter and BUILD/ctl/sekisho.
# One line for each failed check, last "N passed, N failed"; exit status 1 if one failed.
# As root the daemon of part live runs as another user, and a full state directory is tried too.
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/../milter" exec timeout 300 python3 -B "$here/${2:-live}.py" "${1:?which build folder?}"
