"""Any order of packets, halves of them, 64 KB of them, thousands of connections: no yes, no harm, nothing left behind."""
# SPDX-License-Identifier: BSD-2-Clause
import itertools
import os
import random
import re
import resource
import socket
import struct
import sys
import threading
import time

from wire import LOCAL, REMOTE, STRANGER, Door, Gone, Milter, Watch, Work, known, unit

work = Work(sys.argv[1])
here = os.path.dirname(os.path.abspath(__file__))
check = work.check
CROWD_KB = 12288  # what may be kept of thousands: less than half of what they took
mark = 0


def after(what, more_kb=4096, **options):
    """After each case: known sessions are judged rightly, nothing is left behind, no stranger was let out."""
    global mark
    known(work, what)
    watch.back(what, more_kb, **options)
    with open(work.log_path, "rb") as log:
        log.seek(mark)
        new = log.read()
    mark += len(new)
    wrong = [line for line in new.split(b"\n") if b" action=accept " in line and b"elsewhere.example" in line
             and b" client=192.0.2.25 " not in line]
    check("%s: a stranger was let out" % what, not wrong, wrong[:3])


def raw(path, patience=20.0):
    """A connection; a listener's queue may be full for a moment."""
    until = time.monotonic() + patience
    while True:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.connect(path)
            return made
        except BlockingIOError:
            made.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.005)
        except OSError:
            made.close()
            raise


def packet(command, data=b""):
    return struct.pack("!I", len(data) + 1) + command + data


HELLO = packet(b"O", struct.pack("!III", 6, 0x1FF, 0x1FFFFF))
WHERE = b"client.example\0004" + struct.pack("!H", 40000) + STRANGER.encode() + b"\0"
# What an MTA can say, in one packet each; the recipient is always one that a stranger must not have.
PACKETS = {
    "macros": packet(b"D", b"Mi\0QUEUE\0{mail_addr}\0x\0"),
    "connect": packet(b"C", WHERE),
    "unknown client": packet(b"C", b"unknown\0U"),
    "helo": packet(b"H", b"client.example\0"),
    "mail": packet(b"M", b"<a@far.example>\0"),
    "rcpt": packet(b"R", REMOTE + b"\0"),
    "data": packet(b"T"),
    "header": packet(b"L", b"Subject\0x\0"),
    "headers end": packet(b"N"),
    "body": packet(b"B", b"text\r\n"),
    "end": packet(b"E"),
    "abort": packet(b"A"),
    "new client": packet(b"K"),
    "what": packet(b"U", b"VRFY x\0"),
    "hello again": HELLO,
    "garbage": packet(b"\x07", b"\xff\0\xff"),
}
# Whatever may be answered by a "go on"; connect, helo, mail and data are not answered at all.
MAY_PASS = {"header", "headers end", "body", "end", "what"}
RIGHT = ("connect", "helo", "macros", "mail", "rcpt", "data", "end")


def answers(said):
    """The packets in it; the last may be a half."""
    found = []
    while len(said) >= 4:
        (size,) = struct.unpack("!I", said[:4])
        found.append(said[4:4 + size])
        said = said[4 + size:]
    return found


def spoken(stream, timeout=5.0):
    """All that is answered to a stream of which the end is the end of the connection."""
    one = raw(work.milter)
    one.settimeout(timeout)
    said = b""
    try:
        one.sendall(stream)
        one.shutdown(socket.SHUT_WR)
        while True:
            more = one.recv(65536)
            if not more:
                return answers(said), True
            said += more
    except socket.timeout:
        return answers(said), False
    except OSError:
        return answers(said), True
    finally:
        one.close()


def orders():
    """Every order of three packets; then a right session with packets lost, doubled, moved, put in (the seed is fixed)."""
    names = sorted(PACKETS)
    yield from itertools.product(names, repeat=3)
    lot = random.Random(2004)
    for _ in range(3000):
        order = list(RIGHT)
        for _ in range(lot.randint(1, 4)):
            place = lot.randrange(len(order) + 1)
            harm = lot.choice(("lose", "double", "move", "put in"))
            if harm == "put in" or place == len(order):
                order.insert(place, lot.choice(names))
            elif harm == "double":
                order.insert(place, order[place])
            elif harm == "move":
                order.insert(lot.randrange(len(order)), order.pop(place))
            elif len(order) > 1:
                order.pop(place)
        yield order


def sequences():
    hung = refused = 0
    for n, order in enumerate(orders()):
        said, ended = spoken(HELLO + b"".join(PACKETS[name] for name in order))
        hung += not ended
        refused += any(answer[:1] == b"y" for answer in said)
        passes = sum(answer[:1] in (b"c", b"a") for answer in said)
        check("%s: a recipient passes" % ", ".join(order), passes <= sum(name in MAY_PASS for name in order), said)
        if n % 20 == 19:
            after("orders until " + ", ".join(order), more_threads=4)
    # mail for us, but of whom? Without a client nobody is let in, either
    ours = packet(b"R", LOCAL + b"\0")
    for missing in (("connect",), ("connect", "helo"), ("mail",), ("connect", "mail"), ("connect", "helo", "mail")):
        order = [name for name in RIGHT[:4] if name not in missing]
        said, ended = spoken(HELLO + b"".join(PACKETS[name] for name in order) + ours)
        check("without %s: mail for us waits" % ", ".join(missing), ended and not any(a[:1] in (b"c", b"a") for a in said), said)
        if "mail" not in missing:
            check("without %s: 451" % ", ".join(missing), any(a[:5] == b"y451 " for a in said), said)
    check("each connection is ended", hung == 0, hung)
    check("many of them came as far as a refusal", refused > 1000, refused)
    after("orders")


def halves():
    """A whole session, ended abruptly after each of its octets; and the same halves held open."""
    session = HELLO + b"".join(PACKETS[name] for name in RIGHT)
    for size in range(len(session)):
        said, ended = spoken(session[:size])
        check("%d octets of a session" % size, ended and not any(answer[:1] in (b"c", b"a") for answer in said), said)
        known(work, "%d octets of a session" % size)
    after("cut sessions")
    held = []
    for size in range(0, len(session), 3):
        held.append(raw(work.milter))
        held[-1].sendall(session[:size])
        # libmilter counts on the thread that has just been given a half, if another session comes in that very instant,
        # and lets it wait for as long; an MTA, the only one at this socket, sends whole packets
        time.sleep(0.05)
        known(work, "%d halves held open" % len(held))
    for one in held:
        one.close()
    after("halves held open")


def garbage():
    """Other things in place of the milter protocol."""
    for data in (b"", b"\0", b"\xff" * 8, b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\1Z", b"\x7f\xff\xff\xffO", b"GET / HTTP/1.0\r\n\r\n",
                 b"\0\0\0\5O\0\0\0\6", b"\0\0\0\x0dO\0\0\0\1\0\0\0\0\0\0\0\0", b"\0\0\0\2C\0", b"\0\0\0\2R\0", b"\xff\xff\xff\xff" + b"x" * 70000,
                 b"EHLO x\r\n" * 1000, bytes(100000), random.Random(1).randbytes(100000)):
        for begun in (b"", HELLO, HELLO + PACKETS["connect"] + PACKETS["mail"]):
            said, ended = spoken(begun + data, 15.0)
            what = "garbage %r after %d octets" % (data[:20], len(begun))
            check(what, ended and not any(answer[:1] in (b"c", b"a") for answer in said), said)
            after(what, more_threads=4)


def wide():
    """64 KB in each field: as much as a packet may hold, one octet less, one more."""
    def field(name, text):
        milter = Milter(work.milter)
        try:
            milter.connect(name=text if name == "host" else b"client.example",
                           macros={"j": text} if name == "macro" else {"j": "mail.example.jp"})
            milter.helo(text if name == "helo" else b"client.example")
            milter.mail(text if name == "sender" else b"<a@far.example>", text if name == "login" else None,
                        {"i": text} if name == "queue" else None)
            answer = milter.rcpt(text if name == "rcpt" else REMOTE, {"{rcpt_addr}": text, "{rcpt_mailer}": b"smtp"}
                                 if name == "rcpt macro" else None)
            if name == "unknown":
                milter.send(b"U", text + b"\0")
            return answer[0]
        except (Gone, OSError):
            return "gone"
        finally:
            milter.close()

    most = 65535
    for name in ("host", "macro", "helo", "sender", "login", "queue", "rcpt", "rcpt macro", "unknown"):
        for size in (16384, 65400, most - 2, most - 1, most, most + 1, 65600, 131072):
            for text in (b"x" * size, (b"<" + b"a" * size)[:size - 20] + b"@elsewhere.example>", b'<"' + b"\\" * size, b"%" * size,
                         (b"@x," * size)[:size], bytes([0xE3, 0x81, 0x82]) * (size // 3)):
                answer = field(name, text)
                what = "%d octets %r in %s" % (size, text[:6], name)
                # what is no mailbox has no domain, is ours for nobody, and passes for nobody
                check(what + ": refused", answer in ("550", "451", "gone"), answer)
                if size <= 65400 and name not in ("rcpt", "login"):
                    check(what + ": is read", answer in ("550", "451"), answer)
            after("%d octets in %s" % (size, name), more_threads=4)


def idle():
    """Thousands that say nothing, have said hello, or stand in the middle of a packet."""
    for what, said in (("silent", b""), ("with a hello", HELLO), ("with half a packet", HELLO + PACKETS["connect"][:9]),
                       ("with a sender", HELLO + PACKETS["connect"] + PACKETS["mail"])):
        for _ in range(2):
            held = []
            begin = time.monotonic()
            for _ in range(IDLE):
                held.append(raw(work.milter))
                held[-1].sendall(said)
            until = time.monotonic() + 20
            while watch.now()[0] < IDLE and time.monotonic() < until:
                time.sleep(0.05)
            check("%d %s: all are taken" % (IDLE, what), watch.now()[0] >= IDLE, watch.now())
            time.sleep(0.3)
            known(work, "%d %s" % (IDLE, what), 5.0)
            full = watch.now()
            for one in held:
                one.close()
            after("%d %s" % (IDLE, what), more_kb=CROWD_KB)
            if "-v" in sys.argv:
                print("%d %s: %.1f s, full %s, after %s of %s" % (IDLE, what, time.monotonic() - begin, full, watch.now(), watch.base))


def coming():
    """Thousands that come and go at once, some rightly, some in the middle of a word; and the same at the door."""
    def milters(numbers, wrong):
        for n in numbers:
            try:
                one = raw(work.milter)
                one.settimeout(20)
                milter = Milter.__new__(Milter)
                milter.socket = one
                one.sendall(HELLO)
                milter.read()
                if n % 3 == 0:
                    one.sendall(PACKETS["connect"][:7])
                else:
                    milter.connect()
                    milter.mail(b"<a@far.example>")
                    got = milter.rcpt(REMOTE)[0], milter.rcpt(LOCAL)[0]
                    if got != ("550", "pass"):
                        wrong.append(got)
                one.close()
            except Exception as fault:  # pylint: disable=broad-except
                wrong.append((n, repr(fault)))

    def doors(numbers, wrong):
        for n in numbers:
            try:
                one = raw(work.permit)
                one.settimeout(20)
                if n % 3 == 0:
                    one.sendall(b"client_address=192.0.2.25\nrecipient=b@else")
                else:
                    door = Door.__new__(Door)
                    door.socket, door.buffer = one, b""
                    got = door.policy(client_address=STRANGER, recipient="b@elsewhere.example")[:3]
                    if got != b"550":
                        wrong.append(got)
                one.close()
            except Exception as fault:  # pylint: disable=broad-except
                wrong.append((n, repr(fault)))

    for name, each in (("milter", milters), ("door", doors)):
        for _ in range(2):
            wrong = []
            threads = [threading.Thread(target=each, args=(range(n, COMING, 40), wrong)) for n in range(40)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(90)
            check("%d come and go at the %s" % (COMING, name), not wrong, wrong[:4])
            after("%d come and go at the %s" % (COMING, name), more_kb=CROWD_KB)


resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
work.init()
with open(os.path.join(here, "policy.sql"), encoding="ascii") as rows:
    work.sql(rows.read())
daemon = work.start()
watch = Watch(work, daemon)
# Connections that stay open, and such as come and go at once; with a sanitizer a thread takes a megabyte.
IDLE, COMING = (1000, 500) if watch.sanitized else (5000, 2000)
watch.begin(lambda: [known(work, "at first") for _ in range(50)])
for part in (sequences, halves, garbage, wide, idle, coming):
    began = time.monotonic()
    unit(work, part)
    if "-v" in sys.argv:
        print("%s: %.1f s, %s of %s" % (part.__name__, time.monotonic() - began, watch.now(), watch.base), flush=True)
check("alive to the end", daemon.poll() is None, daemon.poll())
check("stops", work.stop(daemon) == 0, work.log()[-3000:])
log = work.log()
check("no sanitizer spoke", not re.search(r"ERROR: |WARNING: ThreadSanitizer|runtime error", log), log[-3000:])
work.finish()
