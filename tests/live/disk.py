"""The state directory in trouble: a full disk, state.db locked, damaged or gone, while mail goes on."""
# SPDX-License-Identifier: BSD-2-Clause
#
# In a mount namespace of its own, with the state directory on a small tmpfs; as root only.
import glob
import os
import re
import signal
import subprocess
import sys
import threading
import time

from wire import LOCAL, Door, Gone, Milter, Work, unit

if "inside" not in sys.argv:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        print("FAILED needs root: it makes a mount namespace of its own\n0 passed, 1 failed")
        sys.exit(1)
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", __file__, "inside"] + sys.argv[1:])

SOON = 15.0
ROWS = """
DELETE FROM rate_limit WHERE name <> 'probing';
INSERT INTO client_host (range) VALUES ('192.0.2.0/24');
INSERT INTO rate_limit (name, subject, who, counts, direction, allowed, seconds, "then")
    VALUES ('host', 'client', '192.0.2.200', 'recipients', 'out', 5, 86400, 'tempfail'),
           ('host', 'client', '*', 'recipients', 'out', NULL, 86400, 'tempfail');
-- few records may wait for state.db, so that the disk is full soon
UPDATE setting SET value = '1000' WHERE name = 'ring_size';
"""
work = Work(sys.argv[2])
check = work.check
folder = os.path.dirname(work.state)
lock = threading.Lock()
names = iter(range(1, 1 << 30))
told, passed, deferred = {}, set(), []  # number: (reason, recipient); recipients; answers of 4xx
slowest = [0.0]
current = [None]


def name(domain="far.example"):
    with lock:
        return "r%d@%s" % (next(names), domain)


def note(answer, recipient):
    """The client's own record; the reason in words."""
    code, text = answer
    found = re.search(rb"\[sekisho ([a-z-]+)(?: #(\d+))?\]", text)
    with lock:
        if code == "pass":
            passed.add(recipient)
        elif found and found.group(2):
            told[int(found.group(2))] = (found.group(1).decode(), recipient)
        if code.startswith("4"):
            deferred.append(text)
    return code if code == "pass" or not found else found.group(1).decode()


def once(client, login=None, recipient=None, end=False):
    """One recipient in a session of its own, at the milter."""
    milter = Milter(work.milter)
    milter.connect(client)
    milter.mail(b"<%s>" % (login or "x@third.example").encode(), login or "")
    recipient = recipient or name()
    begun = time.monotonic()
    try:
        answer = milter.rcpt(b"<%s>" % recipient.encode())
        if end:
            milter.end()
    finally:
        slowest[0] = max(slowest[0], time.monotonic() - begun)
        milter.close()
    return note(answer, recipient), answer[1]


def at_the_door(client, times=1):
    """Relay attempts; all answers."""
    door, answers = Door(work.permit), []
    for _ in range(times):
        recipient = name()
        begun = time.monotonic()
        said = door.policy(client_address=client.encode(), sender=b"x@third.example", recipient=recipient.encode())
        slowest[0] = max(slowest[0], time.monotonic() - begun)
        answers.append(note((said[:3].decode(), said), recipient))
    door.close()
    return answers


def until(good, seconds=SOON):
    """Seconds that it took, or None."""
    begun = time.monotonic()
    while not good():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.05)
    return time.monotonic() - begun


class Load:
    """Mail from the office and relay attempts of strangers, until it is left."""

    def __init__(self):
        self.over = threading.Event()
        self.faults = []
        self.thread = threading.Thread(target=self.run)

    def run(self):
        turn = 0
        while not self.over.is_set():
            turn += 1
            try:
                once("192.0.2.%d" % (turn % 100 + 1))
                at_the_door("198.18.%d.%d" % divmod(turn % 10000, 250))
            except (OSError, Gone) as fault:
                self.faults.append(fault)
            time.sleep(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.over.set()
        self.thread.join()
        check("mail goes on all the while", not self.faults, self.faults[:3])


def stored():
    """What is told and not on record; what has passed and is not."""
    text = work.sql(".mode list\n.separator '\t'\nSELECT number, reason, action, recipient FROM decision", work.state, check=False)
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") == 3]
    there = {(int(row[0]), row[1], row[3].strip("<>")) for row in rows}
    accepted = {row[3].strip("<>") for row in rows if row[2] == "accept"}
    with lock:
        return ([(number,) + one for number, one in told.items() if (number,) + one not in there], [one for one in passed if one not in accepted])


def all_on_record(what):
    check(what + ": everything that was answered is on record", until(lambda: stored() == ([], [])) is not None,
          [(len(one), one[:2]) for one in stored()])


def forget():
    """What is on record by now is not looked for in the next file."""
    all_on_record("so far")
    told.clear()
    passed.clear()


def edit(text):
    """An edit, until it is in force."""
    work.sql("BEGIN; %s; INSERT INTO client_host (range) VALUES ('198.51.100.77'); COMMIT;" % text)
    door = Door(work.permit)
    check("an edit is in force", until(lambda: door.policy(client_address=b"198.51.100.77", sender=b"x@third.example",
                                                           recipient=b"b@far.example") == b"OK") is not None)
    door.close()


def used_up():
    """Only the disk can be the reason: the keeper has had two turns to make room."""
    at_the_door("198.51.100.1", 200)
    for _ in range(2):
        if once("192.0.2.1")[0] != "no-record":
            return False
        time.sleep(1.2)
    return once("192.0.2.1")[0] == "no-record"


def full():
    with Load():
        size = os.path.getsize(work.log_path)
        with open(folder + "/fill", "wb", buffering=0) as fill:
            for piece in (b"\0" * 65536, b"\0" * 4096):
                try:
                    while True:
                        fill.write(piece)
                except OSError:
                    pass
        check("the room that is left is used up", until(used_up, 40) is not None)
        office, here, stranger = once("192.0.2.1")[1], once("203.0.113.3", recipient=name("example.jp"))[1], once("203.0.113.3")
        form = rb"451 4\.3\.0 [A-Z][^\[]* \[sekisho no-record\]"
        check("full: what needs a permission is deferred", re.fullmatch(form, office) and re.fullmatch(form, here), (office, here))
        check("full: refusals go on", stranger[0] == "relay-denied" and at_the_door("203.0.113.4") == ["relay-denied"], stranger)
        check("full: is said", until(lambda: re.search("space|full", sentences(size)), 5) is not None, sentences(size)[-900:])
        os.unlink(folder + "/fill")
        took = until(lambda: once("192.0.2.1")[0] == "pass")
        check("full: permissions are given again by themselves", took is not None, work.log()[-900:])
        before = len(told)
        at_the_door("203.0.113.4")
        check("full: and numbers", until(lambda: at_the_door("203.0.113.4") and len(told) > before) is not None)
    all_on_record("full")
    edit("UPDATE setting SET value = '100000' WHERE name = 'ring_size'")


def locked():
    forget()
    slowest[0] = 0.0
    del deferred[:]
    with Load():
        shell = subprocess.Popen(["sqlite3", "-init", "/dev/null", "-batch", work.state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        work.started.append(shell)
        shell.stdin.write(".timeout 5000\nBEGIN EXCLUSIVE;\n.print held\n")
        shell.stdin.flush()
        check("the shell has it", shell.stdout.readline() == "held\n")
        time.sleep(0.1)
        before = work.sql("SELECT count(*) FROM decision", work.state)
        time.sleep(4)
        meanwhile = len(told)
        check("locked: nothing is written", work.sql("SELECT count(*) FROM decision", work.state) == before)
        shell.stdin.write("COMMIT;\n")
        shell.stdin.close()
        shell.wait(5)
    check("locked: mail went on", meanwhile > 50 and not deferred and slowest[0] < 3.0, (meanwhile, deferred[:2], slowest))
    all_on_record("locked")


def sentences(size):
    """What the log says from there on, beside the decisions."""
    with open(work.log_path, "rb") as log:
        log.seek(size)
        return "".join(line for line in log.read().decode("latin-1").splitlines(True) if " decision=" not in line)


def in_force(what, by_hand):
    """What an administrator has blocked by hand stands in state.db only: when that is lost while no daemon runs, it is lost."""
    answers = [once("203.0.113.7", recipient=name("example.jp"))[0], once("192.0.2.200")[0]]
    check(what + ": blocks and counts are in force", answers == ["client-blocked", "rate-client"], answers)
    if by_hand:
        answer = once("203.0.113.8", "taro@example.jp")[0]
        check(what + ": blocks by hand too", answer == "identity-blocked", answer)


def by_hand():
    check("blocked by hand", "blocked" in tool("block", "add", "identity:taro@example.jp", "--for", "1d"))


def tool(*words):
    return subprocess.run([work.build + "/ctl/sekisho", "--policy", work.policy, "--state", work.state] + list(words), text=True,
                          capture_output=True, timeout=20, check=False).stdout


def listed(what):
    check(what + ": and in the list", until(lambda: all(one in tool("block", "list") for one in ("client:203.0.113.7", "identity:taro")), 10)
          is not None, tool("block", "list"))


def set_up():
    at_the_door("203.0.113.7", 21)
    for _ in range(5):
        once("192.0.2.200", end=True)
    by_hand()
    in_force("set up", by_hand=True)
    listed("set up")


GARBAGE = b"\xa5garbage"


def write_at(first, last=1 << 40):
    """Garbage from octet to octet of state.db; and all over its -wal, which would bring back what it holds."""
    def harm():
        for path, begin, end in ((work.state, first, last), (work.state + "-wal", 0, 1 << 40)):
            with open(path, "r+b") as file:
                end = min(end, os.fstat(file.fileno()).st_size)
                file.seek(begin)
                file.write((GARBAGE * ((end - begin) // len(GARBAGE) + 1))[:max(end - begin, 0)])
    return harm


def remove(*ends):
    def harm():
        for end in ends:
            if os.path.exists(work.state + end):
                os.unlink(work.state + end)
    return harm


RUNS, KILLED, ENDED = None, signal.SIGKILL, signal.SIGTERM
ACCIDENTS = (
    ("removed", RUNS, remove("")),
    ("removed with its -wal and -shm", RUNS, remove("", "-wal", "-shm")),
    ("garbage in the header", RUNS, write_at(0, 96)),
    ("garbage in the middle", RUNS, write_at(4096)),
    ("garbage in the header", KILLED, write_at(0, 96)),
    ("garbage in the middle", KILLED, write_at(4096)),
    ("removed", KILLED, remove("")),
    ("removed with its -wal and -shm", KILLED, remove("", "-wal", "-shm")),
    ("garbage in the header", ENDED, write_at(0, 96)),
    ("removed", ENDED, remove("")),
)


def accident(what, when, harm):
    damaged = "garbage" in what
    what += {RUNS: ", while it runs", KILLED: ", when it was killed", ENDED: ", when it had ended"}[when]
    at_the_door("198.51.100.1")
    size = os.path.getsize(work.log_path)
    if when is not RUNS:
        work.stop(current[0], when)
    kept = set(glob.glob(folder + "/*"))
    node = os.stat(work.state).st_ino
    harm()
    if when is not RUNS:
        current[0] = work.start()
    with Load():
        new = until(lambda: os.path.exists(work.state) and os.stat(work.state).st_ino != node, 20)
        check(what + ": a new file is made", new is not None, sentences(size)[-600:])
        in_force(what, by_hand=when is RUNS)
    check(what + ": the daemon lives", current[0].poll() is None)
    if damaged:
        aside = [path for path in glob.glob(folder + "/*") if path not in kept and os.stat(path).st_ino == node]
        check(what + ": the damaged file is kept under a new name", len(aside) == 1, aside)
        check(what + ": and that is said", bool(aside) and aside[0] in sentences(size), sentences(size)[-600:])
        check(what + ": as it was", bool(aside) and GARBAGE in open(aside[0], "rb").read())
        for path in glob.glob(work.state + ".damaged*"):
            os.unlink(path)  # the tmpfs is small
    last = max(told)
    check(what + ": decisions come in again", until(
        lambda: work.sql("SELECT 1 FROM decision WHERE number >= %d LIMIT 1" % last, work.state, check=False).strip() == "1") is not None)
    if when is not RUNS:
        by_hand()
    listed(what)


def lost():
    set_up()
    for what, when, harm in ACCIDENTS:
        unit(work, lambda what=what, when=when, harm=harm: accident(what, when, harm))


def run_all():
    for part in (full, locked, lost):
        begun = time.monotonic()
        unit(work, part)
        if "-v" in sys.argv:
            print("%s: %.1f s" % (part.__name__, time.monotonic() - begun))


work.init()
work.sql(ROWS)
os.mkdir(folder, 0o750)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=750", "none", folder], check=True)
try:
    current[0] = work.start()
    run_all()
    check("stops at the end", work.stop(current[0]) == 0)
    check("no sanitizer spoke", "ERROR: " not in work.log() and "runtime error" not in work.log(), work.log()[-3000:])
finally:
    for process in work.started:
        work.stop(process, signal.SIGKILL)
    subprocess.run(["umount", folder], check=False)
work.finish()
