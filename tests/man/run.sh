#!/bin/bash
# The manual pages and README.ja.md against the code, the schema and each other.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh BUILD: the folder with ctl/sekisho and milter/sekisho-milter.
set -u
here=$(cd "$(dirname "$0")" && pwd)
python=/usr/bin/python3
[ -x $python ] || python=python3
exec $python "$here/run.py" "${1:?usage: run.sh BUILD}"
