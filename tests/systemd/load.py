"""SMTP clients in the container: one or many, and what each of them was told."""
# SPDX-License-Identifier: BSD-2-Clause
#
# once       a message to us is taken, a recipient elsewhere is refused by sekisho; exit status 1 if not
# deferred   both are deferred
# load N     so for N seconds from several clients at a time; exit status 1 if one was told anything else
import smtplib
import sys
import threading
import time


def session():
    """What a stranger is told for one of ours, for one elsewhere, and at the end of the message; or at MAIL."""
    server = smtplib.SMTP("127.0.0.1", 25, "client.example", timeout=30)
    try:
        server.ehlo("client.example")
        sender = server.mail("someone@far.example")
        if sender[0] != 250:
            return sender, sender, sender
        ours, elsewhere = server.rcpt("taro@example.jp"), server.rcpt("hanako@elsewhere.example")
        end = server.data(b"Subject: a message\r\n\r\nText.\r\n") if ours[0] == 250 else (0, b"")
        return ours, elsewhere, end
    finally:
        server.close()


def served(told):
    ours, elsewhere, end = told
    return ours[0] == 250 and elsewhere[0] == 550 and b"[sekisho relay-denied #" in elsewhere[1] and end[0] == 250


def main():
    if sys.argv[1] == "once":
        told = session()
        print(told)
        return served(told)
    if sys.argv[1] == "deferred":
        told = session()
        print(told)
        return told[0][0] // 100 == 4 and told[1][0] // 100 == 4
    end = time.monotonic() + float(sys.argv[2])
    good, bad = [], []

    def client():
        while time.monotonic() < end:
            try:
                told = session()
                (good if served(told) else bad).append(told)
            except (OSError, smtplib.SMTPException) as fault:
                bad.append(repr(fault))
            time.sleep(0.05)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    print("served %d, not served %d" % (len(good), len(bad)))
    for one in bad[:5]:
        print(one)
    return good and not bad


sys.exit(0 if main() else 1)
