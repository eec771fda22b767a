#!/usr/bin/env python3
# What the manual pages name is what code and schema have, in both directions and both languages.
# SPDX-License-Identifier: BSD-2-Clause
"""run.py BUILD [TREE]: BUILD holds ctl/sekisho and milter/sekisho-milter; TREE (this one by
default) the pages, README files, schema and sources. One line for each fault, last "N passed,
N failed"; exit status 1 if there is one."""
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unicodedata

PAGES = ["sekisho-milter.8", "sekisho.8", "sekisho-policy.5", "sekisho-state.5"]
LANGUAGES = ["", "ja"]
WIDTH = 80
# Macros that may stand inside a line; a name ends where the next of them begins.
MACROS = set("Ar Cm Dq Dv Em Fl Ic Li Ns No Oc Oo Op Pa Pq Qq Sx Ta Va Xr".split())
OPTION = re.compile(r'\{"([a-z-]+)",\s*(required|no)_argument')

passed = failed = 0


def check(good, what):
    global passed, failed
    passed += bool(good)
    failed += not good
    if not good:
        print("FAILED", " ".join(what.split()))


def same(got, wanted, what):
    """Two lists (order counts) or sets; a fault names what is missing and what is too much."""
    missing = [x for x in wanted if x not in got]
    extra = [x for x in got if x not in wanted]
    order = not missing and not extra and list(got) != list(wanted) and not isinstance(got, set)
    check(not missing and not extra and not order,
          f"{what}: missing {missing}, too much {extra}" + (", another order" if order else ""))


# -- pages -----------------------------------------------------------------------------------

def split(line):
    """The words of a macro line."""
    return [w.strip('"') for w in re.findall(r'"[^"]*"|\S+', line)]


def named(line, macro):
    """What a line names by this macro: .It Va a , Va b -> a, b."""
    names, on = [], False
    for word in split(line.lstrip(".")):
        if word in MACROS or word == "It":
            on = word == macro
        elif on and not re.fullmatch(r"[.,;:?()|]+", word):
            names.append(word)
    return names


class Section:
    def __init__(self, title):
        self.title, self.lines, self.parts = title, [], []

    def items(self):
        """Pairs of an .It line and the lines below it, lists inside lists included."""
        found = []
        for line in self.lines:
            if line.startswith(".It"):
                found.append((line, []))
            elif line.startswith(".El"):
                found.append(("", []))
            elif found:
                found[-1][1].append(line)
        return [(line, body) for line, body in found if line != ""]


class Page:
    def __init__(self, root, language, name):
        self.path = os.path.join("man", language, name)
        self.name, self.language = name, language
        self.sections = []
        self.good = True
        try:
            with open(os.path.join(root, self.path), encoding="utf-8") as file:
                self.lines = file.read().split("\n")
        except (OSError, UnicodeDecodeError) as error:
            check(False, f"{self.path}: {error}")
            self.lines, self.good = [], False
        for line in self.lines:
            if line.startswith(".Sh "):
                self.sections.append(Section(line[4:]))
            elif line.startswith(".Ss "):
                self.sections[-1].parts.append(Section(line[4:]))
            elif self.sections:
                section = self.sections[-1]
                section.lines.append(line)
                if section.parts:
                    section.parts[-1].lines.append(line)

    def literals(self):
        return re.findall(r"^\.Bd -literal\n(.*?)^\.Ed", "\n".join(self.lines), re.S | re.M)

    def prose(self):
        """Lines that are neither macros nor examples."""
        text = re.sub(r"^\.Bd -literal\n.*?^\.Ed", "", "\n".join(self.lines), flags=re.S | re.M)
        return [line for line in text.split("\n") if line and not line.startswith(".")]


def plain(lines):
    """The text of lines, on one line."""
    return " ".join(" ".join(line for line in lines if not line.startswith(".Pp")).split()) \
        .replace("\\&", "").replace("\\e", "\\")


# -- code and schema -------------------------------------------------------------------------

class Truth:
    def __init__(self, build, root):
        self.root = root
        self.tool = os.path.join(build, "ctl", "sekisho")
        self.daemon = os.path.join(build, "milter", "sekisho-milter")
        self.policy = self.database("policy")
        self.state = self.database("state")
        self.work = tempfile.TemporaryDirectory(prefix="sekisho-man.")
        self.db = os.path.join(self.work.name, "policy.db")
        self.run("init", "--domain", "example.jp", "--hostname", "mail.example.jp")

    def source(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read()

    def database(self, name):
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.executescript(self.source(f"schema/{name}.sql"))
        return db

    def run(self, *words, program=None):
        """Everything a call prints."""
        command = [program] if program else [self.tool, "--policy", self.db]
        ended = subprocess.run(command + list(words), stdout=subprocess.PIPE, timeout=60,
                               stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
        return ended.stdout.decode()

    def json(self, *words):
        return json.loads(self.run("--json", *words))

    def options(self, *paths):
        """{name: takes a value} of the getopt tables in the sources."""
        return {name: kind == "required" for path in paths
                for name, kind in OPTION.findall(self.source(path))}

    def verbs(self):
        """{verb: (words behind it, options)} as the tool prints them."""
        verbs, last = {}, None
        for line in self.run("--help").split("\n")[1:]:
            begin = re.match(r"  ([a-z]+) +(.*)", line)
            if begin:
                last = begin.group(1)
                verbs[last] = begin.group(2)
            elif last and line:
                verbs[last] += " " + line.strip()
        found = {}
        for verb, text in verbs.items():
            words = text.split(": ")[0] if ": " in text or text.endswith(":") else ""
            words = {w for w in re.findall(r"(?:^|\| )([a-z][a-z-]*)(?= |$)", words)}
            said = text + self.run(verb, "--no-such-option")
            options = set(re.findall(r"--([a-z][a-z-]*)", said)) - {"no-such-option"}
            sources = [f"ctl/{name}" for name in os.listdir(os.path.join(self.root, "ctl"))
                       if re.fullmatch(rf"verb_{verb}(_[a-z]+)*\.c", name)]
            in_source = self.options(*sources)
            check(options == set(in_source),
                  f"sekisho {verb}: its usage names {sorted(options)}, its code takes "
                  f"{sorted(in_source)}")
            found[verb] = (words, in_source)
        return found

    def reasons(self):
        return [self.json("explain", name) for name in
                self.json("explain", "no-such-reason")["reasons"]]

    def checks(self):
        """Rows (number, name, door, exemption, mode) in the order of judgement."""
        asked = self.json("explain", "--client", "192.0.2.1", "--from", "<>", "--to",
                          "postmaster@example.jp")
        doors = {name.lower().replace("_", "-"): door == "true" for name, door in
                 re.findall(r"\[CHECK_([A-Z_]+)\] = \{\w+, (true|false), ",
                            self.source("policy/core/decide.c"))}
        modes = dict(self.policy.execute('SELECT "check", mode FROM check_mode'))
        rows = []
        for number, step in enumerate(asked["checks"], 1):
            name, spared = step["check"], "exemption"
            try:
                self.policy.execute("BEGIN")
                self.policy.execute('INSERT INTO exemption(range,"check") VALUES(?,?)',
                                    ("192.0.2.1", name))
            except sqlite3.IntegrityError:
                spared = "-"
            self.policy.execute("ROLLBACK")
            rows.append((str(number), name, "door" if doors.get(name) else "-", spared,
                         modes.get(name)))
        same([row[1] for row in rows], list(modes), "check_mode of the schema and the code")
        same(set(doors), set(modes), "the array of decide.c and check_mode")
        return rows

    def settings(self):
        rows = [tuple(row) for row in
                self.policy.execute("SELECT name, value FROM setting ORDER BY id")]
        kinds = re.findall(r'\{"([a-z0-9_]+)", (true|false), "([^"]*)", (\d+), \d+, \d+\}',
                           self.source("policy/core/setting.c"))
        same([(name, text if is_text == "true" else number) for name, is_text, text, number
              in kinds], rows, "settings of the schema and the code")
        return rows


def tables(db):
    """{table: [(column, default or None)]} in the order of the schema."""
    names = [row[0] for row in db.execute(
        "SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%' "
        "ORDER BY rowid")]
    found = {}
    for name in names:
        columns = []
        for _, column, _, _, default, _ in db.execute(f'PRAGMA table_info("{name}")'):
            # what is computed or empty needs no word
            default = None if default in (None, "''") or "(" in default else default.strip("'")
            columns.append((column, default))
        found[name] = columns
    return found


# -- one page --------------------------------------------------------------------------------

def in_parentheses(line):
    words = line.split(" Pq ", 1)
    return words[1].replace("\\(dq", '"').replace(" ,", ",") if len(words) == 2 else None


def compare_options(page, section, options, what):
    found = {}
    for line, _ in section.items():
        if line.startswith(".It Fl -"):
            name = split(line)[2][1:]
            found[name] = " Ar " in line
    same(set(found), set(options), f"{page.path}: options of {what}")
    same(sorted(n for n in found if found[n]), sorted(n for n in options if options[n]),
         f"{page.path}: options of {what} with a value")


def synopsis_options(section):
    return {w[1:] for line in section.lines for w in split(line) if re.fullmatch("-[a-z-]+", w)}


def compare_milter(page, section, truth):
    options = truth.options("milter/main.c")
    said = set(re.findall(r"--([a-z][a-z-]*)", truth.run("--help", program=truth.daemon)))
    same(said, set(options), "sekisho-milter: its usage and its code")
    compare_options(page, section("DESCRIPTION"), options, "sekisho-milter")
    same(synopsis_options(section("SYNOPSIS")), set(options), f"{page.path}: SYNOPSIS")


def compare_tool(page, section, truth, verbs, reasons):
    options = truth.options("ctl/main.c")
    said = set(re.findall(r"--([a-z]+)", re.split(r"\n  (?! )", truth.run("--help"))[0]))
    same(said, set(options), "sekisho: its usage and its code")
    compare_options(page, section("DESCRIPTION"), options, "sekisho")
    same(synopsis_options(section("SYNOPSIS")), set(options), f"{page.path}: SYNOPSIS")

    found, verb = {}, None
    for line, _ in section("VERBS").items():
        words = split(line)
        if words[1] == "Ic":
            verb = words[2]
            found.setdefault(verb, (set(), {}))
            if len(words) > 3 and re.fullmatch("[a-z][a-z-]*", words[3]):
                found[verb][0].add(words[3])
        elif words[1] == "Fl":
            found[verb][1][words[2][1:]] = " Ar " in line
    same(list(found), list(verbs), f"{page.path}: verbs")
    for name in set(found) & set(verbs):
        same(found[name][0], verbs[name][0], f"{page.path}: words behind {name}")
        same(sorted(found[name][1].items()), sorted(verbs[name][1].items()),
             f"{page.path}: options of {name}, and whether they take a value")

    items = [(named(line, "Ic")[0], in_parentheses(line), body)
             for line, body in section("REASONS").items() if line.startswith(".It Ic")]
    wanted = [(r["reason"], r["action"] + (f", {r['code']} {r['enhanced']}" if "code" in r else ""))
              for r in reasons]
    same([item[:2] for item in items], wanted, f"{page.path}: reasons with answer and code")
    bodies = {item[0]: item[2] for item in items}
    for reason in reasons:
        body = bodies.get(reason["reason"])
        if body is None:
            continue
        cause, _, remedy = "\n".join(body).partition(".Pp\n")
        check(cause.strip(), f"{page.path}: {reason['reason']} has no meaning")
        check(bool(remedy.strip()) == bool(reason.get("remedy")),
              f"{page.path}: {reason['reason']}: a remedy is missing, or there is none")
        if page.language == "":
            same([plain(cause.split("\n"))], [reason["cause"]],
                 f"{page.path}: meaning of {reason['reason']}")
            if reason.get("remedy"):
                same([plain(remedy.split("\n"))], ["Remedy: " + reason["remedy"]],
                     f"{page.path}: remedy of {reason['reason']}")

    codes = re.findall(r"CTL_\w+ = (\d+)", truth.source("ctl/ctl.h").split("};")[0])
    same([split(line)[1] for line, _ in section("EXIT STATUS").items()], codes,
         f"{page.path}: exit status")


def compare_tables(page, section, wanted):
    found = {}
    for part in section("TABLES").parts:
        columns = found.setdefault(part.title, [])
        for line, _ in part.items():
            names = named(line.split(" Pq ")[0], "Va")
            value = in_parentheses(line)
            columns += [(name, value if len(names) == 1 else None) for name in names]
    same(list(found), list(wanted), f"{page.path}: tables")
    for name in set(found) & set(wanted):
        same(found[name], wanted[name], f"{page.path}: columns of {name} with their defaults")


def compare_policy(page, section, truth, checks, settings):
    order = section("ORDER OF JUDGEMENT")
    rows = [tuple(w for w in split(line)[1:] if w not in ("Ta", "Ic"))
            for line, _ in order.items() if " Ta " in line and not line.startswith(".It Em")]
    same(rows, checks, f"{page.path}: the table of checks")
    same([named(line, "Ic")[0] for line, _ in order.items() if line.startswith(".It Ic")],
         [row[1] for row in checks], f"{page.path}: checks in their order")
    compare_tables(page, section, tables(truth.policy))
    same([(named(line.split(" Pq ")[0], "Va")[0], in_parentheses(line))
          for line, _ in section("SETTINGS").items()],
         [(name, value if value != "" else '""') for name, value in settings],
         f"{page.path}: settings with their defaults")


def compare_examples(page, name, truth):
    """The SQL of the examples can be pasted."""
    db = truth.database(name)
    for text in page.literals():
        text = text.replace("\\e", "\\").replace("\\&", "")
        if re.match("INSERT|UPDATE|SELECT|DELETE", text):
            try:
                db.executescript(text)
                check(True, "")
            except sqlite3.Error as error:
                check(False, f"{page.path}: {text.strip()}: {error}")


def compare_names(page, truth, known):
    """Whatever a page names is there."""
    for line in page.lines:
        if not line.startswith("."):
            continue
        for name in named(line, "Va"):
            check(name in known["Va"], f"{page.path}: {name} is no table, column or setting")
        for name in [w[1:] for w in split(line) if re.fullmatch("-[a-z][a-z-]+", w)]:
            check(name in known["Fl"] or line.startswith((".Bl", ".Bd")),
                  f"{page.path}: --{name} is no option")
        if " Ic " in line or line.startswith(".Ic "):
            words = [w for w in named(line, "Ic") if re.fullmatch("[a-z][a-z-]*", w)]
            for name in words:
                check(name in known["Ic"],
                      f"{page.path}: {name} is no verb, check or reason")
    for text in re.findall(r"^\.Xr (sekisho\S*) (\d)", "\n".join(page.lines), re.M):
        check(".".join(text) in PAGES, f"{page.path}: there is no {text[0]}({text[1]})")


def compare_form(page, root):
    path = os.path.join(root, page.path)
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    check(lint.returncode == 0 and not lint.stdout, f"{page.path}: {lint.stdout.decode()}")
    shown = subprocess.run(["mandoc", "-T", "utf8", "-O", f"width={WIDTH - 2}", path], timeout=60,
                           check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in re.sub(".\b", "", shown.stdout.decode()).split("\n"):
        width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
        check(width <= WIDTH, f"{page.path}: is wider than {WIDTH} columns: {line.strip()}")


# -- two languages ---------------------------------------------------------------------------

def compare_languages(page, other, titles):
    def of(page, macro):
        return [line for line in page.lines
                if line.startswith(macro) and not line.startswith(".It Em")]
    what = f"{other.path} and {page.path}"
    check(len(page.sections) == len(other.sections), f"{what}: number of sections")
    for ours, theirs in zip(page.sections, other.sections):
        check(len(ours.parts) == len(theirs.parts), f"{what}: subsections of {ours.title}")
        check(titles.setdefault(ours.title, theirs.title) == theirs.title,
              f"{other.path}: {ours.title} is called {theirs.title} here, and otherwise elsewhere")
    same(of(other, ".It"), of(page, ".It"), f"{what}: items")
    same(*[sorted({tuple(split(line)[1:3]) for line in of(p, ".Xr")}) for p in (other, page)],
         f"{what}: references")
    same(other.literals(), page.literals(), f"{what}: examples")
    for line in other.prose():
        check(any(ord(c) > 0x2fff for c in line) or len(line.split()) < 4,
              f"{other.path}: is not translated: {line}")


def compare_readme(root):
    texts = {}
    for name in ("README.md", "README.ja.md"):
        try:
            with open(os.path.join(root, name), encoding="utf-8") as file:
                texts[name] = file.read()
        except (OSError, UnicodeDecodeError) as error:
            check(False, f"{name}: {error}")
            return
    parts = []
    for text in texts.values():
        blocks = re.findall(r"^```.*?^```", text, re.S | re.M)
        rest = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
        parts.append({"headings": re.findall(r"^#+", rest, re.M), "code blocks": blocks,
                      "rows of tables": [row.count("|") for row in
                                         re.findall(r"^\|.*", rest, re.M)],
                      "links": sorted(re.findall(r"\]\(([^)]*)\)", rest)),
                      "code in lines": sorted({" ".join(code.split()) for code in
                                               re.findall(r"`([^`]+)`", rest)})})
    for what in parts[0]:
        same(parts[1][what], parts[0][what], f"README.ja.md and README.md: {what}")


# -- files -----------------------------------------------------------------------------------

def compare_files(pages, truth):
    """What the daemon makes in its state directory is what FILES says."""
    folder = os.path.join(truth.work.name, "state")
    os.mkdir(folder)
    wanted = {}
    for page, section in pages:
        paths = [p for line, _ in section.items() for p in named(line, "Pa")]
        wanted[page.path] = {os.path.basename(p) for p in paths if "/var/lib/sekisho/" in p}
        for path in re.findall(r'"(/(?:etc|var)/[^"]*\.db)"', truth.source("milter/main.c")):
            check(path in paths, f"{page.path}: FILES does not name {path}")
    daemon = subprocess.Popen(
        [truth.daemon, "--policy", truth.db, "--state", f"{folder}/state.db", "--socket",
         f"unix:{truth.work.name}/milter", "--permit", f"unix:{truth.work.name}/permit",
         "--stderr"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    try:
        there, until = set(), time.monotonic() + 30
        while time.monotonic() < until and not all(want <= there for want in wanted.values()):
            time.sleep(0.2)
            there = set(os.listdir(folder))
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
    for path, want in wanted.items():
        same(want, there, f"{path}: files of the state directory")


# -- all of it -------------------------------------------------------------------------------

def main():
    if shutil.which("mandoc") is None:
        print("mandoc is not installed (Debian: the package mandoc)")
        return 1
    build = os.path.abspath(sys.argv[1])
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "..", ".."))
    truth = Truth(build, root)
    verbs, reasons, checks = truth.verbs(), truth.reasons(), truth.checks()
    settings = truth.settings()
    columns = [tables(db) for db in (truth.policy, truth.state)]
    known = {
        "Va": {name for db in columns for table in db for name in
               [table] + [column for column, _ in db[table]]} | {name for name, _ in settings},
        "Fl": set(truth.options("milter/main.c", "ctl/main.c")) |
              {name for _, options in verbs.values() for name in options},
        "Ic": {"sekisho"} | set(verbs) | {word for words, _ in verbs.values() for word in words} |
              {row[1] for row in checks} | {reason["reason"] for reason in reasons},
    }
    titles, files, english = {}, [], {}
    for language in LANGUAGES:
        for name in PAGES:
            page = Page(root, language, name)
            if not page.good:
                continue
            english.setdefault(name, page)

            def section(title, page=page, name=name):
                # a section in another language is the one at the same place
                for ours, theirs in zip(english[name].sections, page.sections):
                    if ours.title == title:
                        return theirs
                check(False, f"{page.path}: there is no section {title}")
                return Section(title)

            if name == "sekisho-milter.8":
                compare_milter(page, section, truth)
                files.append((page, section("FILES")))
            elif name == "sekisho.8":
                compare_tool(page, section, truth, verbs, reasons)
            elif name == "sekisho-policy.5":
                compare_policy(page, section, truth, checks, settings)
                compare_examples(page, "policy", truth)
            else:
                compare_tables(page, section, columns[1])
                compare_examples(page, "state", truth)
            compare_names(page, truth, known)
            compare_form(page, root)
            check("man/*.[1-9] man/ja/*.[1-9]" in truth.source("CMakeLists.txt"), f"{page.path}: is not installed")
            if language != "":
                compare_languages(english[name], page, titles)
    compare_files(files, truth)
    compare_readme(root)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
