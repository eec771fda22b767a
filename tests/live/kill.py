"""Killed again and again under load: what was answered is on record, once, and no limit lets more pass than it allows."""
# SPDX-License-Identifier: BSD-2-Clause
import collections
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time

from wire import Door, Gone, Milter, Work, unit

ROUNDS = 10
LOGINS, ALLOWED = 4, 150  # messages by each login, so that the last rounds find the limit full
EVERYONE = 520  # recipients elsewhere by all of them: fewer than the logins together may
PROBER = "203.0.113.99"  # blocked in the first round, and in all that follow
ROWS = """
DELETE FROM rate_limit WHERE name <> 'probing';
INSERT INTO rate_limit (name, subject, counts, direction, allowed, seconds, "then")
    VALUES ('login', 'identity', 'messages', 'out', %d, 86400, 'tempfail'),
           ('all', 'everyone', 'recipients', 'out', %d, 86400, 'tempfail');
INSERT INTO rate_limit (name, subject, who, counts, direction, allowed, seconds, "then", block_for)
    VALUES ('probing', 'client', '203.0.113.0/28', 'refusals', 'any', NULL, 600, 'block', 3600);
-- no more records on disk than must be: counts have to come back from elsewhere
UPDATE setting SET value = '3000' WHERE name = 'ring_size';
""" % (ALLOWED, EVERYONE)
work = Work(sys.argv[1])
check = work.check
chance = random.Random(4)
lock = threading.Lock()
names = iter(range(1, 1 << 30))
refused = []  # (number, reason, recipient) as they were told
passed = set()  # recipients that were answered with yes
finished = collections.Counter()  # messages accepted, by login
delivered = set()  # recipients elsewhere of those messages
aborted = [0]
strange = []  # answers that nobody expects


def name(domain="far.example"):
    with lock:
        return "r%d@%s" % (next(names), domain)


def note(answer, recipient):
    """Was it a yes? The answer goes on the client's own record."""
    code, text = answer
    found = re.search(rb"\[sekisho ([a-z-]+) #(\d+)\]", text)
    with lock:
        if code == "pass":
            passed.add(recipient)
        elif found and code in ("550", "450", "451", "452"):
            refused.append((int(found.group(2)), found.group(1).decode(), recipient))
        else:
            strange.append((code, text, recipient))
    return code == "pass"


def ask(milter, recipient):
    return note(milter.rcpt(b"<%s>" % recipient.encode()), recipient)


def sender(over, login):
    """Messages of one to three recipients elsewhere and one here; every fourth is given up before its end."""
    turn = random.Random(login)
    while not over.is_set():
        milter = None
        try:
            milter = Milter(work.milter)
            milter.connect("198.51.100.%d" % turn.randrange(1, 250))
            while not over.is_set():
                milter.mail(b"<%s>" % login.encode(), login)
                yes = [one for one in (name() for _ in range(turn.randrange(1, 4))) if ask(milter, one)]
                ask(milter, name("example.jp"))
                if turn.randrange(4) == 0:
                    milter.send(b"A")
                    with lock:
                        aborted[0] += bool(yes)
                elif milter.end()[0] == "pass" and yes:
                    with lock:
                        finished[login] += 1
                        delivered.update(yes)
                time.sleep(0.02)
        except (OSError, Gone):
            time.sleep(0.02)  # it was killed: the MTA would try again
        finally:
            if milter is not None:
                milter.socket.close()


def stranger(over, client):
    """Relay attempts at the milter, as fast as they are answered."""
    while not over.is_set():
        milter = None
        try:
            milter = Milter(work.milter)
            milter.connect(client)
            milter.mail(b"<x@third.example>")
            while not over.is_set():
                ask(milter, name())
                time.sleep(0.001)
        except (OSError, Gone):
            time.sleep(0.02)
        finally:
            if milter is not None:
                milter.socket.close()


def at_the_door(over, client):
    """The same at the permit door, each from an address of its own, which nobody blocks."""
    while not over.is_set():
        door = None
        try:
            door = Door(work.permit)
            while not over.is_set():
                recipient = name()
                said = door.policy(client_address=client.encode(), sender=b"x@third.example", recipient=recipient.encode())
                note((said[:3].decode(), said), recipient)
                time.sleep(0.001)
        except (OSError, Gone, AssertionError):
            time.sleep(0.02)
        finally:
            if door is not None:
                door.socket.close()


def blocked_still(number):
    milter = Milter(work.milter)
    milter.connect(PROBER)
    milter.mail(b"<x@third.example>")
    recipient = name("example.jp")
    answer = milter.rcpt(b"<%s>" % recipient.encode())
    note(answer, recipient)
    check("round %d: who was blocked is blocked" % number, b"[sekisho client-blocked " in answer[1], answer)
    milter.close()


def rounds():
    over = threading.Event()
    daemon = work.start()
    for _ in range(21):  # the prober's
        door = Door(work.permit)
        recipient = name()
        said = door.policy(client_address=PROBER.encode(), sender=b"x@third.example", recipient=recipient.encode())
        note((said[:3].decode(), said), recipient)
        door.close()
    threads = [threading.Thread(target=sender, args=(over, "u%d@example.jp" % n)) for n in range(LOGINS)]
    threads += [threading.Thread(target=stranger, args=(over, "203.0.113.1")),
                threading.Thread(target=at_the_door, args=(over, "203.0.113.2"))]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, ROUNDS + 1):
            blocked_still(number)
            # some rounds end before the keeper has written anything, some while it writes
            time.sleep(chance.uniform(0.1, 1.6))
            tool = None
            if number % 3 == 0:  # counters are written down at the tool's request, too
                tool = subprocess.Popen([work.build + "/ctl/sekisho", "--policy", work.policy, "--state", work.state, "usage"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                work.started.append(tool)
                time.sleep(chance.uniform(0.0, 0.3))
            if work.stop(daemon, signal.SIGKILL) != -9:
                check("round %d: it was alive" % number, False, work.log()[-800:])
            if tool is not None:
                work.stop(tool, signal.SIGKILL)
            daemon = work.start()
        blocked_still(ROUNDS + 1)
        time.sleep(0.5)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return daemon


def counted():
    spent = sum(finished.values())
    print("(%d refusals told, %d recipients passed, %d messages accepted, %d given up)" % (len(refused), len(passed), spent, aborted[0]))
    for login in sorted(finished):
        check("%s: no more messages than allowed" % login, finished[login] <= ALLOWED, finished)
    check("no more recipients than allowed", len(delivered) <= EVERYONE, len(delivered))
    # a kill may keep what each connection had reserved: three recipients each time, and no more
    lost = 3 * LOGINS * (ROUNDS + 1)
    check("and not many fewer: the limit was reached", len(delivered) >= EVERYONE - lost, (len(delivered), finished))
    told = collections.Counter(reason for _, reason, _ in refused)
    check("the limit was told in more rounds than one", told["rate-everyone"] > 100, told)
    check("nobody had an answer of another kind", not strange, strange[:3])


def recorded(daemon):
    numbers = [number for number, _, _ in refused]
    twice = [number for number, count in collections.Counter(numbers).items() if count > 1]
    check("no number was told twice", not twice, twice[:5])
    rows = {}

    def lost():
        text = work.sql(".mode list\n.separator '\t'\nSELECT number, reason, action, recipient, outcome FROM decision", work.state)
        rows.clear()
        for line in text.splitlines():
            number, reason, action, recipient, outcome = line.split("\t")
            rows[int(number)] = (reason, action, recipient.strip("<>"), outcome)
        there = {(number, row[0], row[2]) for number, row in rows.items()}
        accepted = collections.Counter(row[2] for row in rows.values() if row[1] == "accept")
        return ([one for one in refused if one not in there], [one for one in passed if accepted[one] != 1],
                [one for one, count in accepted.items() if count > 1],
                delivered - {row[2] for row in rows.values() if row[3] == "accepted"})

    until = time.monotonic() + 15
    while any(missing := lost()) and time.monotonic() < until:
        time.sleep(0.3)
    check("every refusal that was told is on record, as it was told", not missing[0], (len(missing[0]), missing[0][:3]))
    check("every recipient that passed is on record once", not missing[1] and not missing[2], (len(missing[1]), missing[1:]))
    check("there was much to lose", len(refused) > 1000 and len(passed) > 300, (len(refused), len(passed)))
    check("and so is the end of every message that was taken", not missing[3], (len(missing[3]), sorted(missing[3])[:3]))
    check("stops at the end", work.stop(daemon) == 0)


def run():
    daemon = rounds()
    counted()
    recorded(daemon)
    check("no sanitizer spoke", "ERROR: " not in work.log() and "runtime error" not in work.log(), work.log()[-3000:])


work.init()
work.sql(ROWS)
unit(work, run)
work.finish()
