#!/bin/bash
# A machine with nothing but what README.md says: the packages named there, and that the release needs no more.
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh BUILD: one line for each failed check, last "N passed, N failed"; exit status 1 if one failed.
# What is installed where, tests/systemd/run.sh looks at.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
[ -d "${1:?which build folder?}" ] || exit 1
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

# ---------------------------------------------------------------- without cmocka

real=$(command -v pkg-config) || { echo "pkg-config is not installed"; exit 1; }
cat >"$work/pkg-config" <<END
#!/bin/sh
# all but cmocka, which only the tests want
case "\$*" in *cmocka*) echo "Package cmocka was not found" >&2; exit 1 ;; esac
exec "$real" "\$@"
END
chmod 755 "$work/pkg-config"
configure() # FOLDER TYPE: as the presets do
{
    timeout 120 cmake -S "$top" -B "$work/$1" -G Ninja "-DCMAKE_BUILD_TYPE=$2" \
        "-DPKG_CONFIG_EXECUTABLE=$work/pkg-config" >"$work/$1.log" 2>&1
}
check "the release is configured without cmocka" configure release Release
check "and says that it has no tests" grep -q 'tests are not built: cmocka' "$work/release.log"
check "no tests is a failure" not ctest --test-dir "$work/release" --no-tests=error
check "the preset release: no tests is a failure" grep -q '"noTestsAction": "error"' "$top/CMakePresets.json"
check "a Debug build wants cmocka" not configure debug Debug
check "and says so" grep -q cmocka "$work/debug.log"

# ---------------------------------------------------------------- the packages

# shellcheck source-path=SCRIPTDIR source=../../contrib/postfix/lab.sh
. "$top/contrib/postfix/lab.sh"
for word in $lab_packages_build sqlite3; do echo "$word"; done | sort >"$work/needed"
for name in README.md README.ja.md; do
    awk '/^apt-get install / { on = 1 } on { print } on && !/\\$/ { exit }' "$top/$name" |
        tr -s ' \\\n' '\n' | grep -vxE 'apt-get|install|' | sort >"$work/named"
    check "$name names the packages that the build needs, and sqlite3" diff "$work/needed" "$work/named"
done

printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
