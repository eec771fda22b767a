"""Who is charged and who is blocked: aborted, observed and equal recipients, bounces, the office, those who keep trying."""
# SPDX-License-Identifier: BSD-2-Clause
import glob
import os
import struct
import sys
import threading
import time

from wire import LOCAL, REMOTE, Door, Milter, Work, unit

OFFICE = "192.0.2.5"
UNKNOWN = {"{rcpt_mailer}": "error", "{rcpt_host}": "5.1.1", "{rcpt_addr}": "User unknown"}
MALFORMED = b"<a@b@far.example>"
ROWS = """
DELETE FROM rate_limit WHERE name <> 'probing';
INSERT INTO rate_limit (name, subject, counts, direction, allowed, seconds, "then", block_for)
    VALUES ('login', 'identity', 'recipients', 'out', 3, 3600, 'tempfail', 3600);
INSERT INTO client_host (range) VALUES ('192.0.2.0/28');
INSERT INTO spam_trap (address) VALUES ('trap@example.jp');
"""
work = Work(sys.argv[1])
check = work.check
letters = [0]


def session(client=OFFICE, login=None, sender=None):
    milter = Milter(work.milter)
    milter.connect(client)
    milter.helo()
    begin(milter, login, sender)
    return milter


def begin(milter, login=None, sender=None):
    milter.mail(sender if sender is not None else b"<%s>" % (login or "x@third.example").encode(), login or "")


def out():
    """A recipient elsewhere that nobody has written to before."""
    letters[0] += 1
    return b"<victim-%d@far.example>" % letters[0]


def reason(answer):
    """pass, or the word of the refusal."""
    code, text = answer
    return code if b"[sekisho " not in text else text.split(b"[sekisho ", 1)[1].split(b"]")[0].split(b" ")[0].decode()


def reasons(milter, recipients, macros=None):
    return [reason(milter.rcpt(recipient, macros)) for recipient in recipients]


def once(client, recipient, login=None, sender=None, macros=None):
    """One recipient in a session of its own."""
    milter = session(client, login, sender)
    try:
        return reason(milter.rcpt(recipient, macros))
    finally:
        milter.close()


def until(good, seconds=15.0):
    end = time.monotonic() + seconds
    while not good():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def blocks(subject):
    """What stands in the table block, once this subject is there: whoever was blocked before is there too."""
    rows = []

    def there():
        rows[:] = work.sql("SELECT subject, strikes, reason FROM block ORDER BY id", work.state).split()
        return any(row.startswith(subject + "|") for row in rows)

    until(there)
    return rows


def nobody_blocked(client):
    """By the shell; the daemon sees it."""
    work.sql("DELETE FROM block", work.state)
    check("what is deleted in the shell is over", until(lambda: once(client, LOCAL) == "pass"))


def edit(text):
    """An edit, until it is in force."""
    letters[0] += 1
    mark = "198.18.%d.%d" % divmod(letters[0], 250)
    work.sql("BEGIN; %s; INSERT INTO client_host (range) VALUES ('%s'); COMMIT;" % (text, mark))
    door = Door(work.permit)
    check("an edit is in force", until(lambda: door.policy(client_address=mark.encode(), sender=b"x@third.example",
                                                           recipient=b"b@far.example") == b"OK"))
    door.close()


FULL = ["pass"] * 3 + ["rate-identity"]


def aborted():
    first = session(login="abe@example.jp")
    check("three are allowed, and no fourth", reasons(first, (out() for _ in range(4))) == FULL)
    check("reserved counts for another connection", once(OFFICE, out(), "abe@example.jp") == "rate-identity")
    first.send(b"A")  # and nothing more from this connection: neither MAIL nor its end
    second = []

    def given_back():
        milter = session(login="abe@example.jp")
        if reason(milter.rcpt(out())) == "pass":
            second.append(milter)
            return True
        milter.close()
        return False

    check("an aborted message gives back its charge", until(given_back))
    if not second:
        return
    check("all of it and not more", reasons(second[0], (out() for _ in range(3))) == FULL[1:])
    check("accepted", second[0].end()[0] == "pass")
    second[0].send(b"A")
    begin(first, "abe@example.jp")  # what was given back is not given back again
    check("what was accepted stays charged", reasons(first, [out()]) == ["rate-identity"])
    first.send(b"A")
    first.close()
    second[0].close()
    check("also when all are gone", once(OFFICE, out(), "abe@example.jp") == "rate-identity")


def equal():
    milter = session(login="eiko@example.jp")
    same = (b"<a@far.example>", b"<A@FAR.example>", b"<a@far.example.>", b"<a@far.example>")
    check("equal mailboxes pass", reasons(milter, same) == ["pass"] * 4)
    check("and are charged once", reasons(milter, (out() for _ in range(3))) == ["pass", "pass", "rate-identity"])
    check("and pass as before when the limit is reached", reasons(milter, same) == ["pass"] * 4)
    check("accepted", milter.end()[0] == "pass")
    begin(milter, "eiko@example.jp")
    check("the next message is another", reasons(milter, [same[0]]) == ["rate-identity"])
    milter.close()


def forged_bounces():
    provider = "203.0.113.25"
    for n in range(40):
        once(provider, b"<nobody-%d@example.jp>" % n, sender=b"<>", macros=UNKNOWN)
    once(provider, b"<trap@example.jp>", sender=b"<>")
    check("its mail passes", once(provider, LOCAL) == "pass" and once(provider, LOCAL, sender=b"<>") == "pass")
    guesser = "203.0.113.26"
    answers = [once(guesser, b"<nobody-%d@example.jp>" % n, macros=UNKNOWN) for n in range(22)]
    check("who guesses with a sender is", answers[21] == "client-blocked" and "client-blocked" not in answers[:21], answers)
    check("and only he: nobody is blocked for bounces", (rows := blocks("client:" + guesser)) == ["client:203.0.113.26|1|rate-client"],
          rows)
    check("its mail passes still", once(provider, LOCAL) == "pass")
    nobody_blocked(guesser)


def infected_office():
    pc = session(OFFICE)
    check("the office may relay", reasons(pc, [out()]) == ["pass"])
    for n in range(21):  # the worm guesses addresses and writes nonsense
        begin(pc)
        reasons(pc, [MALFORMED if n % 2 else b"<nobody-%d@example.jp>" % n], UNKNOWN if n % 2 == 0 else None)
    begin(pc)
    check("it has no right to relay any more", reasons(pc, [out()]) == ["relay-suspended"])
    check("but may write to us", reasons(pc, [LOCAL]) == ["pass"])
    pc.close()
    check("logged-in staff at the same address may send", once(OFFICE, out(), "sato@example.jp") == "pass")
    check("and write to us", once(OFFICE, LOCAL, "sato@example.jp") == "pass")
    door = Door(work.permit)
    question = {"client_address": OFFICE.encode(), "recipient": b"b@far.example"}
    check("at the door too", door.policy(sender=b"sato@example.jp", sasl_username=b"sato@example.jp", **question) == b"OK")
    check("which has no more for the worm", b"relay-suspended" in door.policy(sender=b"x@third.example", **question))
    door.close()
    check("its right to relay is what is blocked", (rows := blocks("client:" + OFFICE)) == ["client:192.0.2.5|1|rate-client"], rows)
    home = "203.0.113.50"  # an infected home PC, and its owner's mail program behind the same router
    for _ in range(21):
        once(home, REMOTE)
    check("a stranger is blocked", once(home, LOCAL) == "client-blocked")
    check("who logs in from there is not", once(home, out(), "suzuki@example.jp") == "pass")
    blocks("client:" + home)
    nobody_blocked(home)


def tries(what, client, with_door):
    """Blocked for four seconds, he keeps trying for three and a half; then he is nobody new, and nobody blocked."""
    door = Door(work.permit) if with_door else None

    def attempt():
        """As Postfix does it: the door first; what it has refused is shown to the milter with its words."""
        if door is None:
            once(client, MALFORMED)  # is looked at before the block
            return once(client, REMOTE)
        said = door.policy(client_address=client.encode(), sender=b"x@third.example", recipient=b"b@far.example")
        return once(client, b"<b@far.example>", macros={"{rcpt_mailer}": "error", "{rcpt_host}": "5.7.1", "{rcpt_addr}": said})

    begun = time.monotonic()
    for _ in range(6 if with_door else 3):
        attempt()
    check("%s: blocked" % what, once(client, LOCAL) == "client-blocked")
    count = 0
    while time.monotonic() - begun < 3.5 and once(client, LOCAL) == "client-blocked":
        attempt()
        count += 1
        time.sleep(0.05)
    check("%s: he tries all the while" % what, count > 5 and time.monotonic() - begun >= 3.5, (count, time.monotonic() - begun))
    check("%s: the block is over in its time" % what, until(lambda: once(client, LOCAL) == "pass", 8))
    # what he met while he was blocked counts for nothing: the next attempt is the first one again
    check("%s: and is not renewed" % what, attempt() != "client-blocked" and once(client, LOCAL) == "pass")
    if door is not None:
        door.close()


def keeps_trying():
    """Five refusals in two seconds, then four seconds of block."""
    edit("UPDATE rate_limit SET allowed = 5, seconds = 2, block_for = 4 WHERE name = 'probing'")
    threads = [threading.Thread(target=unit, args=(work, lambda row=row: tries(*row)))
               for row in (("at the milter", "203.0.113.60", False), ("at both doors", "203.0.113.61", True))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    edit("UPDATE rate_limit SET allowed = 20, seconds = 600, block_for = 3600 WHERE name = 'probing'")


def observed():
    edit("UPDATE setting SET value = 'observe' WHERE name = 'mode'")
    milter = session(login="oda@example.jp")
    check("observed: all pass", reasons(milter, (out() for _ in range(8))) == ["pass"] * 8)
    check("observed: accepted", milter.end()[0] == "pass")
    milter.close()
    prober = "203.0.113.70"
    answers = [once(prober, REMOTE) for _ in range(30)]
    check("observed: relaying is denied all the same", answers == ["relay-denied"] * 30, answers)
    check("observed: who probes is not blocked", once(prober, LOCAL) == "pass")
    other = "203.0.113.71"
    check("observed: nor another", [once(other, REMOTE) for _ in range(30)] == answers)
    edit("UPDATE setting SET value = 'enforce' WHERE name = 'mode'")
    milter = session(login="oda@example.jp")
    check("enforced: nothing was charged", reasons(milter, (out() for _ in range(4))) == FULL)
    milter.close()
    check("enforced: nor was he who probed", [once(prober, REMOTE) for _ in range(20)] == ["relay-denied"] * 20 and
          once(prober, LOCAL) == "pass")
    check("enforced: one more, and he is blocked", once(prober, REMOTE) == "relay-denied" and once(prober, LOCAL) == "client-blocked")
    rows = blocks("client:" + prober)
    check("observed: nobody was", not [row for row in rows if other in row], rows)


def many_records():
    """Who writes long records fast finds the next segment of the journal made, not at the second's end."""
    folder = os.path.join(os.path.dirname(work.state), "journal")

    def empty():
        for path in glob.glob(folder + "/*.journal"):
            with open(path, "rb") as segment:
                if segment.read(48) == bytes(48):
                    return True
        return False

    def segments():
        return len(glob.glob(folder + "/*.journal"))

    waited, answers, before = 0.0, set(), segments()
    for n in range(48):
        begun = time.monotonic()
        check("an empty segment", until(empty))
        waited += time.monotonic() - begun
        milter = Milter(work.milter, timeout=30)
        milter.connect("203.0.113.80", b"c" * 400)
        milter.helo(b"h" * 500)
        milter.mail(b"<%s@far.example>" % (b"s" * 200))
        packets = [b"R<u%d-%d.%s@example.jp>\0" % (n, r, b"r" * 200) for r in range(600)]
        milter.socket.sendall(b"".join(struct.pack("!I", len(packet)) + packet for packet in packets))
        answers |= {reason(milter.answer()) for _ in packets}
        milter.send(b"A")
        milter.close()
    check("long records: all pass", answers == {"pass"}, answers)
    check("long records: segments were taken", segments() - before >= 3, segments() - before)
    check("long records: nobody waits for the second's end", waited < 1.5, waited)


work.init()
work.sql(ROWS)
daemon = work.start()
for part in (aborted, equal, forged_bounces, infected_office, keeps_trying, observed, many_records):
    begun = time.monotonic()
    unit(work, part)
    if "-v" in sys.argv:
        print("%s: %.1f s" % (part.__name__, time.monotonic() - begun))
check("stops at the end", work.stop(daemon) == 0)
check("no sanitizer spoke", "ERROR: " not in work.log() and "runtime error" not in work.log(), work.log()[-3000:])
work.finish()
