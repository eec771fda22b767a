#!/usr/bin/env python3
# One SMTP session from a chosen source address: SMTP lines in, one JSON line per reply out.
# SPDX-License-Identifier: BSD-2-Clause
"""Speak SMTP exactly as told and print every reply as one JSON line.

Each STEP is an SMTP command, sent as written, except
  STARTTLS            sent, and then TLS is spoken (no certificate is checked)
  AUTH USER PASSWORD  AUTH PLAIN with this login
  DATA [TEXT]         the message (or TEXT) follows if the server says 354
  CUT [TEXT]          DATA, a message without its end, and the connection is closed
  @FILE               FILE.here is made, and the session goes on when FILE is there
  A | B | C           sent in one piece (pipelined), replies read afterwards; DATA may be the last
{n} in a step is the number of the session, 1 .. --times.

exit 0: every session ended as SMTP does; 1: a connection failed or broke; 2: usage.
"""
import argparse
import base64
import concurrent.futures
import json
import os
import re
import socket
import ssl
import sys
import time

SEKISHO = re.compile(r"\[sekisho ([a-z-]+) #(\d+)\]")
ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3}) ")


def outcome(replies):
    """The reply that decided: the first refusal or deferral, else the last but QUIT's."""
    for reply in replies:
        if reply["code"] == 0 or reply["code"] >= 400:
            return reply
    return [reply for reply in replies if reply["sent"] != "QUIT"][-1]


class Session:
    def __init__(self, options, number):
        self.options, self.number, self.replies = options, number, []
        self.buffer = b""
        family = socket.AF_INET6 if ":" in options.server else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(options.timeout)
        if options.source:
            self.socket.bind((options.source, 0))

    def connect(self):
        self.socket.connect((self.options.server, self.options.port))
        if self.options.tls:
            self.start_tls()
        self.reply("connect")

    def start_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)
        self.buffer = b""

    def line(self):
        while b"\n" not in self.buffer:
            piece = self.socket.recv(4096)
            if not piece:
                raise ConnectionError("the server closed the connection")
            self.buffer += piece
            if len(self.buffer) > 65536:
                raise ConnectionError("a reply without an end")
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r")

    def reply(self, sent):
        lines = []
        while True:
            line = self.line()
            lines.append(line[4:].decode("utf-8", "backslashreplace"))
            if line[3:4] != b"-":
                break
        code = int(line[:3]) if line[:3].isdigit() else 0
        text = " / ".join(lines)
        enhanced, ours = ENHANCED.match(text), SEKISHO.search(text)
        self.replies.append({
            "session": self.number, "sent": sent, "code": code,
            "enhanced": enhanced.group(1) if enhanced else None,
            "reason": ours.group(1) if ours else None,
            "number": int(ours.group(2)) if ours else None,
            "text": text})
        return code

    def send(self, *commands):
        self.socket.sendall(b"".join(os.fsencode(command) + b"\r\n" for command in commands))

    def message(self, text):
        if text:
            body = os.fsencode(text)
        else:
            body = b"Subject: session %d\n\nA letter.\n" % self.number
        body = re.sub(rb"\r?\n", b"\r\n", body)
        body = re.sub(rb"(?m)^\.", b"..", body)
        if not body.endswith(b"\r\n"):
            body += b"\r\n"
        self.socket.sendall(body + b".\r\n")
        self.reply(".")

    def pause(self, path):
        with open(path + ".here", "w", encoding="ascii"):
            pass
        end = time.monotonic() + self.options.timeout
        while not os.path.exists(path):
            if time.monotonic() > end:
                raise ConnectionError(f"nobody made {path}")
            time.sleep(0.05)

    def step(self, step):
        if " | " in step:
            parts = step.split(" | ")
            self.send(*parts)
            codes = [self.reply(part) for part in parts]
            if parts[-1] == "DATA" and codes[-1] == 354:
                self.message("")
            return
        word, _, rest = step.partition(" ")
        if word == "AUTH" and len(rest.split(" ")) == 2 and not rest.startswith(("PLAIN", "LOGIN")):
            user, password = rest.split(" ")
            plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
            self.send("AUTH PLAIN " + plain)
            self.reply(f"AUTH {user}")
        elif word == "DATA":
            self.send("DATA")
            if self.reply("DATA") == 354:
                self.message(rest)
        elif word == "CUT":
            self.send("DATA")
            if self.reply("DATA") == 354:
                self.socket.sendall(os.fsencode(rest or "Subject: half") + b"\r\n")
            self.socket.close()
        elif word.startswith("@"):
            self.pause(step[1:])
        elif step == "STARTTLS":
            self.send(step)
            if self.reply(step) == 220:
                self.start_tls()
        else:
            self.send(step)
            self.reply(step)

    def run(self, steps):
        try:
            self.connect()
            for step in steps:
                self.step(step.replace("{n}", str(self.number)))
            return True
        except (OSError, ConnectionError) as error:
            self.replies.append({"session": self.number, "sent": None, "code": 0, "enhanced": None,
                                 "reason": None, "number": None, "text": f"broken: {error}"})
            return False
        finally:
            self.socket.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=25)
    parser.add_argument("--source", help="the address the session comes from")
    parser.add_argument("--tls", action="store_true", help="TLS from the first byte (port 465)")
    parser.add_argument("--times", type=int, default=1, help="how many sessions")
    parser.add_argument("--parallel", type=int, default=1, help="how many of them at once")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for each reply")
    parser.add_argument("--brief", action="store_true",
                        help="one line a session: code, reason, number, text of the reply that "
                             "decided (the first refusal, else the last), parted by tabs")
    parser.add_argument("--record", metavar="FILE", help="append all JSON lines to this file too")
    parser.add_argument("step", nargs="+")
    options = parser.parse_args()

    def one(number):
        session = None
        try:
            session = Session(options, number)
        except OSError as error:
            return False, [{"session": number, "sent": None, "code": 0, "enhanced": None,
                            "reason": None, "number": None, "text": f"broken: {error}"}]
        good = session.run(options.step)
        return good, session.replies

    every = True
    with concurrent.futures.ThreadPoolExecutor(max(1, options.parallel)) as pool:
        for good, replies in pool.map(one, range(1, options.times + 1)):
            every = every and good
            if options.record:
                with open(options.record, "a", encoding="ascii") as record:
                    record.writelines(json.dumps(reply) + "\n" for reply in replies)
            if options.brief:
                it = outcome(replies)
                print(it["code"], it["reason"] or "-", it["number"] or "-",
                      json.dumps(it["text"])[1:-1], sep="\t")
                continue
            for reply in replies:
                print(json.dumps(reply))
    return 0 if every else 1


if __name__ == "__main__":
    sys.exit(main())
