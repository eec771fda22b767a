#!/bin/sh
# sekisho report: its figures against the sqlite3 shell's, its page and its mail against strict parsers.
# SPDX-License-Identifier: BSD-2-Clause
# usage: report.sh BUILD
python=/usr/bin/python3
[ -x $python ] || python=python3
exec $python -B "$(dirname "$0")/report.py" "${1:?usage: report.sh BUILD}"
