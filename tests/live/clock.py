"""The wall clock leaps by ten years and back: limits and blocks hold, nothing is pruned, what expires follows it."""
# SPDX-License-Identifier: BSD-2-Clause
#
# The clock of a machine cannot be set for one process alone; libfaketime does it for ours. The steady clock stays.
import datetime
import glob
import os
import re
import signal
import subprocess
import sys
import time

from wire import LOCAL, REMOTE, Door, Milter, Work, unit

YEARS = 10 * 365 * 86400
BLOCK = 9  # seconds of the short block
ROWS = """
DELETE FROM rate_limit;
INSERT INTO rate_limit (name, subject, who, counts, direction, allowed, seconds, "then", block_for)
    VALUES ('login', 'identity', '*', 'recipients', 'out', 10, 3600, 'tempfail', 3600),
           ('probing', 'client', '*', 'refusals', 'any', 5, 600, 'block', 3600),
           ('probing', 'client', '203.0.113.8', 'refusals', 'any', 5, 600, 'block', %d);
INSERT INTO client_host (range, expires)
    VALUES ('192.0.2.1', strftime('%%Y-%%m-%%d %%H:%%M:%%S', 'now', '+5 years')),
           ('192.0.2.2', strftime('%%Y-%%m-%%d %%H:%%M:%%S', 'now', '-5 years')),
           ('192.0.2.3', NULL);
""" % BLOCK
work = Work(sys.argv[1])
check = work.check
told = set()
letters = [0]

libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
if not libraries:
    check("libfaketime is installed (the package libfaketime)", False)
    work.finish()
with open(work.build + "/milter/sekisho-milter", "rb") as binary:
    code = binary.read()
if b"__asan_init" in code or b"__tsan_init" in code:
    # libfaketime and a sanitizer do not go together: a daemon without one
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    plain = work.build + "/plain"
    for step in (["-S", top, "-B", plain, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"],
                 ["--build", plain, "--target", "sekisho-milter", "sekisho"]):
        subprocess.run(["cmake"] + step, check=True, stdout=subprocess.DEVNULL)
    work.build = plain


def start():
    environment = {"LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": work.folder + "/faketime", "FAKETIME_NO_CACHE": "1",
                   "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1", "FAKETIME_DONT_RESET": "1"}
    return work.start(before=["env"] + ["%s=%s" % pair for pair in environment.items()])


def leap(seconds):
    with open(work.folder + "/faketime.new", "w", encoding="ascii") as file:
        file.write("%+d\n" % seconds)
    os.rename(work.folder + "/faketime.new", work.folder + "/faketime")


def note(text):
    found = re.search(rb"\[sekisho ([a-z-]+) #(\d+)\]", text)
    if found:
        told.add(int(found.group(2)))
    return found.group(1).decode() if found else "pass"


def once(client, recipient, login=None):
    milter = Milter(work.milter)
    milter.connect(client)
    milter.mail(b"<%s>" % (login or "x@third.example").encode(), login or "")
    answer = note(milter.rcpt(recipient)[1])
    if answer == "pass":
        milter.end()
    milter.close()
    return answer


def send():
    """One message of the login."""
    letters[0] += 1
    return once("198.51.100.9", b"<r%d@far.example>" % letters[0], "taro@example.jp")


def relays(client):
    door = Door(work.permit)
    said = door.policy(client_address=client.encode(), sender=b"x@third.example", recipient=b"b@far.example")
    door.close()
    note(said)
    return said == b"OK"


def until(good, seconds=10.0):
    end = time.monotonic() + seconds
    while not good():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def decisions(text):
    return work.sql(text, work.state, check=False).strip()


def sees(year):
    """The daemon's own wall clock, as it writes it down."""
    once("203.0.113.7", REMOTE)
    return until(lambda: decisions("SELECT substr(at, 1, 4) FROM decision ORDER BY number DESC LIMIT 1") == str(year))


def leaps():
    now = datetime.datetime.now(datetime.timezone.utc)
    before = [send() for _ in range(4)]
    check("four pass", before == ["pass"] * 4, before)
    for client in ("203.0.113.7", "203.0.113.8"):
        for _ in range(6):
            once(client, REMOTE)
    begun = time.monotonic()
    check("both are blocked", [once(client, LOCAL) for client in ("203.0.113.7", "203.0.113.8")] == ["client-blocked"] * 2)
    check("what has expired has, and what has not has not", [relays("192.0.2.%d" % n) for n in (1, 2, 3)] == [True, False, True])
    check("it sees the clock", sees(now.year))
    for what, by, expires in (("ten years on", YEARS, [False, False, True]), ("ten years back", -YEARS, [True, True, True]),
                              ("as it was", 0, [True, False, True])):
        leap(by)
        check(what + ": is seen", sees((now + datetime.timedelta(seconds=by)).year), decisions("SELECT max(at) FROM decision"))
        check(what + ": what expires follows", until(lambda expires=expires: [relays("192.0.2.%d" % n) for n in (1, 2, 3)] == expires))
        check(what + ": a block holds", once("203.0.113.7", LOCAL) == "client-blocked")
        if time.monotonic() - begun < BLOCK - 1.5:
            check(what + ": a short one too", once("203.0.113.8", LOCAL) == "client-blocked")
        check(what + ": one more passes", send() == "pass")
    leap(YEARS)
    check("and ten years on again", sees((now + datetime.timedelta(seconds=YEARS)).year))
    check("a short block is over in its time", until(lambda: once("203.0.113.8", LOCAL) == "pass", BLOCK + 6) and
          time.monotonic() - begun > BLOCK - 1, time.monotonic() - begun)
    after = [send() for _ in range(4)]
    check("the limit holds over all leaps: three of ten are left", after == ["pass"] * 3 + ["rate-identity"], after)
    time.sleep(2.5)  # two turns of the keeper, which removes what is older than 30 days
    there = {int(number) for number in decisions("SELECT number FROM decision").split()}
    check("nothing was pruned", told <= there, (len(told), len(told - there), sorted(told - there)[:5]))
    passed = decisions("SELECT count(*) FROM decision WHERE reason = 'pass-identity'")
    check("nor what passed", passed == "10", passed)


def restarts():
    """Killed, and started while the clock is wrong: the machine has not been started anew, and the steady clock knows."""
    global daemon
    for what, by in (("ten years on", YEARS), ("ten years back", -YEARS), ("as it was", 0)):
        work.stop(daemon, signal.SIGKILL)
        leap(by)
        daemon = start()
        check("started %s: a block holds" % what, once("203.0.113.7", LOCAL) == "client-blocked")
        check("started %s: the limit holds" % what, send() == "rate-identity")


work.init()
work.sql(ROWS)
leap(0)
daemon = start()
for part in (leaps, restarts):
    begun_part = time.monotonic()
    unit(work, part)
    if "-v" in sys.argv:
        print("%s: %.1f s" % (part.__name__, time.monotonic() - begun_part))
check("stops at the end", work.stop(daemon) == 0)
work.finish()
