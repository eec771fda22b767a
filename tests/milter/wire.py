"""Speaks the MTA's side of the milter protocol and of the permit door, octet for octet."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

NR_FLAGS = 0x1000 | 0x2000 | 0x4000 | 0x10000  # connect, HELO, MAIL, DATA need no answer
NO_PARTS = 0x10 | 0x20 | 0x40 | 0x100  # body, headers, unknown, end of headers are not wanted
RCPT_REJ = 0x800
SETSYMLIST = 0x100
REMOTE, LOCAL = b"<hanako@elsewhere.example>", b"<taro@example.jp>"
STRANGER = "220.86.126.33"


class Gone(Exception):
    """The other side hung up."""


class Milter:
    """One connection of an MTA."""

    def __init__(self, path, timeout=5.0, negotiate=True, steps=0x1FFFFF, actions=0x1FF):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        if negotiate:
            self.send(b"O", struct.pack("!III", 6, actions, steps))
            code, data = self.read()
            assert code == b"O", code
            self.version, self.actions, self.steps = struct.unpack("!III", data[:12])
            self.lists = data[12:]

    def send(self, command, data=b""):
        self.socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def take(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise Gone()
            data += more
        return data

    def read(self):
        (size,) = struct.unpack("!I", self.take(4))
        packet = self.take(size)
        return packet[:1], packet[1:]

    def quiet(self, seconds=0.15):
        """True when nothing is said for so long."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) is None
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(5.0)

    def macros(self, stage, values):
        data = stage
        for name, value in values.items():
            data += name.encode() + b"\0" + (value if isinstance(value, bytes) else value.encode()) + b"\0"
        self.send(b"D", data)

    def connect(self, address=STRANGER, name=b"client.example", port=40000, macros=None):
        self.macros(b"C", macros if macros is not None else {"j": "mail.example.jp"})
        if address is None:
            self.send(b"C", name + b"\0U")
        else:
            family = b"6" if ":" in address else b"4"
            spelled = ("IPv6:" if family == b"6" else "") + address
            self.send(b"C", name + b"\0" + family + struct.pack("!H", port) + spelled.encode() + b"\0")

    def helo(self, name=b"client.example"):
        self.send(b"H", name + b"\0")

    def mail(self, sender=b"<someone@far.example>", login=None, macros=None):
        values = dict(macros or {})
        if login is not None:
            values["{auth_authen}"] = login
        if values or macros is not None:
            self.macros(b"M", values)
        self.send(b"M", sender + b"\0")

    def rcpt(self, recipient, macros=None):
        """('pass',) or ('550', whole text)."""
        if macros is not None:
            self.macros(b"R", macros)
        self.send(b"R", recipient + b"\0")
        return self.answer()

    def answer(self):
        code, data = self.read()
        if code == b"c":
            return ("pass", b"")
        if code == b"y":
            return (data[:3].decode("latin-1"), data.rstrip(b"\0"))
        return ("packet " + code.decode("latin-1"), data)

    def end(self, macros=None):
        if macros is not None:
            self.macros(b"E", macros)
        self.send(b"E")
        return self.answer()

    def close(self):
        try:
            self.send(b"Q")
        except OSError:
            pass
        self.socket.close()


class Door:
    """One connection of an MTA to the permit door."""

    def __init__(self, path, timeout=5.0):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.buffer = b""

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Gone()
        self.buffer += data

    def policy_read(self):
        while b"\n\n" not in self.buffer:
            self.more()
        answer, self.buffer = self.buffer.split(b"\n\n", 1)
        assert answer.startswith(b"action="), answer
        return answer[7:]

    def policy(self, **attributes):
        values = {"request": b"smtpd_access_policy", "protocol_state": b"RCPT"}
        values.update(attributes)
        lines = b""
        for name, value in values.items():
            lines += name.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()) + b"\n"
        self.socket.sendall(lines + b"\n")
        return self.policy_read()

    def map_read(self):
        while b":" not in self.buffer:
            self.more()
        size, rest = self.buffer.split(b":", 1)
        while len(rest) < int(size) + 1:
            self.more()
            size, rest = self.buffer.split(b":", 1)
        self.buffer = rest[int(size) + 1:]
        assert rest[int(size):int(size) + 1] == b","
        return rest[:int(size)]

    def map_ask(self, request):
        self.socket.sendall(b"%d:%s," % (len(request), request))
        return self.map_read()

    def map(self, client=STRANGER.encode(), login=b"", sender=b"<a@far.example>", recipient=REMOTE):
        return self.map_ask(b"may " + b"|".join((client, login, sender, recipient)))

    def close(self):
        self.socket.close()


class Watch:
    """Descriptors, threads and memory of a daemon: what a case has taken must come back after it."""

    def __init__(self, work, process):
        self.work, self.pid = work, process.pid
        with open(work.build + "/milter/sekisho-milter", "rb") as binary:
            code = binary.read()
        # a sanitizer keeps what was freed and has shadows of threads that are gone: its memory says nothing, and
        # AddressSanitizer finds at the end what was lost
        self.sanitized = b"__asan_init" in code or b"__tsan_init" in code
        self.base = self.now()

    def now(self):
        """(descriptors, threads, kB of memory of its own)"""
        with open("/proc/%d/status" % self.pid, encoding="ascii") as status:
            values = dict(line.split(":", 1) for line in status)
        return len(self.descriptors()), int(values["Threads"]), int(values["RssAnon"].split()[0])

    def descriptors(self):
        """All but the journal's segments, of which there are a few more or less as records come and are drained."""
        seen = []
        for name in os.listdir("/proc/%d/fd" % self.pid):
            try:
                seen.append(os.readlink("/proc/%d/fd/%s" % (self.pid, name)))
            except FileNotFoundError:
                pass  # closed meanwhile
        segments = [path for path in seen if "/journal/" in path]
        if len(segments) > 12:  # eight ahead, the one that is written, and what is being taken or released
            self.work.check("journal segments that are open", False, segments)
        return [path for path in seen if "/journal/" not in path]

    def begin(self, work=lambda: None):
        """What is there after some work is what it starts from: the first sessions make the pool and its memory, and
        state.db's pages are kept in memory up to 2 MB, which some thousands of decisions fill."""
        work()
        if not self.sanitized:
            door = Door(self.work.permit)
            for _ in range(15000):
                door.policy(client_address=b"203.0.113.99", sender=b"a@far.example", recipient=b"b@elsewhere.example")
            door.close()
        before = None
        for _ in range(12):
            time.sleep(1.2)  # the keeper writes decisions down once a second
            if before == (before := self.now()) or self.sanitized:
                break
        self.base = self.now()

    def back(self, what, more_kb=4096, more_threads=0, seconds=25):
        """Waits for libmilter, whose idle threads and closed sessions go in their own time."""
        until = time.monotonic() + seconds
        limit = (self.base[0], self.base[1] + more_threads, self.base[2] + more_kb if not self.sanitized else 1 << 40)
        while True:
            seen = self.now()
            if all(now <= most for now, most in zip(seen, limit)):
                return self.work.check("%s: all came back" % what, True)
            if time.monotonic() > until:
                return self.work.check("%s: descriptors, threads, kB come back" % what, False, (seen, "of", self.base))
            time.sleep(0.01)


def known(work, what, seconds=2.0):
    """Sessions whose answers are known get them, and soon."""
    begin = time.monotonic()
    stranger, office, door = Milter(work.milter), Milter(work.milter), Door(work.permit)
    stranger.connect()
    office.connect("192.0.2.25")
    answers = []
    for milter in (stranger, office):
        milter.helo()
        milter.mail(b"<a@far.example>")
        answers += [milter.rcpt(REMOTE), milter.rcpt(LOCAL)]
        milter.close()
    answers += [("OK" if door.policy(client_address="192.0.2.25", sender="a@far.example", recipient="b@elsewhere.example") == b"OK"
                 else "no", b""),
                (door.policy(client_address=STRANGER, sender="a@far.example", recipient="b@elsewhere.example")[:3].decode(), b"")]
    door.close()
    took = time.monotonic() - begin
    work.check("%s: known sessions get their answers" % what, [a[0] for a in answers] == ["550", "pass", "pass", "pass", "OK", "550"]
               and b"[sekisho relay-denied #" in answers[0][1] and took < seconds, (took, answers))


class Work:
    """A folder of one's own, removed at the end with every process that was started."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.folder = tempfile.mkdtemp(prefix="sekisho-test.")
        self.policy = os.path.join(self.folder, "etc", "policy.db")
        self.state = os.path.join(self.folder, "state", "state.db")
        self.milter = os.path.join(self.folder, "m.sock")
        self.permit = os.path.join(self.folder, "p.sock")
        self.log_path = os.path.join(self.folder, "log")
        self.started = []
        self.passed = self.failed = 0
        os.mkdir(os.path.dirname(self.policy))

    def check(self, what, good, seen=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("FAILED %s %s" % (what, repr(seen)[:600] if seen != "" else ""), flush=True)
        return good

    def init(self, domain="example.jp", host="mail.example.jp", path=None):
        subprocess.run([self.build + "/ctl/sekisho", "--policy", path or self.policy, "init", "--domain", domain,
                        "--hostname", host], check=True, timeout=20, stdout=subprocess.DEVNULL)

    def sql(self, text, path=None, check=True):
        done = subprocess.run(["sqlite3", "-init", "/dev/null", "-batch", "-bail", path or self.policy], input=text,
                              text=True, capture_output=True, timeout=20)
        if check and done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout + done.stderr

    def start(self, *options, before=(), wait=True, log=None):
        """Starts the daemon; waits until both sockets answer."""
        log = open(log or self.log_path, "ab")
        words = list(before) + [self.build + "/milter/sekisho-milter", "--policy", self.policy, "--state", self.state,
                                "--socket", "unix:" + self.milter, "--permit", "unix:" + self.permit,
                                "--stderr"] + list(options)
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        log.close()
        self.started.append(process)
        if wait:
            until = time.monotonic() + 15
            while not self.answers():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the daemon does not answer: " + self.log()[-1500:])
                time.sleep(0.02)
        return process

    def answers(self):
        for path in (self.milter, self.permit):
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                probe.connect(path)
            except OSError:
                return False
            finally:
                probe.close()
        return True

    def stop(self, process, number=signal.SIGTERM, seconds=12):
        """Its exit status; 'hung' when it had to be killed."""
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "hung"

    def log(self):
        with open(self.log_path, "rb") as log:
            return log.read().decode("latin-1")

    def finish(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        print("%d passed, %d failed" % (self.passed, self.failed))
        sys.exit(1 if self.failed or not self.passed else 0)


def unit(work, run):
    """Runs; an exception is a failure like any other."""
    try:
        run()
    except Exception as fault:  # pylint: disable=broad-except
        import traceback
        place = traceback.extract_tb(fault.__traceback__)[1 if len(traceback.extract_tb(fault.__traceback__)) > 1 else 0]
        work.check("%s: line %d: %r" % (run.__name__, place.lineno, fault), False)
