"""Runs one guide from its first line to its last, inside the namespaces of run.sh."""
# SPDX-License-Identifier: BSD-2-Clause
#
# ```sh run, ```sql run      run; a command may say no (status 1), nothing else. SQL goes into policy.db, and what
#                            is there then is a good policy
# ```sql run refused         SQLite says no
# ```text said               each line stands in the answer of the block before, in this order; ... is anything
# <!-- test: WORDS -->       what the reader has already: no-policy (sekisho init has not been run), daemon, postfix,
#                            play NAME=VALUE... (SMTP at the milter: client helo login from to times)
# <!-- test: needs VERB -->  what follows is not run without that verb; until needs nothing
# ```text file PATH          a file that the reader has already
# 48213                      the number of the last refusal
import os
import re
import shutil
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../milter"))
from wire import Milter  # pylint: disable=wrong-import-position

guide = sys.argv[1]
name = os.path.basename(guide)
POLICY, STATE, MILTER = "/etc/sekisho/policy.db", "/var/lib/sekisho/state.db", "/run/sekisho/milter.sock"
passed = failed = 0
last_number, answer = "48213", None


def check(what, good, seen=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print("FAILED %s: %s\n%s" % (name, what, seen), flush=True)
    return good


def run(words, text=None, seconds=60):
    done = subprocess.run(words, input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                          check=False, errors="replace", stdin=subprocess.DEVNULL if text is None else None)
    return done.returncode, done.stdout


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


def in_force():
    """With a daemon an edit is in force within two seconds."""
    if os.path.exists("/run/sekisho/permit.sock"):
        time.sleep(2.2)


def commands(block):
    """One after the other; a line goes on where it ends with \\ or within a quoted heredoc."""
    whole = ""
    for line in block.splitlines():
        whole += line + "\n"
        if not line.endswith("\\") and whole.count("'") % 2 == 0 and whole.count('"') % 2 == 0:
            if whole.strip() and not whole.lstrip().startswith("#"):
                yield whole
            whole = ""
    if whole.strip():
        yield whole


def run_sh(block):
    said = ""
    for command in commands(block.replace("48213", last_number)):
        before = os.path.getmtime(POLICY) if os.path.exists(POLICY) else 0
        status, text = run(["bash", "-c", command])
        said += text
        check("ends with %d: %s" % (status, command.strip()), status <= 1, text)
        if before and os.path.getmtime(POLICY) != before:
            in_force()
    return said


def run_sql(block, refused):
    status, text = run(["sqlite3", "-init", "/dev/null", "-batch", "-bail", POLICY], block)
    if refused:
        check("is refused: %s" % block.strip(), status != 0, text)
        return text
    check("is taken: %s" % block.strip(), status == 0, text)
    checked, told = run(["sekisho", "check"])
    check("is a good policy: %s" % block.strip(), checked == 0, told)
    in_force()
    return text


def compare(block):
    lines = [squeeze(line) for line in answer.splitlines()]
    at = 0
    for line in block.replace("48213", last_number).splitlines():
        line = squeeze(line)
        if not line or line == "...":
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("...")))
        for found in range(at, len(lines)):
            if pattern.fullmatch(lines[found]):
                at = found + 1
                break
        else:
            check("says: %s" % line, False, answer if len(answer) < 2500 else answer[:1200] + "\n...\n" + answer[-1200:])
            continue
        check("says", True)


def as_user(user):
    return ["setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", "--"]


def start_daemon():
    os.makedirs("/run/sekisho", exist_ok=True)
    os.makedirs(os.path.dirname(STATE), exist_ok=True)
    log = open("daemon.log", "ab")
    subprocess.Popen(["sekisho-milter", "--stderr", "--permit", "unix:/run/sekisho/permit.sock", "--socket", "unix:" + MILTER],
                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    for _ in range(200):
        if os.path.exists(MILTER) and os.path.exists("/run/sekisho/permit.sock"):
            return
        time.sleep(0.05)
    check("the daemon serves", False, open("daemon.log", encoding="utf-8").read())


def start_postfix():
    """Debian's own files, as after its installation."""
    for place in ("/var/spool/postfix", "/var/lib/postfix"):
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place])
    run(["chown", "postfix:postfix", "/var/lib/postfix"])
    with open("/usr/share/postfix/main.cf.debian", encoding="utf-8") as stock, \
            open("/etc/postfix/main.cf", "w", encoding="utf-8") as main:
        main.write(stock.read() + "\nsmtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination\n"
                   "myhostname = mail.example.jp\nmydestination = example.jp, localhost\nmaillog_file = /var/log/mail.log\n"
                   "inet_protocols = ipv4\nalias_maps =\nlocal_recipient_maps =\ndefault_transport = discard\n"
                   "local_transport = discard\nmynetworks = 127.0.0.0/8 192.0.2.0/24\n")
    shutil.copy("/usr/share/postfix/master.cf.dist", "/etc/postfix/master.cf")
    status, text = run(["postfix", "start"])
    check("postfix starts", status == 0, text)


def play(values):
    global last_number
    for _ in range(int(values.get("times", "1"))):
        milter = Milter(MILTER)
        milter.connect(values["client"])
        milter.helo(values.get("helo", "client.example").encode())
        milter.mail(b"<" + values["from"].encode() + b">", login=values.get("login"), macros={"i": "4XqT2b0Wz"})
        said = milter.rcpt(b"<" + values["to"].encode() + b">", {})
        if said[0] == "pass":
            milter.end({"i": "4XqT2b0Wz"})
        else:
            last_number = re.search(rb"#(\d+)\]", said[1]).group(1).decode()
        milter.close()
    time.sleep(1.5)  # the keeper writes once a second


def blocks(text):
    for found in re.finditer(r"^```(\w*)([^\n]*)\n(.*?)^```$|^<!-- test: (.*?) -->$", text, re.M | re.S):
        if found.group(4):
            yield "test", found.group(4).split(), ""
        else:
            yield found.group(1), found.group(2).split(), found.group(3)


def main():
    global answer
    with open(guide, encoding="utf-8") as file:
        text = file.read()
    check("fewer than 150 lines", text.count("\n") < 150, text.count("\n"))
    check("its idea and its licence in the first line",
          bool(re.match(r"<!-- .+\. SPDX-License-Identifier: BSD-2-Clause -->\n# ", text)), text[:200])
    with open(os.path.join(here, "../../README.md"), encoding="utf-8") as readme:
        check("README.md leads to it", "(doc/%s)" % name in readme.read())
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        check("a link to %s" % link, os.path.exists(os.path.join(os.path.dirname(guide), link)))
    has = run(["sekisho", "--help"])[1]
    listed = list(blocks(text))
    if not any(kind == "test" and "no-policy" in words for kind, words, _ in listed):
        os.makedirs("/etc/sekisho")
        run(["sekisho", "init", "--domain", "example.jp", "--hostname", "mail.example.jp"])
    ran = compared = 0
    skipping = False
    for kind, words, block in listed:
        if kind == "test" and words[0] == "needs":
            skipping = words[1] != "nothing" and " %s " % words[1] not in has
            if skipping:
                print("%s: a part is not run, there is no verb %s" % (name, words[1]))
        elif skipping:
            continue
        elif kind == "test" and words[0] == "daemon":
            start_daemon()
        elif kind == "test" and words[0] == "postfix":
            start_postfix()
        elif kind == "test" and words[0] == "play":
            play(dict(word.split("=", 1) for word in words[1:]))
        elif words and words[0] == "file":
            with open(words[1], "w", encoding="utf-8") as file:
                file.write(block)
        elif "run" in words:
            ran += 1
            answer = run_sql(block, "refused" in words) if kind == "sql" else run_sh(block)
        elif "said" in words and check("an answer is there to be compared", answer is not None):
            compared += 1
            compare(block)
        elif words and kind != "test":
            check("a mark that means nothing: %s" % " ".join(words), False)
    check("something is run and compared", ran >= 3 and compared >= 2, (ran, compared))


try:
    main()
except Exception as fault:  # pylint: disable=broad-except
    check("%s: %r" % (type(fault).__name__, fault), False)
    if os.path.exists("daemon.log"):
        print(open("daemon.log", encoding="utf-8").read()[-1000:])
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed else 0)
