"""Plays the service manager: sockets, environment, the datagrams that the daemon sends, its threads held still."""
# SPDX-License-Identifier: BSD-2-Clause
import atexit
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "milter"))
from wire import Work  # noqa: E402  pylint: disable=wrong-import-position


def prepare(build):
    """A Work whose processes and folder go with us, whatever happens."""
    made = Work(build)
    atexit.register(tidy, made)
    return made


def tidy(work):
    for process in work.started:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(work.folder, ignore_errors=True)


class Manager:
    """A socket for notifications, by path or abstract."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.status = ""

    def next(self, seconds):
        """The lines of the next datagram, or None."""
        self.socket.settimeout(max(seconds, 0.001))
        try:
            lines = self.socket.recv(4096).decode("latin-1").split("\n")
        except socket.timeout:
            return None
        for line in lines:
            if line.startswith("STATUS="):
                self.status = line[7:]
        return lines

    def until(self, word, seconds=10):
        """Waits for a line; all that came until then, or None."""
        end, seen = time.monotonic() + seconds, []
        while time.monotonic() < end:
            lines = self.next(end - time.monotonic())
            if lines is not None:
                seen += lines
                if any(line == word or (word.endswith("=") and line.startswith(word)) for line in lines):
                    return seen
        return None

    def says(self, part, seconds=10):
        """Waits for a STATUS with these words in it."""
        end = time.monotonic() + seconds
        while part not in self.status and time.monotonic() < end:
            self.next(end - time.monotonic())
        return part in self.status

    def drain(self):
        while self.next(0) is not None:
            pass


def listening(path, backlog=1024):
    """A socket as a .socket unit makes it."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(path)
    made.listen(backlog)
    return made


def start(work, environment=None, sockets=None, options=(), descriptors=None):
    """Starts the daemon; sockets: two that listen, passed as 3 and 4. Does not wait. A WATCHDOG_PID of "own" becomes
    the daemon's."""
    words = [work.build + "/milter/sekisho-milter", "--policy", work.policy, "--state", work.state, "--stderr"]
    if sockets is None:
        words += ["--socket", "unix:" + work.milter, "--permit", "unix:" + work.permit]
    else:
        words += ["--socket", "fd:3", "--permit", "fd:4"]
    values = dict(os.environ)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        values.pop(name, None)
    values.update(environment or {})
    script = 'if [ "${WATCHDOG_PID:-}" = own ]; then WATCHDOG_PID=$$; export WATCHDOG_PID; fi; '
    if descriptors is not None:
        script += "ulimit -n %d; " % descriptors
    script += 'exec "$@"'
    passed = ()
    if sockets is not None:
        passed = tuple(one.fileno() for one in sockets)
        script += " 3<&%d 4<&%d" % passed
        for number in passed:
            if number > 4:
                script += " %d<&-" % number
    with open(work.log_path, "ab") as log:
        process = subprocess.Popen(["bash", "-c", script, "start"] + words + list(options), stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, cwd=work.folder, env=values, pass_fds=passed)
    work.started.append(process)
    return process


def thread(process, name):
    """The first thread of that name."""
    for number in sorted(map(int, os.listdir("/proc/%d/task" % process.pid))):
        with open("/proc/%d/task/%d/comm" % (process.pid, number), encoding="ascii") as comm:
            if comm.read().strip() == name:
                return number
    return None


class Still:
    """Holds one thread still, as a debugger does; the others run on."""

    ATTACH, DETACH, WALL = 16, 17, 0x40000000

    def __init__(self, process, name):
        self.thread = thread(process, name)
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self):
        if self.thread is None or self.libc.ptrace(self.ATTACH, self.thread, None, None) != 0:
            raise RuntimeError("no such thread, or it may not be held: %s" % os.strerror(ctypes.get_errno()))
        os.waitpid(self.thread, self.WALL)
        return self

    def __exit__(self, *unused):
        self.libc.ptrace(self.DETACH, self.thread, None, None)


__all__ = ["Manager", "Still", "listening", "prepare", "start", "thread"]
