#!/usr/bin/env python3
# What a private Sendmail talks to: an SMTP sink for its outgoing mail, and a syslog in a file.
# SPDX-License-Identifier: BSD-2-Clause
"""Take all mail at 127.0.0.1:2525, one file a message; append what comes to /dev/log to a file.

Each file begins with X-Mail-Args: and one X-Rcpt-Args: a recipient, as Postfix's smtp-sink writes them.
"""
import os
import socket
import socketserver
import sys
import threading
import time

SINK, LOG = sys.argv[1], sys.argv[2]


def path_of(argument):
    """<path> out of FROM:<path> SIZE=... """
    return argument.partition(":")[2].strip().partition(" ")[0]


class Sink(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        try:
            self.talk()
        except ConnectionError:
            pass                # who looks whether somebody listens goes without a word

    def talk(self):
        sender, recipients = "", []
        self.say("220 sink ESMTP")
        for raw in self.rfile:
            verb, _, rest = raw.decode("utf-8", "backslashreplace").rstrip("\r\n").partition(" ")
            verb = verb.upper()
            if verb == "MAIL":
                sender, recipients = path_of(rest), []
            elif verb == "RCPT":
                recipients.append(path_of(rest))
            elif verb == "DATA":
                self.say("354 go on")
                self.keep(sender, recipients)
            elif verb == "QUIT":
                self.say("221 bye")
                return
            self.say("250 sink")

    def keep(self, sender, recipients):
        lines = [f"X-Mail-Args: {sender}\n"] + [f"X-Rcpt-Args: {it}\n" for it in recipients]
        text = "".join(lines).encode()
        for raw in self.rfile:
            if raw == b".\r\n":
                break
            text += raw[1:] if raw.startswith(b".") else raw
        else:
            return              # no end, no message
        name = os.path.join(SINK, f"{time.time_ns()}.{threading.get_ident()}")
        with open(name + ".new", "wb") as file:
            file.write(text)
        os.rename(name + ".new", name)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 200


def syslog():
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind("/dev/log")
    os.chmod("/dev/log", 0o666)
    with open(LOG, "ab", buffering=0) as log:
        while True:
            log.write(listener.recv(65536).partition(b">")[2].rstrip(b"\0\n") + b"\n")


threading.Thread(target=syslog, daemon=True).start()
Server(("127.0.0.1", 2525), Sink).serve_forever()
