#!/usr/bin/env python3
# sekisho report: its figures against the sqlite3 shell's, its page and its mail against strict parsers.
# SPDX-License-Identifier: BSD-2-Clause
"""report.py BUILD: one line for each failed check, last "N passed, N failed"."""
import email
import email.policy
import email.utils
import hashlib
import html.parser
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.abspath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(HERE, "..", "milter"))
import wire  # noqa: E402

TAGS = set("html head meta title style body h1 h2 p div pre table thead tbody tr th td svg g text rect path "
           "details summary b wbr".split())
ATTRIBUTES = set("lang charset name content http-equiv class viewBox role aria-label x y width height d".split())
HOSTILE = [b"<script>alert(1)</script>", b"</td></tr></table><script src=//evil.example/x></script>",
           b"\"><img src=x onerror=alert(1)>", b"' onmouseover='alert(1)", b"&lt;b&gt;&amp;&#60;", b"<!-- ", b"]]>",
           b"</style><style>*{display:none}", b"a\r\nBcc: everybody@example.jp\r\n\r\nhello", b"--=_sekisho_",
           b"$(touch owned)`touch owned`", b"a' ; touch owned ; '", b"\xe2\x80\xaeevil", b"\x1b[2J", b"\xff\xfe\x00x", b""]


def shown(raw, keep=60):
    """What printable_copy makes of it."""
    text = "".join(chr(b) if 0x20 <= b < 0x7f and b not in b'"\\' else "\\x%02x" % b for b in raw[:keep])
    return text + ("...(%d)" % len(raw) if len(raw) > keep else "")


def words(text):
    return " ".join(text.split())


class Tags(html.parser.HTMLParser):
    """A second reader, as lenient as a browser: both must see the same."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.seen, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.texts.append(data)


class Report:
    def __init__(self, build):
        self.work = wire.Work(build)
        self.check = self.work.check
        self.box = os.path.join(self.work.folder, "box")
        os.mkdir(self.box)
        self.sendmail = self.program("sendmail", 'cat > "$box/mail"; printf "%s\\n" "$@" > "$box/words"')

    def program(self, name, body):
        path = os.path.join(self.work.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nbox=%s\n%s\n" % (shlex.quote(self.box), body))
        os.chmod(path, 0o755)
        return path

    def run(self, *words, state=None, status=0, policy=None, what=None):
        done = subprocess.run([self.work.build + "/ctl/sekisho", "--policy", policy or self.work.policy, "--state",
                               state or self.work.state] + list(words), capture_output=True, timeout=120,
                              stdin=subprocess.DEVNULL, check=False)
        said = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
        self.check("%s: ends with %d" % (what or " ".join(words), status),
                   done.returncode == status and "Sanitizer" not in said and "runtime error" not in said,
                   (done.returncode, said))
        return said

    def json(self, *words, **how):
        return json.loads(self.run("--json", "report", *words, **how))

    def mailed(self):
        """The message that the stand-in got, and removes it; None: there was none."""
        path = os.path.join(self.box, "mail")
        if not os.path.exists(path):
            return None
        with open(path, "rb") as file:
            message = file.read()
        os.unlink(path)
        return message

    def sums(self, state, sql):
        return [line.split("|") for line in self.work.sql(sql, path=state).splitlines()]

    # -- forms -------------------------------------------------------------------------------

    def same(self, what, got, wanted):
        self.check(what, got == wanted, (got, "wanted", wanted))

    def good_text(self, what, text):
        self.check(what + ": 78 columns of printable ASCII",
                   all(len(line) <= 78 and re.fullmatch("[ -~]*", line) and not line.endswith(" ")
                       for line in text.splitlines()),
                   [line for line in text.splitlines() if len(line) > 78 or not re.fullmatch("[ -~]*", line)
                    or line.endswith(" ")])

    def good_page(self, what, raw):
        """The elements of a page that is well-formed, harmless and needs nothing else."""
        self.check(what + ": ASCII", all(byte == 10 or 32 <= byte < 127 for byte in raw))
        self.check(what + ": lines that mail can carry", max(map(len, raw.splitlines())) < 998)
        text = raw.decode("ascii")
        self.check(what + ": HTML", text.startswith("<!DOCTYPE html>\n"))
        try:
            root = xml.fromstring(text.split("\n", 1)[1])
        except xml.ParseError as fault:
            self.check(what + ": well-formed", False, fault)
            return None
        elements = list(root.iter())
        self.check(what + ": no element that is not ours", {e.tag for e in elements} <= TAGS,
                   {e.tag for e in elements} - TAGS)
        names = {name for e in elements for name in e.attrib}
        self.check(what + ": no attribute that is not ours", names <= ATTRIBUTES, names - ATTRIBUTES)
        self.check(what + ": refers to nothing", not re.search(r"url\(|@import|https?:|src=|href=|javascript", "".join(
            list(root.find("head/style").text) + [v for e in elements for v in e.attrib.values()])))
        lenient = Tags(text)
        self.same(what + ": a browser sees the same elements", lenient.seen, [e.tag for e in elements])
        self.same(what + ": and the same text", "".join("".join(lenient.texts).split()),
                  "".join("".join(root.itertext()).split()))
        return root

    def good_mail(self, what, raw, to):
        """The message, strictly parsed, and its two parts."""
        self.check(what + ": lines of RFC 5322", b"\r" not in raw and b"\0" not in raw and raw.isascii() and
                   max(map(len, raw.split(b"\n"))) < 998)
        try:
            message = email.message_from_bytes(raw, policy=email.policy.strict.clone(raise_on_defect=True))
            parts = list(message.iter_parts())
            for part in [message] + parts:
                self.check(what + ": no defect", not part.defects, part.defects)
        except Exception as fault:  # whatever a parser objects to
            self.check(what + ": can be parsed", False, repr(fault))
            return None, None, None
        self.same(what + ": these headers and no others, each once", sorted(message.keys()),
                  sorted(["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]))
        self.same(what + ": To", message["To"], to)
        self.same(what + ": From is one address", [a.addr_spec for a in message["From"].addresses], ["sekisho@mail.example.jp"])
        self.same(what + ": RFC 3834", message["Auto-Submitted"], "auto-generated")
        self.check(what + ": Date is now", abs(message["Date"].datetime.timestamp() - time.time()) < 100, message["Date"])
        self.same(what + ": two forms, the plain one first", [part.get_content_type() for part in parts],
                  ["text/plain", "text/html"])
        self.same(what + ": UTF-8", {part.get_content_charset() for part in parts}, {"utf-8"})
        text, page = parts[0].get_content(), parts[1].get_content()
        self.good_text(what + ": text", text)
        self.good_page(what + ": page", page.rstrip("\n").encode() + b"\n")
        return message, text, page

    # -- a day in the life -------------------------------------------------------------------

    def day(self):
        """Sessions of all kinds through the daemon, until they are written down."""
        work = self.work
        work.init()
        work.sql("UPDATE rate_limit SET allowed = 12, \"then\" = 'block', block_for = 7200 WHERE name = 'login-hour';"
                 "UPDATE rate_limit SET allowed = 20 WHERE name = 'probing';"
                 "INSERT INTO client_host(range) VALUES('192.0.2.25');"
                 "INSERT INTO ip_range(range, verdict) VALUES('198.18.0.0/24', 'tempfail'), ('198.18.1.0/24', 'reject');"
                 "INSERT INTO spam_trap(address) VALUES('zz@example.jp');")
        self.daemon = work.start()

        def session(client, login, letters, helo=b"client.example", keep=True):
            milter = wire.Milter(work.milter)
            milter.connect(client)
            milter.helo(helo)
            for n, (sender, recipients) in enumerate(letters):
                milter.mail(sender, login=login)
                if any([milter.rcpt(recipient)[0] == "pass" for recipient in recipients]):
                    self.queue += 1
                    milter.end({"i": "%010X" % self.queue}) if keep else None
            milter.close()

        self.queue = 0xAB0000
        friends = [(b"<taro@example.jp>", [b"<friend%d@far.example>" % n, b"<hanako@example.jp>"]) for n in range(15)]
        session("203.0.113.80", "taro", [(b"<taro@example.jp>", [b"<lost@far.example>"])], keep=False)
        session("203.0.113.80", "taro", friends)
        session("203.0.113.81", "hanako", [(b"<hanako@example.jp>", [b"<a@far.example>"])] * 10)
        session("192.0.2.25", None, [(b"<app@other.example>", [b"<b@far.example>", b"<c@far.example>", b"<taro@example.jp>"])] * 4)
        session("198.18.0.9", None, [(b"<x@far.example>", [b"<taro@example.jp>"])] * 3)
        session("198.18.1.9", None, [(b"<x@far.example>", [b"<taro@example.jp>"])] * 4)
        session("203.0.113.7", None, [(b"<hanako@example.jp>", [b"<taro@example.jp>"])] * 25)
        session("203.0.113.8", None, [(b"<a@far.example>", [b"<taro@example.jp>", b"<b@far.example>"])] * 6)
        session("203.0.113.9", None, [(b"<a@far.example>", [b"<zz@example.jp>"])], helo=b"mail.example.jp")
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if work.sql("SELECT count(*) FROM block; SELECT count(*) FROM decision WHERE recipient GLOB '*zz@*'",
                        path=work.state) == "2\n1\n":
                break
            time.sleep(0.2)
        # the day before, directly: twice of everything that was refused; and a week before, which is in no sum
        for days, times in ((1, 2), (9, 1)):
            columns = [row[1] for row in self.sums(work.state, "PRAGMA table_info(decision)")]
            rest = ", ".join('"%s"' % name for name in columns if name not in ("number", "at"))
            work.sql("INSERT INTO decision(number, at, %s) SELECT %d + number + n * 1000, strftime('%%Y-%%m-%%d %%H:%%M:%%S',"
                     " substr(at, 1, 19), '-%d days', '-1 minutes') || substr(at, 20), %s FROM decision,"
                     " (SELECT 1 AS n UNION SELECT 2) WHERE action <> 'accept' AND number < 1000 AND n <= %d"
                     % (rest, 100000 + days * 10000, days, rest, times), path=work.state)
        # and one of today among the numbers of yesterday, in another hour than the others of its row
        work.sql("INSERT INTO decision(number, at, %s) SELECT 111500, strftime('%%Y-%%m-%%d %%H:%%M:%%S', substr(at, 1, 19),"
                 " '-3 hours') || substr(at, 20), %s FROM decision WHERE reason = 'sender-spoofed' AND number < 1000 LIMIT 1"
                 % (rest, rest), path=work.state)

        # a check that is only observed would have said no
        work.sql("UPDATE decision SET observed_reason = 'sender-null' WHERE number % 7 = 0", path=work.state)

    def figures(self):
        state = self.work.state
        self.run("usage")  # the daemon writes its counters down, which it does every ten seconds by itself
        got = self.got = self.json()
        span = "at >= '%s' AND at < '%s'"
        now = span % (got["since"], got["until"] + ".999")
        before = span % (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 2 * 86400)), got["since"])
        for name, where in (("now", now), ("before", before)):
            self.same(name + ": by reason", got[name]["reasons"],
                      {r: int(n) for r, n in self.sums(state, "SELECT reason, count(*) FROM decision WHERE %s GROUP BY 1" % where)})
            actions = {"accept": 0, "reject": 0, "tempfail": 0}
            actions.update({a: int(n) for a, n in self.sums(
                state, "SELECT action, count(*) FROM decision WHERE %s GROUP BY 1" % where)})
            self.same(name + ": by answer", got[name]["actions"], actions)
            self.same(name + ": all", got[name]["recipients"], sum(actions.values()))
            self.same(name + ": observed", [[str(got[name]["observed"])]], self.sums(
                state, "SELECT count(*) FROM decision WHERE %s AND observed_reason IS NOT NULL" % where))
            self.check(name + ": some were observed", got[name]["observed"] > 0)
            self.same(name + ": elsewhere", [[str(got[name]["elsewhere"])]], self.sums(
                state, "SELECT count(*) FROM decision WHERE %s AND action = 'accept' AND recipient_local = 0" % where))
        self.check("there is something in each", got["now"]["recipients"] > 80 and got["before"]["recipients"] > 80
                   and {"accept", "reject", "tempfail"} <= {k for k, v in got["now"]["actions"].items() if v}, got["now"])
        self.same("by hour", {(t["at"], k): t[k] for t in got["times"] for k in ("accept", "reject", "tempfail") if t[k]},
                  {(h, a): int(n) for h, a, n in self.sums(
                      state, "SELECT substr(at, 1, 13), action, count(*) FROM decision WHERE %s GROUP BY 1, 2" % now)})
        self.same("every hour of the day", len(got["times"]), 25)
        self.same("refused clients", [[c["name"], str(c["count"]), str(c["number"])] for c in got["clients"]], self.sums(
            state, "SELECT client, count(*) AS n, max(number) FROM decision WHERE %s AND action <> 'accept' "
                   "GROUP BY 1 ORDER BY n DESC, 1 LIMIT 10" % now))
        self.same("logins", [[str(v) for v in (c["name"], c["count"], c["elsewhere"], c["refused"])] for c in got["logins"]],
                  self.sums(state, "SELECT login, sum(action = 'accept') AS n, sum(action = 'accept' AND recipient_local = 0),"
                                   " sum(action <> 'accept') FROM decision WHERE %s AND login IS NOT NULL GROUP BY 1 "
                                   "HAVING n > 0 ORDER BY n DESC LIMIT 10" % now))
        self.same("forged senders", [[c["name"], str(c["count"])] for c in got["forged_senders"]], self.sums(
            state, "SELECT sender, count(*) FROM decision WHERE %s AND reason = 'sender-spoofed' GROUP BY 1" % now))
        self.same("rows", sorted([r["table"], str(r["row"]), str(r["count"])] for r in got["rows"]), sorted(self.sums(
            state, "SELECT row_table, row_id, count(*) FROM decision WHERE %s AND row_table IS NOT NULL GROUP BY 1, 2" % now)))
        for table, figures in got["tables"].items():
            ids = [int(row[0]) for row in self.sums(self.work.policy, "SELECT id FROM %s ORDER BY id" % table)]
            spoke = {r["row"] for r in got["rows"] if r["table"] == table}
            self.same("rows of %s that never spoke" % table, (figures["rows"], figures["spoke"], figures["never"]),
                      (len(ids), len(spoke & set(ids)), [i for i in ids if i not in spoke][:8]))
        self.check("both kinds of rows are there", got["tables"]["ip_range"]["spoke"] == 2 and
                   got["tables"]["client_host"]["never"], got["tables"])
        self.same("blocks that began", [[str(got["blocks_began"])]], self.sums(state, "SELECT count(*) FROM note WHERE kind = 'block'"))
        self.near(got)
        shorter = self.json("--since", "3d")
        self.same("in days", (shorter["every"], shorter["now"]["recipients"]),
                  ("day", got["now"]["recipients"] + got["before"]["recipients"]))
        self.same("an empty span", self.json("--since", "1s")["now"]["recipients"], 0)

    def near(self, got):
        usage = json.loads(self.run("--json", "usage"))["counters"]
        self.same("near a limit", sorted((n["subject"], n["count"], n["allowed"]) for n in got["near"]),
                  sorted((u["subject"], u["count"], u["allowed"]) for u in usage if 5 * u["count"] >= 4 * u["allowed"]))
        self.check("somebody is", any(n["subject"] == "identity:hanako" for n in got["near"]), got["near"])

    def blast(self):
        state, got = self.work.state, self.got
        block = got["blocks"][0]
        self.same("the login comes first", (block["subject"], block["reason"]), ("identity:taro", "rate-identity"))
        self.same("what it had got out", [str(block["elsewhere"]), str(block["ours"])], self.sums(
            state, "SELECT sum(recipient_local = 0), sum(recipient_local = 1) FROM decision WHERE login = 'taro' AND "
                   "action = 'accept' AND outcome = 'accepted' AND number < 100000")[0])
        self.check("that is twelve", block["elsewhere"] == 12, block)
        queues = [row[0] for row in self.sums(state, "SELECT DISTINCT queue_id FROM decision WHERE login = 'taro' AND "
                                                     "action = 'accept' AND outcome = 'accepted' AND recipient_local = 0 ORDER BY number")]
        self.same("in these messages", block["queues"], queues)
        text = self.run("report")
        self.good_text("the text", text)
        joined = re.sub(r" \\\n +", " ", text)
        self.check("the command that holds them", "postsuper -h " + " -h ".join(queues) + "\n" in joined, joined)
        self.check("and the one that lifts it", "sekisho block lift identity:taro\n" in joined)
        command = re.search(r"sekisho (log --since \S+ --login taro --action accept)", joined)
        lines = self.run(*command.group(1).split()) if command else ""
        self.same("and the one that shows all of it", lines.count("to=<friend"), 12)
        self.check("the blocked stranger", any(b["subject"] == "client:203.0.113.7" and b["elsewhere"] == 0
                                               for b in got["blocks"]) and "had got nothing out" in text)
        self.check("each reason in words", "Somebody" not in text and all(
            w in " ".join(text.split()) for w in ("A local address in MAIL FROM is no proof of anything.",
                                                  "A login that may send, from where and as whom it may.")))
        for subject in ("relay:192.0.2.25", "identity:nobody"):
            self.run("block", "add", subject, "--for", "1h", "--note", "for a test")
        blocks = self.json()["blocks"]
        self.same("logins, then machines of ours, then strangers", [b["subject"].split(":")[0] for b in blocks],
                  ["identity", "identity", "relay", "client"])
        self.same("what a machine got out: recipients, and each letter once",
                  (blocks[2]["elsewhere"], blocks[2]["ours"], len(blocks[2]["queues"])), (8, 4, 4))
        for subject in ("relay:192.0.2.25", "identity:nobody"):
            self.run("block", "lift", subject)
        self.check("a letter that was given up is no letter", "<lost@far.example>" not in block["last_recipients"] and
                   got["logins"][0]["elsewhere"] == 13, got["logins"])

    def page(self):
        path = os.path.join(self.work.folder, "report.html")
        self.run("report", "--html", path)
        with open(path, "rb") as file:
            root = self.good_page("the page", file.read())
        self.same("two pictures", len(root.findall(".//svg")), 2)
        rects = root.findall(".//svg")[1].findall(".//rect")
        self.same("what passed, what was deferred, what was refused", {r.get("class") for r in rects}, {"p", "d", "r"})
        self.same("its mode", stat.S_IMODE(os.stat(path).st_mode), 0o640)
        os.chmod(path, 0o644)
        inode = os.stat(path).st_ino
        self.run("report", "--html", path)
        self.check("another file under the same name, with its mode", os.stat(path).st_ino != inode and
                   stat.S_IMODE(os.stat(path).st_mode) == 0o644)
        os.symlink("nowhere", path + ".link")
        self.run("report", "--html", path + ".link", status=2)
        os.mkfifo(path + ".fifo")  # as a device would be: root must not rename a page over /dev/null
        self.run("report", "--html", path + ".fifo", status=2)
        self.check("the FIFO is what it was", stat.S_ISFIFO(os.stat(path + ".fifo").st_mode))
        self.run("report", "--html", os.path.join(self.work.folder, "none", "x"), status=2)
        self.same("nothing is left beside", [name for name in os.listdir(self.work.folder) if ".new." in name], [])

    def mail(self):
        self.run("report", "--mail", "admin@example.jp", "--sendmail", self.sendmail)
        with open(os.path.join(self.box, "words"), encoding="ascii") as file:
            self.same("the words of sendmail: the null sender, one recipient", file.read().split("\n"),
                      ["-i", "-f", "<>", "--", "admin@example.jp", ""])
        raw = self.mailed()
        message, text, _ = self.good_mail("the mail", raw, "admin@example.jp")
        self.check("its subject", "identity:taro is blocked" in message["Subject"], message["Subject"])
        self.check("the text is in it", "postsuper -h" in text)
        for wrong in ("a@b,c@d", "-oQ/tmp", "a b@example.jp", "a@b@c", "@b", "a@", "a\nBcc: x@example.jp", "<a@b>", "|sh", "a" * 330):
            self.run("report", "--mail=" + wrong, "--sendmail", self.sendmail, status=2, what="to " + repr(wrong[:20]))
        self.same("none of these was sent", self.mailed(), None)
        self.check("nobody is named", "report_address is empty" in self.run("report", "--mail", "--sendmail", self.sendmail))
        self.same("so nobody gets it", self.mailed(), None)
        self.work.sql("UPDATE setting SET value = 'postmaster' WHERE name = 'report_address'")
        self.run("report", "--mail", "--sendmail", self.sendmail)
        self.good_mail("to report_address", self.mailed(), "postmaster")
        self.run("report", "--mail", "--sendmail", "sendmail", status=2)
        self.run("report", "--mail", "a@b", "--html", "x", status=2)
        for name, body, told in (("fails", "cat > /dev/null; exit 75", "exit status 75"), ("dies", "kill -9 $$", "signal 9")):
            said = self.run("report", "--mail", "--sendmail", self.program(name, body), status=4, what="sendmail " + name)
            self.check("sendmail %s: it is told" % name, told in said, said)
        self.run("report", "--mail", "--sendmail", "/nonexistent/sendmail", status=4)

    # -- the alarm ---------------------------------------------------------------------------

    def alarm(self):
        told = os.path.join(self.work.folder, "told")
        state = self.work.state

        def ring(what, wanted, sendmail=None, status=0):
            self.run("report", "--mail", "--alarm", told, "--sendmail", sendmail or self.sendmail, status=status,
                     what="alarm, " + what)
            raw = self.mailed()
            self.check("alarm, %s: %s" % (what, "told" if wanted else "silent"), (raw is not None) == bool(wanted), raw and raw[:300])
            if raw and wanted:
                message, text, _ = self.good_mail("alarm, " + what, raw, "postmaster")
                self.check("alarm, %s: it says %s" % (what, wanted), wanted in message["Subject"] + text, (message["Subject"], text[:800]))

        def note(subject, number=1):
            self.work.sql("INSERT INTO note(at, kind, subject, number) VALUES(strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now'), 'block',"
                          " '%s', %d)" % (subject, number), path=state)

        def edit(**values):
            with open(told, encoding="ascii") as file:
                known = json.load(file)
            known.update(values)
            with open(told, "w", encoding="ascii") as file:
                json.dump(known, file)

        ring("sendmail fails", None, self.program("fails", "cat > /dev/null; exit 75"), status=4)
        ring("the first time", "2 blocks began by themselves")
        ring("again", None)
        note("client:203.0.113.90")
        ring("a stranger within the hour", None)
        note("client:203.0.113.91")
        ring("another", None)
        note("identity:saburo")
        ring("a login, and all that waited", "3 blocks began by themselves")
        ring("and no more", None)
        note("client:203.0.113.92")
        edit(clients_at=int(time.time() - 3700) * 1000)
        ring("a stranger after an hour", "client:203.0.113.92")
        note("relay:192.0.2.25")
        ring("a machine of ours", "relay:192.0.2.25 is blocked")
        ring("all is told", None)

        # a policy that is refused: each refusal once
        self.work.sql("INSERT INTO client_host(range) VALUES('0.0.0.0/1')")
        self.wait_refused(True)
        ring("a refused policy", "policy.db was refused")
        ring("the same", None)
        self.work.sql("UPDATE client_host SET range = '10.0.0.0/8' WHERE range = '0.0.0.0/1'")
        self.wait_refused(False)
        ring("mended", None)

        # another file, whose notes begin with 1 again
        other = os.path.join(self.work.folder, "other")
        os.mkdir(other)
        os.link(self.work.folder + "/state/status.json", other + "/status.json")
        with open(os.path.join(TREE, "schema", "state.sql"), encoding="utf-8") as file:
            self.work.sql("PRAGMA journal_mode=WAL;" + file.read(), path=other + "/state.db")
        state = other + "/state.db"
        note("identity:shiro")
        self.run("report", "--mail", "--alarm", told, "--sendmail", self.sendmail, state=state)
        self.check("alarm, another state.db", b"identity:shiro" in (self.mailed() or b""))

        # what cannot be remembered is not told
        note("identity:goro")
        self.run("report", "--mail", "--alarm", self.work.folder + "/none/told", "--sendmail", self.sendmail, state=state, status=2)
        self.same("alarm, it cannot be remembered", self.mailed(), None)
        os.symlink("told", told + ".link")  # can be read, and is not written over
        self.run("report", "--mail", "--alarm", told + ".link", "--sendmail", self.sendmail, state=state, status=2)
        self.same("alarm, nor here", self.mailed(), None)
        self.work.sql("UPDATE setting SET value = '' WHERE name = 'report_address'")
        self.check("alarm to nobody", "is empty" in self.run("report", "--mail", "--alarm", told, "--sendmail", self.sendmail, state=state))
        self.run("report", "--alarm", told, status=2)

    def wait_refused(self, wanted):
        until = time.monotonic() + 15
        while time.monotonic() < until:
            with open(self.work.folder + "/state/status.json", encoding="utf-8") as file:
                if json.load(file)["refused"] == wanted:
                    return
            time.sleep(0.1)
        self.check("the daemon has seen the edit", False)

    # -- whatever a client says --------------------------------------------------------------

    def hostile(self):
        with open(os.path.join(os.environ.get("SEKISHO_CASES", os.path.join(TREE, "..", "shared", "cases")),
                               "hostile-strings.json"), encoding="utf-8") as file:
            cases = json.load(file)["cases"]
        strings = list(HOSTILE)
        for case in cases:
            raw = bytes.fromhex(case.get("prefix_hex", ""))
            part = bytes.fromhex(case["hex"])
            while case.get("repeat_to") and part and len(raw) + len(part) <= case["repeat_to"]:
                raw += part
            strings.append((raw or part)[:512])
        strings = list(dict.fromkeys(strings))
        self.check("many of them", len(strings) > 150, len(strings))
        folder = os.path.join(self.work.folder, "hostile")
        os.mkdir(folder)
        state, policy = folder + "/state.db", folder + "/policy.db"
        self.work.init(path=policy)
        self.work.sql("UPDATE rate_limit SET name = '<b>&\"''' WHERE name = 'probing'", path=policy)
        with open(os.path.join(TREE, "schema", "state.sql"), encoding="utf-8") as file:
            self.work.sql("PRAGMA journal_mode=WAL;" + file.read(), path=state)
        for begin in range(0, len(strings), 10):
            self.hostile_ten(state, policy, strings[begin:begin + 10], begin)
        self.check("nothing was run", not os.path.exists("owned") and not os.path.exists(os.path.join(folder, "owned")))

    def hostile_ten(self, state, policy, ten, begin):
        sql = ["PRAGMA ignore_check_constraints=ON; BEGIN; DELETE FROM decision; DELETE FROM block; DELETE FROM note;"]
        number = 0
        for place, raw in enumerate(ten):
            text = "CAST(x'%s' AS TEXT)" % raw.hex() if place % 2 else "x'%s'" % raw.hex()
            for _ in range(20 - place):
                for action, reason, kind in (("accept", "pass-identity", "login"), ("reject", "sender-spoofed", "stranger")):
                    number += 1
                    sql.append("INSERT INTO decision(number, at, action, reason, kind, post, row_table, row_id, row_text, client, helo,"
                               " login, sender, recipient, recipient_local, session, queue_id, policy, mta_refused, submission,"
                               " not_for_mta) VALUES({n}, strftime('%Y-%m-%d %H:%M:%S.123', 'now', '-1 minute'), '{a}', '{r}', '{k}',"
                               " 'milter', 'rate_limit', 4, {t}, {t}, {t}, {l}, {t}, {t}, 0, {t}, {t}, 1, 0, 0, 0);".format(
                                   n=number, a=action, r=reason, k=kind, t=text, l=text if kind == "login" else "NULL"))
            # as the daemon writes a subject, and as nobody should
            sql.append("INSERT OR IGNORE INTO block(subject, note) VALUES('identity:%s', %s), (%s, %s);" % (
                shown(raw, 300).replace("'", "''"), text, text, text))
            sql.append("INSERT INTO note(at, kind, subject, number, text) VALUES(strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now'),"
                       " 'block', %s, 1, %s);" % (text, text))
        self.work.sql("\n".join(sql) + "COMMIT;", path=state)
        what = "hostile %d" % begin
        how = {"state": state, "policy": policy, "what": what}
        page = os.path.join(self.work.folder, "hostile.html")
        self.run("report", "--html", page, **how)
        with open(page, "rb") as file:
            root = self.good_page(what, file.read())
        cells = {words("".join(cell.itertext())) for cell in root.iter("td")} if root is not None else set()
        for raw in ten:
            self.check(what + ": shown as text", words("%s, %s" % (shown(raw), shown(raw))) in cells, (raw, shown(raw)))
        self.good_text(what, self.run("report", **how))
        self.check(what + ": in JSON", isinstance(self.json(**how)["forged_senders"], list))
        self.run("report", "--mail", "a@example.jp", "--alarm", os.path.join(self.work.folder, "told.%d" % begin), "--sendmail",
                 self.sendmail, **how)
        self.good_mail(what, self.mailed(), "a@example.jp")

    # -- what cannot be read -----------------------------------------------------------------

    def missing(self):
        nowhere = os.path.join(self.work.folder, "nowhere", "state.db")
        said = self.run("report", state=nowhere, status=4)
        self.check("no state.db: it says so, and reports what it can", "figures below are not whole" in said and "By reason" in said, said)
        self.run("report", "--mail", "a@example.jp", "--sendmail", self.sendmail, state=nowhere, status=4)
        self.good_mail("no state.db", self.mailed(), "a@example.jp")
        said = self.run("report", policy=nowhere)
        self.check("no policy.db: names are those of the last good one", "policy cannot be read here" in said and
                   "ip_range 1 (198.18.0.0/24" in said, said)
        hostile = os.path.join(self.work.folder, "hostile", "state.db")
        said = self.run("report", policy=nowhere, state=hostile)
        self.check("nor a last good one", "policy cannot be read here" in said and "rate_limit 4" in said, said)
        self.run("report", "--mail", "--sendmail", self.sendmail, policy=nowhere, state=hostile, status=3)
        for words in (["--since", "yesterday"], ["--since", "400d"], ["--since", "2999-01-01 00:00:00"], ["more"], ["--no"], ["--html"]):
            self.run("report", *words, status=2)
        # it reads, and nothing else; an empty -wal is removed by nobody
        self.same("the daemon ends", self.work.stop(self.daemon), 0)

        def prints():
            return {name: hashlib.sha256(open(os.path.join(self.work.folder, "state", name), "rb").read()).hexdigest()
                    for name in ("state.db", "state.db-wal", "status.json")}
        before = prints()
        said = self.run("report")
        self.check("without the daemon", "The daemon does not run" in said)
        self.same("nothing was written", prints(), before)


def main():
    report = Report(sys.argv[1])
    try:
        report.day()
        for part in (report.figures, report.blast, report.page, report.mail, report.alarm, report.hostile, report.missing):
            wire.unit(report.work, part)
    finally:
        report.work.finish()


main()
