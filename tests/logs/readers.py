"""Who reads the log: a socket at /dev/log, a real rsyslogd, a real journald; and a daemon that writes to it."""
# SPDX-License-Identifier: BSD-2-Clause
import json
import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "milter"))

JOURNALD = "/lib/systemd/systemd-journald"
DEV_LOG = "/dev/log"


def until(what, seconds=15):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def serve(work, *options):
    """The daemon without --stderr, as a service starts it."""
    with open(work.log_path, "ab") as log:
        process = subprocess.Popen(
            [work.build + "/milter/sekisho-milter", "--policy", work.policy, "--state", work.state,
             "--socket", "unix:" + work.milter, "--permit", "unix:" + work.permit] + list(options),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=work.folder)
    work.started.append(process)
    if not until(lambda: work.answers() or process.poll() is not None) or process.poll() is not None:
        raise RuntimeError("the daemon does not answer: " + work.log()[-800:])
    return process


def forget_dev_log():
    if os.path.lexists(DEV_LOG):
        os.unlink(DEV_LOG)


class Socket:
    """/dev/log itself: what glibc sends, datagram for datagram."""

    def __init__(self, work):
        self.work = work
        forget_dev_log()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(DEV_LOG)
        self.socket.settimeout(0.5)

    def read(self):
        seen = []
        while True:
            try:
                seen.append(self.socket.recv(65536))
            except socket.timeout:
                return seen

    def end(self):
        self.socket.close()
        forget_dev_log()


class Rsyslog:
    """A real rsyslogd: the facility mail into a file, one in the form of Debian 12, one in the traditional one."""

    def __init__(self, work):
        forget_dev_log()
        self.new, self.old = work.folder + "/mail.log", work.folder + "/mail-traditional.log"
        conf = work.folder + "/rsyslog.conf"
        with open(conf, "w", encoding="ascii") as to:
            to.write('module(load="imuxsock")\n'
                     'mail.* action(type="omfile" file="%s")\n'
                     'mail.* action(type="omfile" file="%s" template="RSYSLOG_TraditionalFileFormat")\n' % (self.new, self.old))
        self.process = subprocess.Popen(["rsyslogd", "-n", "-f", conf, "-i", work.folder + "/rsyslog.pid"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        work.started.append(self.process)
        if not until(lambda: os.path.exists(DEV_LOG)):
            raise RuntimeError("rsyslogd makes no /dev/log")

    def lines(self, path, last):
        """Once a line with `last` in it has come."""
        def read():
            try:
                with open(path, "rb") as log:
                    return log.read()
            except FileNotFoundError:
                return b""
        until(lambda: last in read())
        return read().split(b"\n")[:-1]

    def end(self):
        self.process.terminate()
        self.process.wait(10)
        forget_dev_log()


class Journal:
    """A real journald with its sockets and files in this /run."""

    def __init__(self, work):
        forget_dev_log()
        os.makedirs("/run/log/journal", exist_ok=True)
        self.process = subprocess.Popen([JOURNALD], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        work.started.append(self.process)
        if not until(lambda: os.path.exists("/run/systemd/journal/dev-log")):
            raise RuntimeError("journald makes no socket")
        os.symlink("/run/systemd/journal/dev-log", DEV_LOG)

    def entries(self, last):
        """What it kept of the daemon, once an entry with `last` in it has come."""
        def read():
            done = subprocess.run(["journalctl", "-D", "/run/log/journal", "-o", "json", "--no-pager", "-a",
                                   "-t", "sekisho-milter"], capture_output=True, timeout=20, check=False)
            return [json.loads(line) for line in done.stdout.splitlines()]
        until(lambda: any(last in text(entry) for entry in read()))
        return read()

    def short(self):
        """As fail2ban's backend would see it, and as journalctl shows it."""
        done = subprocess.run(["journalctl", "-D", "/run/log/journal", "--no-pager", "-o", "short-iso", "-t", "sekisho-milter"],
                              capture_output=True, timeout=20, check=False)
        return done.stdout

    def end(self):
        self.process.terminate()
        self.process.wait(10)
        forget_dev_log()


def text(entry):
    """The message of an entry: a string, or octets where journald found no text in it."""
    message = entry.get("MESSAGE")
    return message if isinstance(message, str) else bytes(message or []).decode("latin-1")
