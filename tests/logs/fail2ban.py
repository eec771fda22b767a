"""contrib/fail2ban with the real fail2ban-regex: whose lines of the real daemon count, and that nobody can forge one."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import re
import shutil
import subprocess
import sys
import syslog

import readers
from readers import Journal, Rsyslog, serve
from wire import Door, Milter, Work, unit

work = Work(sys.argv[1])
check = work.check
here = os.path.dirname(os.path.abspath(__file__))
shipped = os.path.join(here, "../../contrib/fail2ban")
filter_path = os.path.join(shipped, "filter.d/sekisho.conf")
VICTIM, VICTIM6 = "198.51.100.99", "2001:db8:dead::99"

TEXT = ('decision=77 action=reject reason=relay-denied row=- at=milter session=9-9 queue=- kind=stranger client=%s '
        'helo="x" login="" from="<a@far.example>" to="<b@elsewhere.example>" policy=1')
JSON = ('{"event":"decision","level":"notice","number":77,"at":"2026-11-24 03:00:00.000","action":"reject","reason":"relay-denied",'
        '"check":"relay","row":null,"kind":"stranger","post":"milter","recipient_local":false,"policy":1,"client":"%s",'
        '"client_name":null,"helo":null,"host":null,"listener":null,"login":null,"from":"x","to":"y","submission":false,'
        '"not_for_mta":false,"mta_refused":false,"lengths":{},"escaped":[],"session":null,"queue_id":null,"outcome":null,}')
FORGED = [pattern.format(line % victim).encode() for victim in (VICTIM, VICTIM6) for line in (TEXT, JSON) for pattern in
          ("{}", "x\n{}", 'x" {}', "x\\\" {}", "mail sekisho-milter[1]: {}", "x\nNov 24 03:00:00 mail sekisho-milter[1]: {}",
           "\r\n2026-11-24T03:00:00+00:00 mail sekisho-milter[1]: {}\n")]
# what a field may be closed with so that the rest of the line is the client's own
for victim in (VICTIM, VICTIM6):
    FORGED += [b'x" login="" from="<a@far.example>" to="<b@elsewhere.example>" policy=1',
               ('x" kind=stranger client=%s helo="x" login="" from="" to="" policy=1' % victim).encode(),
               ('x kind=stranger client=%s helo=x' % victim).encode(),
               ('x","client":"%s","login":null' % victim).encode(),
               ('x\\","kind":"stranger","client":"%s","helo":"' % victim).encode()]

FAR, OUT, IN = b"<a@far.example>", b"<b@elsewhere.example>", b"<taro@example.jp>"
DOOR = object()
# what, client, HELO, login, sender, recipient, what is answered (a reason, or pass), does it count?
ROWS = [
    ("a relay attempt", "220.86.126.1", b"x", None, FAR, OUT, "relay-denied", True),
    ("and by IPv6", "2001:db8:7::1", b"x", None, FAR, OUT, "relay-denied", True),
    ("with the null sender", "220.86.126.2", b"x", None, b"<>", OUT, "relay-denied", True),
    ("at the door", "220.86.126.3", DOOR, None, FAR, OUT, "relay-denied", True),
    ("by IPv6 at the door", "2001:db8:7::3", DOOR, None, FAR, OUT, "relay-denied", True),
    ("a percent hack", "220.86.126.4", b"x", None, FAR, b"<b%elsewhere.example@example.jp>", "address-routed", True),
    ("our sender, as of a forwarder or a list", "220.86.126.5", b"x", None, IN, IN, "sender-spoofed", False),
    ("our name", "220.86.126.6", b"mail.example.jp", None, FAR, IN, "helo-our-name", True),
    ("a trap", "220.86.126.7", b"x", None, FAR, b"<trap@example.jp>", "spam-trap", True),
    ("a blocked client", "220.86.126.8", b"x", None, FAR, IN, "client-blocked", False),
    ("one that is blocked for a limit", "220.86.127.200", b"x", None, FAR, IN, "rate-client", False),
    ("and goes on", "220.86.127.200", b"x", None, FAR, IN, "client-blocked", False),
    ("a trap, with the null sender", "220.86.126.20", b"x", None, b"<>", b"<trap@example.jp>", "spam-trap", False),
    ("mail for us", "220.86.126.21", b"x", None, FAR, IN, "pass", False),
    ("a listed client", "203.0.113.7", b"x", None, FAR, IN, "client-listed", False),
    ("a deferred client", "203.0.113.200", b"x", None, FAR, IN, "client-deferred", False),
    ("too much", "220.86.127.1", b"x", None, FAR, IN, "rate-client", False),
    ("a login", "220.86.126.22", b"x", b"shiro2@example.jp", b"<shiro2@example.jp>", OUT, "pass", False),
    ("a login with another's sender", "220.86.126.23", b"x", b"shiro2@example.jp", FAR, OUT, "sender-not-yours", False),
    ("a login that may not send", "220.86.126.24", b"x", b"saburo@example.jp", FAR, OUT, "identity-may-not-send", False),
    ("postmaster's login", "220.86.126.25", b"x", b"postmaster", FAR, OUT, "identity-receive-only", False),
    ("a login at a trap", "220.86.126.26", b"x", b"shiro2@example.jp", b"<shiro2@example.jp>", b"<trap@example.jp>", "spam-trap", False),
    ("a login's percent hack", "220.86.126.27", b"x", b"shiro2@example.jp", b"<shiro2@example.jp>", b"<@@>", "address-malformed", False),
    ("a login with our name", "220.86.126.28", b"mail.example.jp", b"shiro2@example.jp", b"<shiro2@example.jp>", OUT, "pass", False),
    ("a client host", "192.0.2.9", b"x", None, FAR, OUT, "pass", False),
    ("a client host at a trap", "192.0.2.10", b"x", None, FAR, b"<trap@example.jp>", "spam-trap", False),
    ("somebody without an address", None, b"x", None, FAR, OUT, "relay-denied", False),
]
for number, forged in enumerate(FORGED):
    client = "100.64.%d.%%d" % number
    ROWS += [("forged HELO %d, refused" % number, client % 1, forged, None, FAR, OUT, "relay-denied", True),
             ("forged HELO %d, taken" % number, client % 2, forged, None, FAR, IN, "pass", False),
             ("forged sender %d" % number, client % 3, b"x", None, b"<" + forged + b">", OUT, None, None),
             ("forged recipient %d" % number, client % 4, b"x", None, FAR, b"<" + forged + b">", None, None),
             ("forged login %d" % number, client % 5, b"x", forged, FAR, OUT, "refused", False),
             ("forged HELO %d, a login" % number, client % 6, forged, b"shiro2@example.jp", FAR, OUT, "sender-not-yours", False),
             ("forged HELO %d, at the door" % number, client % 7, forged, None, FAR, OUT, "door", True)]
COUNTS = {"relay-denied", "address-routed", "helo-our-name", "spam-trap"}


def ask(client, helo, login, sender, recipient):
    if helo is DOOR:
        door = Door(work.permit)
        answer = door.policy(client_address=client, helo_name="x", sender=sender[1:-1], recipient=recipient[1:-1])
        door.close()
        return answer
    milter = Milter(work.milter)
    milter.connect(client, name=helo[:60].replace(b"\0", b""))
    milter.helo(helo)
    milter.mail(sender, login=login)
    answer = milter.rcpt(recipient)
    milter.close()
    return answer[1]


def at_door(client, helo):
    """In the policy protocol a value ends at the end of its line: Postfix sends none with one in it."""
    door = Door(work.permit)
    answer = door.policy(client_address=client, helo_name=helo.replace(b"\r", b"").replace(b"\n", b" "),
                         client_name=helo.replace(b"\r", b"").replace(b"\n", b" "), sender=FAR[1:-1], recipient=OUT[1:-1])
    door.close()
    return answer


def play():
    """All rows; whom fail2ban must count."""
    expected = []
    for what, client, helo, login, sender, recipient, reason, counts in ROWS:
        if reason == "door":
            answer, reason = at_door(client, helo), "relay-denied"
        else:
            answer = ask(client, helo, login, sender, recipient)
        said = re.search(rb"\[sekisho ([a-z-]+) #\d+\]", answer)
        said = said.group(1).decode() if said else "pass"
        if reason is None:  # a hostile address is refused as one thing or the other
            counts = said in COUNTS
            check("%s: is refused" % what, said != "pass", answer)
        elif reason == "refused":
            check("%s: a login is refused as one" % what, said.startswith("identity-") or said == "sender-not-yours", answer)
        else:
            check("%s: %s" % (what, reason), said.startswith(reason), answer)
        if counts:
            expected.append(client)
    return sorted(expected)


def matched(*source):
    done = subprocess.run(["fail2ban-regex", "-o", "<ip>"] + list(source) + [filter_path], capture_output=True, text=True,
                          timeout=60, check=False)
    return sorted(done.stdout.split()), done.stderr


def compare(what, source, expected, least=10):
    seen, trouble = matched(*source)
    check("%s: the right addresses" % what, seen == expected and len(seen) > least,
          ([a for a in expected if seen.count(a) != expected.count(a)], [a for a in seen if seen.count(a) != expected.count(a)],
           trouble[-300:]))
    check("%s: nobody's address was forged" % what, VICTIM not in seen and VICTIM6 not in seen, seen)


def by_rsyslog(mode):
    reader = Rsyslog(work)
    daemon = serve(work, "--log", mode)
    tool("block", "add", "client:220.86.126.8")
    expected = play()
    # what other programs say about the same clients, in the same file
    syslog.openlog("postfix/smtpd", syslog.LOG_PID, syslog.LOG_MAIL)
    for forged in FORGED:
        line = forged.decode().replace("\n", "\\n")
        syslog.syslog(syslog.LOG_INFO, "NOQUEUE: reject: RCPT from x[100.64.9.9]: 550; proto=SMTP helo=<%s>" % line)
        syslog.syslog(syslog.LOG_INFO, line)
        syslog.syslog(syslog.LOG_INFO, "sekisho-milter[1]: " + line)
    check("ended well", work.stop(daemon) == 0)
    for path, name in ((reader.new, "of Debian 12"), (reader.old, "traditional")):
        lines = reader.lines(path, b"stopping")
        check("%s lines %s are there" % (mode, name), len(lines) > len(ROWS) + 3 * len(FORGED), len(lines))
        compare("--log %s, rsyslog, %s" % (mode, name), [path], expected)
    reader.end()
    for path in (reader.new, reader.old):
        os.unlink(path)
    shutil.rmtree(os.path.dirname(work.state))


def by_journald():
    """fail2ban's own way to the journal, with the filter's journalmatch."""
    reader = Journal(work)
    expected = []
    for mode in ("text", "json"):
        daemon = serve(work, "--log", mode)
        tool("block", "add", "client:220.86.126.8")
        expected += play()
        check("ended well", work.stop(daemon) == 0)
        readers.until(lambda: len([e for e in reader.entries("stopping") if e.get("SYSLOG_PID") == str(daemon.pid)]) > len(ROWS))
        shutil.rmtree(os.path.dirname(work.state))
    folder = os.path.join("/run/log/journal", os.listdir("/run/log/journal")[0])
    compare("journald", ['systemd-journal[journalpath="%s"]' % folder], sorted(expected))
    compare("journald, as journalctl shows it", [write(reader.short())], sorted(expected))
    reader.end()


def by_unit():
    """--stderr under systemd: the daemon's name stands twice in a line."""
    daemon = work.start()
    tool("block", "add", "client:220.86.126.8")
    expected = play()
    check("ended well", work.stop(daemon) == 0)
    lines = "".join("2026-11-24T03:00:00+00:00 mail sekisho-milter[7]: %s\n" % line for line in work.log().splitlines())
    compare("--stderr under systemd", [write(lines.encode())], expected)


def write(octets):
    path = work.folder + "/lines"
    with open(path, "wb") as to:
        to.write(octets)
    return path


def as_shipped():
    """fail2ban takes filter and jail as they are, laid into its own configuration."""
    conf = work.folder + "/fail2ban"
    shutil.copytree("/etc/fail2ban", conf)
    for name in os.listdir(conf + "/jail.d"):
        os.unlink(os.path.join(conf, "jail.d", name))
    for part in ("filter.d", "jail.d"):
        shutil.copy(os.path.join(shipped, part, "sekisho.conf"), os.path.join(conf, part, "sekisho.conf"))
    jail = os.path.join(conf, "jail.d/sekisho.conf")
    with open(jail, encoding="ascii") as file:
        text = file.read()
    with open(jail, "w", encoding="ascii") as file:
        file.write(text.replace("/var/log/mail.log", write(b"")))
    done = subprocess.run(["fail2ban-client", "-c", conf, "-d"], capture_output=True, text=True, timeout=60, check=False)
    check("fail2ban takes the configuration", done.returncode == 0, done.stdout[-300:] + done.stderr[-500:])
    for word in ("'add', 'sekisho'", "'maxretry', 3", "'bantime', '1h'", "'findtime', '10m'", "'addignoreip', '127.0.0.0/8', '::1'",
                 "'addfailregex'"):
        check("its jail has %s" % word, word in done.stdout, done.stdout[:600])
    with open(jail, "w", encoding="ascii") as file:
        file.write(text.replace("logpath ", "#logpath ").replace("#backend", "backend"))
    done = subprocess.run(["fail2ban-client", "-c", conf, "-d"], capture_output=True, text=True, timeout=60, check=False)
    check("and with the journal", done.returncode == 0 and "'add', 'sekisho', 'systemd'" in done.stdout and
          "SYSLOG_IDENTIFIER=sekisho-milter" in done.stdout, done.stdout[:400] + done.stderr[-500:])


def tool(*words):
    done = subprocess.run([work.build + "/ctl/sekisho", "--policy", work.policy, "--state", work.state] + list(words),
                          capture_output=True, text=True, timeout=20, check=False)
    check(" ".join(words), done.returncode == 0, done)


work.init()
with open(os.path.join(here, "../milter/policy.sql"), encoding="utf-8") as more:
    work.sql(more.read())
work.sql("""UPDATE check_mode SET mode = 'enforce' WHERE "check" = 'block';
INSERT INTO identity (name, senders) VALUES ('shiro2@example.jp', 'own');
INSERT INTO rate_limit (name, subject, who, counts, direction, allowed, seconds, "then")
    VALUES ('few', 'client', '220.86.127.0/25', 'recipients', 'in', 0, 60, 'reject'),
        ('blocks', 'client', '220.86.127.200', 'recipients', 'in', 0, 60, 'block');""")
unit(work, as_shipped)
for form in ("text", "json"):
    unit(work, lambda form=form: by_rsyslog(form))
unit(work, by_journald)
unit(work, by_unit)
work.finish()
