# Can this machine run the tests with a real Postfix? Ends with 77 if not.
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
if [ "$(id -u)" -ne 0 ]; then
    echo "skipped: needs root, it makes a network of its own"
    exit 77
fi
for tool in unshare setpriv ip postfix dovecot smtp-sink openssl python3 sqlite3; do
    command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
