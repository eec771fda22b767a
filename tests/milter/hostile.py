"""Hostile strings in every field, garbage, half requests and crowds: nothing opens, breaks or forges a line."""
# SPDX-License-Identifier: BSD-2-Clause
import json
import os
import re
import socket
import sys
import threading
import time

from wire import LOCAL, REMOTE, STRANGER, Door, Gone, Milter, Watch, Work, known, unit

work = Work(sys.argv[1])
here = os.path.dirname(os.path.abspath(__file__))
check = work.check
CROWD_KB = 4096  # what the C library may keep of hundreds at once
MOST_SECONDS = 2.0  # an answer that takes longer is a fault

DECISION = re.compile(
    r'sekisho-milter: decision=\d+ action=(accept|reject|tempfail) reason=[a-z-]+ row=(?:-|[a-z_]+:\d+) at=(?:milter|door) '
    r'session=\S+ queue=\S+ kind=[a-z-]+ client=(?:unknown|[0-9a-f.:]+) helo="[^"]*" login="[^"]*" from="[^"]*" to="[^"]*" '
    r'policy=\d+( observed=[a-z-]+ observed_row=\S+)?( mta=refused)?')
OTHER = re.compile(r'sekisho-milter: (message session=\S+ queue=\S+ end=(accepted|rejected) accepted=\d+ refused=\d+.*|'
                   r'policy \d+ in force: .*|serving|stopping|permit door: a request that is neither .*)')


def strings():
    folder = os.environ.get("SHARED_CASES") or os.path.join(here, "../../../shared/cases")
    with open(os.path.join(folder, "hostile-strings.json"), encoding="utf-8") as file:
        for case in json.load(file)["cases"]:
            value = bytes.fromhex(case["hex"])
            if "repeat_to" in case:
                value = (bytes.fromhex(case["prefix_hex"]) + value * case["repeat_to"])[:case["repeat_to"]]
            yield case["id"], case["fields"], value


CASES = list(strings())
OURS = re.compile(rb"127\.0\.0|192\.0\.2|::1")  # addresses that may relay here
mark = 0


def new_lines():
    """The log since the last call, in whole lines."""
    global mark
    with open(work.log_path, "rb") as log:
        log.seek(mark)
        new = log.read()
    mark += len(new)
    return new


def lines_good(what, new, decisions=None):
    bad = [c for c in new if (c < 0x20 and c != 0x0A) or c > 0x7E]
    check("%s: control octets in the log" % what, not bad, new[:400])
    lines = new.decode("latin-1").split("\n")
    check("%s: whole lines" % what, lines[-1] == "", lines[-1])
    made = 0
    for line in lines[:-1]:
        if DECISION.fullmatch(line):
            made += 1
        elif not OTHER.fullmatch(line):
            check("%s: a line of another kind" % what, False, line)
    if decisions is not None:
        check("%s: lines" % what, made == decisions, (made, decisions, new[-600:]))


def clean(what, text):
    check("%s: octets of a reply" % what, all(0x20 <= c <= 0x7E for c in text), text)


def session(field, value):
    """(answer to a remote recipient or to the value, lines expected)."""
    milter = Milter(work.milter)
    macros = {"j": "mail.example.jp"}
    if field == "macro":
        macros = {"j": value, "{daemon_name}": value, "{daemon_addr}": value, "{daemon_port}": value, "{if_addr}": value,
                  "i": value}
    milter.connect(name=value if field == "host" else b"client.example", macros=macros)
    milter.helo(value if field == "helo" else b"client.example")
    milter.mail(value if field == "sender" else b"<a@far.example>", None,
                {"i": value, "{auth_type}": value, "{mail_addr}": value} if field == "macro" else
                {"{mail_addr}": "x", "{auth_authen}": value} if field == "auth" else {"{mail_addr}": "x"})
    lines = 1
    rcpt_macros = ({"i": value, "{rcpt_mailer}": value, "{rcpt_host}": value, "{rcpt_addr}": value}
                   if field == "macro" else {"{rcpt_mailer}": "smtp", "{rcpt_addr}": "x"})
    answer = milter.rcpt(value if field == "rcpt" else REMOTE, rcpt_macros)
    end = milter.end({"i": value} if field == "macro" else None)
    milter.close()
    return answer, end, lines


def after(what, more_kb=1024):
    """After each case: known sessions are judged rightly, and nothing of it is left behind."""
    known(work, what)
    watch.back(what, more_kb, more_threads=4)
    lines_good(what, new_lines())


def strip(value):
    """What a C reader sees of it."""
    return value.split(b"\0")[0]


def far_recipient(value):
    """Surely not a mailbox of example.jp, ours or postmaster."""
    seen = strip(value).lower()
    return b"example.jp" not in seen and b"mail." not in seen and b"[127.0.0.1]" not in seen and b"@" in seen


def every_field():
    new_lines()
    slowest = 0.0
    for name, fields, value in CASES:
        for field in fields:
            forms = [(name, value), (name + "+NUL", value + b"\0x"), ("NUL+" + name, b"\0" + value)]
            if field in ("auth", "macro"):
                # a NUL there makes a list of odd length, at which libmilter 8.17.1 itself dies; no MTA can send one
                forms = [(name, strip(value))]
            for form, sent in forms:
                what = "%s in %s" % (form, field)
                begin = time.monotonic()
                try:
                    answer, end, lines = session(field, sent)
                except (Gone, OSError, AssertionError) as gone:
                    # a packet that libmilter refuses: the line ends, the MTA says 4xx
                    if not (b"\0" in sent or len(sent) * (6 if field == "macro" else 1) > 60000):
                        check("%s: %r" % (what, gone), False)
                    after(what)
                    continue
                slowest = max(slowest, time.monotonic() - begin)
                clean(what, answer[1] + end[1])
                if field == "rcpt":
                    good = answer[0] in ("550", "451") or not far_recipient(sent)
                else:
                    good = answer[0] == "550"
                check("%s: still refused" % what, good, (sent[:60], answer))
                if lines:
                    door = field == "macro" and b"error" in sent
                    lines_good(what, new_lines(), None if door else 1)
                after(what)
    check("no slow answer", slowest < MOST_SECONDS, slowest)


def wide():
    """The same strings around and inside a remote recipient: never a pass."""
    milter = Milter(work.milter)
    milter.connect()
    milter.helo()
    for name, _, value in CASES:
        value = strip(value)
        for made in (b"<" + value + b"@elsewhere.example>", b'<"' + value + b'"@elsewhere.example>',
                     b"<x@" + value + b".elsewhere.example>", b"<x@elsewhere.example" + value + b">",
                     value + b"<x@elsewhere.example>", b"<" + value + b":x@elsewhere.example>",
                     b"<x%elsewhere.example" + value + b"@example.jp>", b'<"x@elsewhere.example' + value + b'"@example.jp>'):
            milter.mail()
            answer = milter.rcpt(made[:60000])
            check("%s made %r" % (name, made[:50]), answer[0] in ("550", "451"), (made[:80], answer))
            clean(name, answer[1])
            milter.send(b"A")
        known(work, "wide " + name)
    milter.close()
    lines_good("wide", new_lines())
    after("wide")


def door_fields():
    door = Door(work.permit)
    fields = ("client_address", "client_name", "helo_name", "sasl_username", "sender", "recipient", "server_address",
              "queue_id", "instance", "protocol_state", "request")
    new_lines()
    for name, _, value in CASES:
        value = value[:9000]
        for field in fields:
            for sent in (value, value + b"\0", b"\0" + value):
                sent = sent.replace(b"\n", b"\v")  # a newline ends an attribute: nobody can send one
                what = "%s in %s at the door" % (name, field)
                request = {"client_address": STRANGER, "sender": "a@far.example", "recipient": "b@elsewhere.example",
                           "helo_name": "c.example"}
                request[field] = sent
                try:
                    answer = door.policy(**request)
                except (Gone, OSError):
                    door = Door(work.permit)
                    check(what + ": hung up", len(sent) > 8000, sent[:80])
                    new_lines()
                    continue
                clean(what, answer)
                good = answer.startswith((b"550 ", b"451 "))
                if field == "client_address" and OURS.search(sent):
                    good = True
                if field == "recipient":
                    good = good or answer == b"DUNNO" and not strip(sent) or not (b"@" in sent and b"example.jp" not in sent.lower())
                check(what + ": still refused", good, (sent[:60], answer))
                lines_good(what, new_lines(), 1 if good and answer[:1] in b"45" else None)
        for n in range(4):
            parts = [STRANGER.encode(), b"", b"<a@far.example>", REMOTE]
            parts[n] = value
            answer = map_once(parts)
            what = "%s as map field %d" % (name, n)
            clean(what, answer)
            good = re.match(rb"OK [45]\d\d [45]\.\d\.\d ", answer) or answer.startswith(b"PERM")
            if n == 3 and not far_recipient(value) or n == 0 and OURS.search(value):
                good = True
            check(what + ": still refused", good, (value[:60], answer))
            lines_good(what, new_lines())
        # the one line that stays open is one more than at the beginning
        door.close()
        after(name + " at the door")
        door = Door(work.permit)
    door.close()


def map_once(parts):
    door = Door(work.permit)
    try:
        return door.map_ask(b"may " + b"|".join(parts))
    finally:
        door.close()


def door_garbage():
    def raw(data, wait=0.3):
        other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        other.settimeout(wait)
        other.connect(work.permit)
        got = b""
        try:
            other.sendall(data)
            while True:
                more = other.recv(65536)
                if not more:
                    return got, "closed"
                got += more
        except socket.timeout:
            return got, "open"
        except OSError:
            return got, "closed"
        finally:
            other.close()

    head = b"client_address=220.86.126.33\nsender=a@far.example\nrecipient=b@elsewhere.example\n\n"
    for data in (b"\n\n", b"\0", b"GET / HTTP/1.0\r\n\r\n", b"\xff\xfe", b":,", b"999999:", b"99999999999999999999:x,", b"-1:x,",
                 b"3:abcd", b"3 :abc,", b"16384:" + b"x" * 20000, b"EHLO x\r\n", b"\x80" + os.urandom(64),
                 b"x" * 20000, b"recipient=" + b"x" * 16384):
        got, state = raw(data, 2)
        check("garbage %r: hung up without a yes" % data[:20], state == "closed" and b"OK" not in got, (got, state))
        after("garbage %r" % data[:20])
    for data, expected in ((b"0:,", b":PERM "), (b"3:may,", b":PERM "), (b"4:may ,", b":OK 550 "), (b"5:may |,", b":OK 550 "),
                           (b"9:may |||||,", b":OK 550 "), (b"003:may,", b":PERM "),
                           (b"x=y\n\n", b"action=DUNNO"), (b"request\n\n", b"action=DUNNO"), (b"recipient=\n\n", b"action=DUNNO"),
                           (b"recipient=b@elsewhere.example\n\n", b"action=550 "),
                           (b"recipient=t@example.jp\nrecipient=b@elsewhere.example\n\n", b"action=550 "),
                           (b"client_address=192.0.2.25\nclient_address=220.86.126.33\nrecipient=b@elsewhere.example\n\n", b"action=550 "),
                           (b"client_address=192.0.2.25\0\nrecipient=b@elsewhere.example\n\n", b"action=550 "),
                           (b"client_address=192.0.2.25/8\nrecipient=b@elsewhere.example\n\n", b"action=550 "),
                           (b"Client_address=192.0.2.25\n\n", None), (b"client_address =192.0.2.25\nrecipient=b@far.example\n\n", b"action=550 ")):
        got, state = raw(data)
        if expected is None:
            check("%r: hung up" % data[:30], state == "closed" and got == b"", (got, state))
        else:
            check("%r" % data[:60], expected in got and b"action=OK" not in got and b"OK yes" not in got, (got, state))
        after("%r" % data[:60])
    got, state = raw(head * 50, 1)
    check("fifty requests at once", got.count(b"action=550 ") == 50, (got.count(b"action="), state))
    got, state = raw(head[:-1])
    check("half a request has no answer yet", got == b"" and state == "open", (got, state))
    got, state = raw(b"40:may 220.86.126.33||a@far.example")
    check("half a netstring has no answer yet", got == b"" and state == "open", (got, state))
    slow = Door(work.permit)
    for octet in head:
        slow.socket.sendall(bytes([octet]))
    check("octet by octet", slow.policy_read().startswith(b"550 "))
    slow.map_ask(b"may 220.86.126.33||<a@far.example>|<b@elsewhere.example>")
    slow.close()
    good = Door(work.permit)
    check("a client host has its yes", good.policy(client_address="192.0.2.25", sender="t@example.jp",
                                                   recipient="b@elsewhere.example") == b"OK")
    check("and over the map", good.map(client=b"192.0.2.25") == b"OK yes")
    good.close()
    lines_good("garbage", new_lines())
    after("garbage at the door")


def patience():
    """A half request is ended after ten seconds; others are served meanwhile. Runs beside the others."""
    slow = [Door(work.permit) for _ in range(20)]
    begin = time.monotonic()
    for door in slow:
        door.socket.sendall(b"client_address=192.0.2.25\n")
    idle = Door(work.permit)
    worst = 0.0
    for _ in range(20):
        asked = time.monotonic()
        other = Door(work.permit)
        other.policy(client_address=STRANGER, recipient="b@elsewhere.example")
        other.close()
        worst = max(worst, time.monotonic() - asked)
        time.sleep(0.02)
    check("served while others dawdle", worst < 1.0, worst)
    slow[0].socket.settimeout(14)
    try:
        left = slow[0].socket.recv(1)
    except socket.timeout:
        left = b"still open"
    took = time.monotonic() - begin
    check("a half request is ended after ten seconds", left == b"" and 9 < took < 12.5, (left, took))
    check("an idle connection is not", idle.policy(client_address=STRANGER, recipient="b@far.example").startswith(b"550 "))
    for door in slow + [idle]:
        door.close()
    after("half requests", CROWD_KB)


def crowd():
    wrong = []

    def one(n):
        try:
            milter = Milter(work.milter, timeout=20)
            milter.connect()
            milter.helo()
            for _ in range(3):
                milter.mail()
                answers = (milter.rcpt(LOCAL)[0], milter.rcpt(REMOTE)[0], milter.end()[0])
                if answers != ("pass", "550", "pass"):
                    wrong.append(answers)
            door = Door(work.permit, timeout=20)
            if not door.policy(client_address=STRANGER, recipient="b@far.example").startswith(b"550 "):
                wrong.append("door")
            milter.close()
            door.close()
        except Exception as fault:  # pylint: disable=broad-except
            wrong.append((n, repr(fault)))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    check("200 clients at once", not wrong, wrong[:5])
    lines_good("crowd", new_lines(), 200 * (3 * 2 + 1))
    after("crowd", CROWD_KB)


def row():
    wrong = 0
    for n in range(5000):
        milter = Milter(work.milter)
        if n % 10 == 0:
            milter.connect()
            milter.mail()
            wrong += milter.rcpt(REMOTE)[0] != "550"
        if n % 3 == 0:
            milter.socket.close()  # without goodbye
        else:
            milter.close()
    check("5000 sessions in a row", wrong == 0, wrong)
    lines_good("sessions in a row", new_lines(), 500)
    after("5000 sessions in a row", CROWD_KB)
    for n in range(5000):
        door = Door(work.permit)
        if n % 10 == 0:
            wrong += not door.policy(client_address=STRANGER, recipient="b@far.example").startswith(b"550 ")
        door.close()
    check("5000 askers in a row", wrong == 0, wrong)
    # more than the door has room for: the idle ones give way
    doors = []
    for n in range(1100):
        doors.append(Door(work.permit))
    last = doors[-1]
    check("1100 idle askers, the last is served", last.policy(client_address=STRANGER, recipient="b@far.example")[:3] == b"550")
    for door in doors:
        door.close()
    lines_good("row", new_lines(), 500 + 1)
    after("1100 idle askers", CROWD_KB)


work.init()
with open(os.path.join(here, "policy.sql"), encoding="ascii") as rows:
    work.sql(rows.read() + "DELETE FROM identity WHERE name = '*';")
daemon = work.start()
watch = Watch(work, daemon)
watch.begin(lambda: [known(work, "at first") for _ in range(50)])
new_lines()
waiting = threading.Thread(target=unit, args=(work, patience))
unit(work, every_field)
unit(work, wide)
unit(work, door_fields)
unit(work, door_garbage)
unit(work, crowd)
unit(work, row)
waiting.start()
waiting.join(40)
check("alive to the end", daemon.poll() is None, daemon.poll())
check("stops", work.stop(daemon) == 0, work.log()[-3000:])
check("no sanitizer spoke", "ERROR: " not in work.log() and "runtime error" not in work.log(), work.log()[-3000:])
work.finish()
