#!/usr/bin/env python3
# Gaps planted into a copy of the manual, one at a time: run.py must find each of them.
# SPDX-License-Identifier: BSD-2-Clause
"""planted.py BUILD: one line for each gap that was not found, last "N found, N not found"."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.abspath(os.path.join(HERE, "..", ".."))
COPIED = ["man", "README.md", "README.ja.md", "schema/policy.sql", "schema/state.sql",
          "CMakeLists.txt", "milter/main.c", "ctl", "policy/core/decide.c",
          "policy/core/setting.c"]

# File (or "tool": what the tool prints), what stands there (a regular expression), what is put in
# its place, and what the fault must say.
GAPS = [
    # a page lacks something
    ("man/sekisho.8", r"\.It Ic prove\n", "", "verbs: missing ['prove']"),
    ("man/ja/sekisho.8", r"\.It Ic prove\n", "", "ja/sekisho.8: verbs: missing ['prove']"),
    ("man/sekisho.8", r"\.It Ic block lift .*\n", "", "words behind block: missing ['lift']"),
    ("man/ja/sekisho.8", r"\.It Ic window list\n", "", "words behind window: missing ['list']"),
    ("man/sekisho.8", r"\.It Fl -window Ar LOGIN\n", "", "options of explain"),
    ("man/ja/sekisho-milter.8", r"\.Op Fl -log .*\n", "", "SYNOPSIS: missing ['log']"),
    ("man/sekisho.8", r"\.It Fl -follow\n", "", "options of log"),
    ("man/ja/sekisho.8", r"\.It Fl -note Ar TEXT\n", "", "ja/sekisho.8: options of block"),
    ("man/sekisho.8", r"\.It Fl -json\n", "", "options of sekisho: missing ['json']"),
    ("man/sekisho.8", r"\.It Fl -follow\n", ".It Fl -follow Ar N\n", "whether they take a value"),
    ("man/sekisho-milter.8", r"\.It Fl -stderr\n", "", "missing ['stderr']"),
    ("man/ja/sekisho-milter.8", r"\.Op Fl -stderr\n", "", "ja/sekisho-milter.8: SYNOPSIS"),
    ("man/sekisho.8", r"\.It Ic no-record .*\n", "", "missing [('no-record'"),
    ("man/ja/sekisho.8", r"\.It Ic no-record .*\n", "", "ja/sekisho.8: reasons"),
    ("man/sekisho.8", r"(?<=too-many-recipients Pq tempfail , )452", "450", "reasons with answer"),
    ("man/ja/sekisho.8", r"(\.It Ic relay-denied .*\n(?:[^.].*\n)+)\.Pp\n", r"\1", "a remedy"),
    ("man/sekisho.8", r"Remedy: Wait, or raise", "Remedy: Wait or raise", "remedy of rate-client"),
    ("man/sekisho.8", r"is neither logged in", "is not logged in", "meaning of relay-denied"),
    ("man/sekisho.8", r"\.It 4\n", "", "exit status: missing ['4']"),
    ("man/sekisho-policy.5", r"\.It 10 Ta Ic gateway .*\n", "", "the table of checks"),
    ("man/sekisho-policy.5", r"Ic block Ta -", "Ic block Ta door", "the table of checks"),
    ("man/sekisho-policy.5", r"Ic helo Ta - Ta exemption", "Ic helo Ta - Ta -",
     "the table of checks"),
    ("man/ja/sekisho-policy.5", r"(?<=gateway Ta - Ta - Ta )observe", "enforce",
     "ja/sekisho-policy.5: the table of checks"),
    ("man/sekisho-policy.5", r"\.It Ic gateway\n", "", "checks in their order"),
    ("man/sekisho-policy.5", r"\.Ss own_name\n", "", "tables: missing ['own_name']"),
    ("man/ja/sekisho-policy.5", r"\.It Va source\n", "", "columns of ip_range"),
    ("man/sekisho-policy.5", r"block_for Pq 86400", "block_for Pq 3600", "columns of spam_trap"),
    ("man/sekisho-policy.5", r"\.It Va ring_size .*\n", "", "settings with their defaults"),
    ("man/sekisho-policy.5", r"login_window_seconds Pq 0", "login_window_seconds Pq 60",
     "settings with their"),
    ("man/ja/sekisho-policy.5", r"retention Pq 30", "retention Pq 31", "settings with their"),
    ("man/sekisho-state.5", r"\.It Va outcome\n", "", "columns of decision"),
    ("man/ja/sekisho-state.5", r"\.Ss counter\n", "", "tables: missing ['counter']"),
    ("man/sekisho-milter.8", r"\.It Pa /var/lib/sekisho/clock\n", "",
     "directory: missing ['clock']"),
    ("man/sekisho-milter.8", r"\.It Pa /etc/sekisho/policy.db\n", "", "FILES does not name"),
    # a page has something too much
    ("man/sekisho.8", r"\.It Ic prove\n", ".It Ic prove\n.It Ic doctor\n", "too much ['doctor']"),
    ("man/sekisho.8", r"\.It Fl -follow\n", ".It Fl -follow\n.It Fl -colour\n", "'colour'"),
    ("man/sekisho.8", r"\.It Ic no-record ", ".It Ic no-pen Pq reject\n.It Ic no-record ",
     "too much [('no-pen'"),
    ("man/sekisho-policy.5", r"\.It Va source\n", ".It Va source\nx\n.It Va colour\n",
     "too much [('colour'"),
    ("man/sekisho-policy.5", r"\.It Va mode Pq enforce\n\.Li enforce ,",
     ".It Va colour Pq red\nx\n.It Va mode Pq enforce\n.Li enforce ,", "too much [('colour'"),
    ("man/sekisho-policy.5", r"\.Va client_host ,", ".Va client_hosts ,", "client_hosts is no"),
    ("man/sekisho-policy.5", r"\.Ic spam-trap", ".Ic spam-traps", "spam-traps is no verb"),
    ("man/sekisho-milter.8", r"\.It Pa /var/lib/sekisho/clock\n",
     ".It Pa /var/lib/sekisho/clock\nx\n.It Pa /var/lib/sekisho/bell\n",
     "directory: missing [], too much ['bell']"),
    ("man/sekisho.8", r"\.Xr sekisho-state 5", ".Xr sekisho-states 5", "no sekisho-states(5)"),
    ("man/sekisho-policy.5", r"INTO client_host\(range,note\)", "INTO client_host(ranges,note)",
     "no column named ranges"),
    ("man/sekisho-state.5", r"WHERE by_hand=0", "WHERE hand=0", "no such column: hand"),
    # form and languages
    ("man/sekisho.8", r"\.El\n\.Sh FILES", ".Sh FILES", "inserting missing end"),
    ("man/ja/sekisho.8", r"\.Pq Ar VERB", ".Pq Ar VERB\n" + "関" * 40, "is wider than 80"),
    ("man/ja/sekisho.8", r"\.Sh 使用例\n", "", "number of sections"),
    ("man/ja/sekisho.8", r"\.Sh 使用例\n", ".Sh 例\n", "EXAMPLES is called"),
    ("man/ja/sekisho-milter.8", r"\.It Li fd.*\n", "", "items: missing"),
    ("man/ja/sekisho-state.5", r"by_hand=0", "by_hand=1", "examples: missing"),
    ("man/ja/sekisho-policy.5", r"判定を 1 週間残す。", "Keep decisions for a week:",
     "is not translated"),
    ("man/ja/sekisho-milter.8", r"\.Xr syslog 3\n", "syslog\n", "references: missing"),
    ("CMakeLists.txt", r" man/ja/\*\.\[1-9\]", "", "ja/sekisho.8: is not installed"),
    ("README.ja.md", r"## マニュアル\n", "", "headings: missing"),
    ("README.ja.md", r"sekisho init --domain", "sekisho init  --domain", "code blocks: missing"),
    ("README.ja.md", r"\| `sekisho check` .*\n", "", "rows of tables"),
    ("README.ja.md", r"\[DESIGN\.md\]\(DESIGN\.md\)", "DESIGN.md", "links: missing"),
    ("README.ja.md", r"`sekisho` は", "sekisho は", "code in lines: missing"),
    ("README.md", r"`--keep` leaves", "`--stay` leaves", "code in lines: missing"),
    # the code has something that no page has
    ("tool", r"no-record", "no-paper", "missing [('no-paper'"),
    ("tool", r"  prove  ", "  proof  ", "verbs: missing ['proof']"),
    ("tool", r"sekisho --help \| --version", "sekisho --help", "its usage and its code"),
    ("tool", r"\| lift SUBJECT", "| lift SUBJECT | move SUBJECT", "missing ['move']"),
    ("tool", r"\[--for 1h\]", "[--for 1h] [--why TEXT]", "sekisho block: its usage names"),
    ("tool", r'"gateway"', '"gate"', "the table of checks: missing [('10', 'gate'"),
    ("ctl/main.c", r'\{"json", no_argument', '{"yaml", no_argument, NULL, 0}, {"json", no_argument',
     "'yaml'"),
    ("ctl/verb_log.c", r'\{"since", req', '{"quiet", no_argument, NULL, 0}, {"since", req',
     "'quiet'"),
    ("milter/main.c", r'\{"stderr", no_arg', '{"json", no_argument, NULL, 0}, {"stderr", no_arg',
     "missing ['json']"),
    ("ctl/ctl.h", r"CTL_UNREACHABLE = 4", "CTL_LATE = 5, CTL_UNREACHABLE = 4", "exit status"),
    ("policy/core/decide.c", r"\{check_rate, false", "{check_rate, true", "the table of checks"),
    ("policy/core/setting.c", r'"ring_size", false, "", 100000', '"ring_size", false, "", 100001',
     "settings of the schema and the code"),
    ("schema/policy.sql", r"CREATE TABLE own_name", "CREATE TABLE colour (red TEXT);\n"
     "CREATE TABLE own_name", "tables: missing ['colour']"),
    ("schema/policy.sql", r"    source TEXT,", "    colour TEXT,\n    source TEXT,",
     "missing [('colour', None)]"),
    ("schema/policy.sql", r"'block', 'listed', 'sender', 'helo', 'trap', 'rate'\)\)",
     "'block', 'listed', 'sender', 'helo', 'trap'))", "the table of checks"),
    ("schema/policy.sql", r"\('retention', '30',", "('retention', '14',", "settings"),
    ("schema/state.sql", r"    outcome TEXT,", "    colour TEXT,\n    outcome TEXT,",
     "columns of decision"),
]

# Prints what the tool prints, changed; what is asked with the new word is asked with the old one.
WRAPPER = """#!/usr/bin/env python3
import re, subprocess, sys
words = [w.replace({new!r}, {old!r}) if {plain!r} else w for w in sys.argv[1:]]
ended = subprocess.run([{tool!r}] + words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
sys.stdout.write(re.sub({pattern!r}, {new!r}, ended.stdout.decode()))
sys.exit(ended.returncode)
"""


def try_gap(build, gap):
    """None, or why the gap was not found."""
    path, pattern, new, wanted = gap
    with tempfile.TemporaryDirectory(prefix="sekisho-planted.") as tree:
        for name in COPIED:
            source, target = os.path.join(TREE, name), os.path.join(tree, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, target)
        used = build
        if path == "tool":
            used = os.path.join(tree, "build")
            os.makedirs(os.path.join(used, "ctl"))
            os.symlink(os.path.join(build, "milter"), os.path.join(used, "milter"))
            wrapper = os.path.join(used, "ctl", "sekisho")
            with open(wrapper, "w", encoding="utf-8") as file:
                file.write(WRAPPER.format(new=new, old=pattern, pattern=pattern,
                                          plain=bool(re.fullmatch("[a-z-]+", pattern)),
                                          tool=os.path.join(build, "ctl", "sekisho")))
            os.chmod(wrapper, 0o755)
        elif path:
            with open(os.path.join(tree, path), encoding="utf-8") as file:
                text = file.read()
            changed, count = re.subn(pattern, new, text, count=1)
            if count == 0 or changed == text:
                return "there is nothing to plant it into"
            with open(os.path.join(tree, path), "w", encoding="utf-8") as file:
                file.write(changed)
        ended = subprocess.run([sys.executable, os.path.join(HERE, "run.py"), used, tree],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200,
                               check=False)
        said = ended.stdout.decode()
        if not path:
            return None if ended.returncode == 0 else said
        faults = [line for line in said.split("\n") if line.startswith("FAILED")]
        if ended.returncode == 0 or not any(wanted in line for line in faults):
            return f"ended with {ended.returncode}: {said[-1500:]}"
        return None


def main():
    build = os.path.abspath(sys.argv[1])
    # the copy without a gap first: it must pass
    gaps = [("", "", "", "nothing")] + GAPS
    lost = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for gap, why in zip(gaps, pool.map(lambda gap: try_gap(build, gap), gaps)):
            if why is not None:
                lost += 1
                print(f"NOT FOUND {gap[0]} {gap[1]!r} -> {gap[2]!r} ({gap[3]}): {why}")
    print(f"{len(gaps) - lost} found, {lost} not found")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
