"""READY, STATUS, WATCHDOG and STOPPING: they come when they should, and WATCHDOG stays away when we cannot serve."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import resource
import signal
import sys
import time

from manager import Manager, Still, listening, prepare, start, thread
from wire import LOCAL, REMOTE, Door, Milter

work = prepare(sys.argv[1])
check = work.check
PERIOD = 1.5  # seconds the watchdog waits in these tests
work.init()
manager = Manager(os.path.join(work.folder, "notify"))
watched = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": str(int(PERIOD * 1e6)), "WATCHDOG_PID": "own"}


def stays_away(seconds=PERIOD * 1.5, before=PERIOD):
    """No WATCHDOG=1 for longer than the manager waits, after what was on its way."""
    end = time.monotonic() + before
    while time.monotonic() < end:
        manager.next(end - time.monotonic())
    return manager.until("WATCHDOG=1", seconds) is None


def decisions():
    return int(work.sql("SELECT count(*) FROM decision;", path=work.state).strip())


# -- READY: only after both doors have answered
daemon = start(work, watched)
seen = manager.until("READY=1", 30)
check("READY=1 comes", seen is not None, work.log()[-500:])
check("nothing but READY=1 comes first", seen is not None and seen[0] == "READY=1", seen)
milter, door = Milter(work.milter), Door(work.permit)
milter.connect()
milter.mail()
check("at READY the milter answers", milter.rcpt(LOCAL)[0] == "pass")
check("at READY the door answers", door.policy(recipient="a@elsewhere.example")[:3] == b"550")
milter.close()
door.close()

# -- STATUS: what is in force, and what is wrong
check("STATUS says the policy", manager.says("policy 1 in force: "), manager.status)
work.sql("INSERT INTO client_host(range, note) VALUES ('192.0.2.0/28', 'office');")
check("STATUS says the next one", manager.says("policy 2 in force: "), manager.status)
work.sql("INSERT INTO client_host(range, note) VALUES ('0.0.0.0/0', 'everybody');", check=False)
work.sql("PRAGMA ignore_check_constraints=1; INSERT OR IGNORE INTO client_host(range, note) VALUES ('0.0.0.0/0', 'all');")
check("STATUS says what is refused", manager.says("policy 2 in force: ") and manager.says("; policy.db is refused: "),
      manager.status)
work.sql("DELETE FROM client_host WHERE range='0.0.0.0/0';")
check("STATUS says that it is mended", manager.says("policy 3 in force: ") and "refused" not in manager.status,
      manager.status)

# -- WATCHDOG: comes often enough, goes through the filter, leaves nothing behind
manager.drain()
time.sleep(1.5)  # what was asked above is written into state.db
manager.drain()
before, lines = decisions(), work.log().count("\n")
times = []
end = time.monotonic() + PERIOD * 3
while time.monotonic() < end:
    seen = manager.next(end - time.monotonic())
    if seen and "WATCHDOG=1" in seen:
        times.append(time.monotonic())
check("WATCHDOG=1 comes at least twice a period", len(times) >= 6, times)
check("the watchdog leaves no decision", before > 0 and decisions() == before, (before, decisions()))
check("the watchdog leaves no line", work.log().count("\n") == lines, work.log()[-300:])

# -- WATCHDOG stays away as long as one part stands still, comes back after that
for part, what in (("milter", "the milter"), ("permit", "the permit door"), ("keeper", "the thread that reads policy.db")):
    mark = len(work.log())
    with Still(daemon, part):
        # the keeper may stand still for 3 s: it may be reading a large policy
        check("%s stands still: no WATCHDOG" % part, stays_away(before=4 if part == "keeper" else PERIOD), part)
        said = work.log()[mark:]
        check("%s stands still: the log says it" % part, "watchdog: " + what in said, said[-300:])
    check("%s goes on: WATCHDOG" % part, manager.until("WATCHDOG=1", 15) is not None)

# descriptors run out: with none left nobody can ask, with one left nobody can accept
limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
for left in (0, 1):
    taken = set(map(int, os.listdir("/proc/%d/fd" % daemon.pid)))
    free = next(number for number in range(len(taken) + 2) if number not in taken)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (free + left, limits[1]))
    check("%d descriptors left: no WATCHDOG" % left, stays_away())
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
    check("%d descriptors left, then more: WATCHDOG" % left, manager.until("WATCHDOG=1", 15) is not None)

# the whole process
daemon.send_signal(signal.SIGSTOP)
check("all of it stands still: no WATCHDOG", stays_away())
daemon.send_signal(signal.SIGCONT)
check("all of it goes on: WATCHDOG", manager.until("WATCHDOG=1", 15) is not None)

# -- a client with nearly the probe's name is judged like any other
milter = Milter(work.milter)
milter.connect(None, name=b"probe-" + b"0" * 32)
milter.helo()
milter.mail(b"<a@far.example>")
answer = milter.rcpt(REMOTE)
check("a forged probe is judged", answer[0] == "550" and b"[sekisho relay-denied #" in answer[1], answer)
milter.close()

# -- SIGHUP looks, SIGTERM says STOPPING
mark = len(work.log())
daemon.send_signal(signal.SIGHUP)
check("after SIGHUP it goes on", manager.until("WATCHDOG=1", 15) is not None)
check("SIGHUP looks", "looking at the policy now" in work.log()[mark:], work.log()[mark:])
manager.drain()
daemon.send_signal(signal.SIGTERM)
check("STOPPING=1 comes", manager.until("STOPPING=1", 10) is not None)
check("exit status 0", work.stop(daemon) == 0, work.log()[-500:])
check("nothing comes after STOPPING", manager.until("WATCHDOG=1", 1) is None)

# -- who does not want a watchdog gets none
for name, without in (("no WATCHDOG_USEC", {"NOTIFY_SOCKET": manager.name}),
                      ("WATCHDOG_PID of another", dict(watched, WATCHDOG_PID="1"))):
    manager.drain()
    daemon = start(work, without)
    check("%s: READY" % name, manager.until("READY=1", 30) is not None)
    check("%s: no WATCHDOG" % name, manager.until("WATCHDOG=1", PERIOD * 1.5) is None)
    check("%s: ends" % name, work.stop(daemon) == 0, work.log()[-4000:])

daemon = work.start()
for _ in range(100):            # a thread gives itself its name
    if thread(daemon, "keeper") is not None:
        break
    time.sleep(0.1)
check("no NOTIFY_SOCKET: no thread", thread(daemon, "keeper") is not None and thread(daemon, "watch") is None)
check("no NOTIFY_SOCKET: ends", work.stop(daemon) == 0, work.log()[-4000:])

abstract = Manager("@sekisho-test-%d" % os.getpid())
daemon = start(work, {"NOTIFY_SOCKET": abstract.name})
check("an abstract socket: READY", abstract.until("READY=1", 30) is not None)
check("an abstract socket: ends", work.stop(daemon) == 0, work.log()[-4000:])

for name, wrong, words in (("relative", {"NOTIFY_SOCKET": "notify"}, "NOTIFY_SOCKET notify: must be"),
                           ("long", {"NOTIFY_SOCKET": "/" + "x" * 120}, "must be a path from the root"),
                           ("period", dict(watched, WATCHDOG_USEC="often"), "WATCHDOG_USEC often: must be")):
    mark = len(work.log())
    daemon = start(work, wrong)
    check("%s: exit status 1" % name, daemon.wait(20) == 1)
    check("%s: says why" % name, words in work.log()[mark:], work.log()[mark:])

# -- READY waits for each door: the address that is ours by name belongs to somebody who never answers
for name in ("milter", "permit"):
    paths = {one: os.path.join(work.folder, "%s.%s" % (name, one)) for one in ("milter", "permit")}
    ours = [listening(paths["milter"]), listening(paths["permit"])]
    os.unlink(paths[name])
    silent = listening(paths[name])
    manager.drain()
    daemon = start(work, watched, ours)
    check("%s does not answer: no READY" % name, manager.until("READY=1", 4) is None)
    check("%s does not answer: it ends all the same" % name, work.stop(daemon) == 0, work.log()[-500:])
    silent.close()

check("no sanitizer spoke", "ERROR: " not in work.log() and "runtime error" not in work.log(), work.log()[-3000:])
work.finish()
