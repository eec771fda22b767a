"""Restarts lose nothing: who connects meanwhile is served, who is in the middle comes to an end, nobody holds the end up."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from manager import Manager, listening, prepare, start
from wire import LOCAL, Door, Gone, Milter

work = prepare(sys.argv[1])
check = work.check
work.init()
manager = Manager(os.path.join(work.folder, "notify"))


def ready():
    check("READY=1", manager.until("READY=1", 30) is not None, work.log()[-800:])


def whole(path=None):
    """One session of one message; raises when it is not served."""
    milter = Milter(path or work.milter, timeout=20)
    milter.connect()
    milter.helo()
    milter.mail()
    first = milter.rcpt(LOCAL)[0]
    time.sleep(0.02)
    second = milter.end()[0]
    milter.close()
    assert (first, second) == ("pass", "pass"), (first, second)


def question(path=None):
    door = Door(path or work.permit, timeout=20)
    answer = door.policy(recipient="a@elsewhere.example")
    door.close()
    assert answer[:3] == b"550", answer


class Crowd:
    """Clients that come one after the other, in several threads."""

    def __init__(self, works):
        self.lock, self.over = threading.Lock(), threading.Event()
        self.done = []  # (what, began, ended, trouble or None)
        self.threads = [threading.Thread(target=self.run, args=(one,)) for one in works]
        for one in self.threads:
            one.start()

    def run(self, one):
        while not self.over.is_set():
            began, trouble = time.monotonic(), None
            try:
                one()
            except (OSError, Gone, AssertionError) as fault:
                trouble = repr(fault)
            with self.lock:
                self.done.append((one.__name__, began, time.monotonic(), trouble))
            time.sleep(0.005)

    def end(self):
        self.over.set()
        for one in self.threads:
            one.join(30)
        return self.done


sockets = [listening(work.milter), listening(work.permit)]
told = {"NOTIFY_SOCKET": manager.name}

# -- SIGTERM and a new process at the same sockets: nobody notices
daemon = start(work, told, sockets)
ready()
crowd = Crowd([whole] * 4 + [question] * 2)
gaps = []
for _ in range(3):
    time.sleep(0.5)
    gaps.append([time.monotonic()])
    daemon.send_signal(signal.SIGTERM)
    check("SIGTERM: exit status 0", work.stop(daemon) == 0, work.log()[-800:])
    time.sleep(0.3)
    daemon = start(work, told, sockets)
    ready()
    gaps[-1].append(time.monotonic())
time.sleep(0.5)
done = crowd.end()
broken = [one for one in done if one[3] is not None]
meanwhile = [one for one in done if any(gap[0] < one[1] < gap[1] - 0.1 for gap in gaps)]
check("SIGTERM: some came while nobody was there", {one[0] for one in meanwhile} == {"whole", "question"}, len(meanwhile))
check("SIGTERM: all are served", not broken and len(done) > 50, (len(broken), len(done), broken[:3]))

# -- SIGKILL: what was under way is cut, all that came later is served
crowd = Crowd([whole] * 4 + [question] * 2)
deaths, late = [], []
for _ in range(3):
    time.sleep(0.4)
    deaths.append([time.monotonic()])
    daemon.kill()
    daemon.wait()
    deaths[-1].append(time.monotonic())
    late.append(Crowd([whole, question]))
    time.sleep(0.3)
    daemon = start(work, told, sockets)
    ready()
time.sleep(0.4)
done = crowd.end()
later = [one for crowd in late for one in crowd.end()]
check("SIGKILL: some came while nobody was there", {one[0] for one in later} == {"whole", "question"}, len(later))
cut = [one for one in done + later if one[3] is not None]
broken = [one for one in cut if not any(one[1] <= death[1] and one[2] >= death[0] for death in deaths)]
check("SIGKILL: all that came later are served", not broken and len(done) > 50, (len(broken), len(done), broken[:3]))

# -- a message in the middle at SIGTERM comes to its end, and the door answers it until then
milter, door = Milter(work.milter), Door(work.permit)
milter.connect()
milter.helo()
milter.mail()
check("drain: first recipient", milter.rcpt(LOCAL)[0] == "pass")
began = time.monotonic()
daemon.send_signal(signal.SIGTERM)
check("drain: STOPPING=1", manager.until("STOPPING=1", 5) is not None)
time.sleep(1)
try:
    question()  # a new connection
    check("drain: the door answers, who has asked before and who has not",
          door.policy(recipient="a@elsewhere.example")[:3] == b"550")
    check("drain: second recipient", milter.rcpt(b"<postmaster@example.jp>")[0] == "pass")
    check("drain: the message", milter.end()[0] == "pass")
    milter.close()
except (OSError, Gone) as fault:
    check("drain: cut in the middle", False, repr(fault))
check("drain: exit status 0", work.stop(daemon) == 0, work.log()[-800:])
took = time.monotonic() - began
check("drain: over as soon as the last session is", took < 2.9, took)

# -- one that never goes on, at a unix: socket of our own: the end comes within 5 s (and some, on a slow machine)
for one in sockets:
    one.close()
for path in (work.milter, work.permit):
    os.unlink(path)
daemon = start(work, told)
ready()
milter = Milter(work.milter)
milter.connect()
milter.mail()
check("idle: first recipient", milter.rcpt(LOCAL)[0] == "pass")
began = time.monotonic()
status = work.stop(daemon)
took = time.monotonic() - began
check("idle: waits for it, then ends", status == 0 and 2.5 < took < 8, (status, took))
check("idle: within 5 s", took < 5.5, took)
milter.socket.close()
check("idle: no socket file is left", not os.path.exists(work.milter) and not os.path.exists(work.permit))

# -- systemd-socket-activate: the first client starts the daemon and is served by it
words = ["systemd-socket-activate", "-l", work.milter, "-l", work.permit, "-E", "NOTIFY_SOCKET=" + manager.name,
         work.build + "/milter/sekisho-milter", "--policy", work.policy, "--state", work.state, "--stderr",
         "--socket", "fd:3", "--permit", "fd:4"]
if "TSAN_OPTIONS" in os.environ: # no other variables are handed on
    words[1:1] = ["-E", "TSAN_OPTIONS"]
with open(work.log_path, "ab") as log:
    daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=work.folder)
work.started.append(daemon)
until = time.monotonic() + 10
while not os.path.exists(work.permit) and time.monotonic() < until:
    time.sleep(0.02)
manager.drain()
try:
    whole()
    question()  # a new connection
    check("activated: the first client is served", True)
except (OSError, Gone, AssertionError) as fault:
    check("activated: the first client is served", False, (repr(fault), work.log()[-500:]))
ready()
check("activated: ends", work.stop(daemon) == 0, work.log()[-4000:])
check("activated: the socket files stay", os.path.exists(work.milter) and os.path.exists(work.permit))

# -- fd:N that is nothing of the kind
pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
mark = len(work.log())
daemon = start(work, told, pair)
check("a socket that does not listen: exit status 1", daemon.wait(20) == 1, work.log()[mark:])
check("a socket that does not listen: says so", "cannot listen at fd:4: " in work.log()[mark:], work.log()[mark:])

check("no sanitizer spoke", "ERROR: " not in work.log() and "runtime error" not in work.log(), work.log()[-3000:])
work.finish()
