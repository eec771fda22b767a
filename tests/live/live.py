"""What happens to the policy in force when its file, its disk or its daemon meets with an accident."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

from wire import LOCAL, REMOTE, STRANGER, Door, Gone, Milter, Work, unit

SOON = 2.0  # an edit is in force within so many seconds
NOBODY = 65534
ROOT = os.geteuid() == 0
work = Work(sys.argv[1])
check = work.check
slowest = [0.0, ""]
marker = [0]


def as_nobody():
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"] if ROOT else []


def prepare():
    """The daemon must reach its binary and folders as another user, who may write the state and the sockets only."""
    os.chmod(work.folder, 0o755)
    os.mkdir(work.folder + "/run")
    os.mkdir(work.folder + "/state")
    work.milter, work.permit = work.folder + "/run/m.sock", work.folder + "/run/p.sock"
    for sub in ("/bin", "/bin/milter", "/bin/ctl"):
        os.mkdir(work.folder + sub)
    shutil.copy(work.build + "/milter/sekisho-milter", work.folder + "/bin/milter/sekisho-milter")
    shutil.copy(work.build + "/ctl/sekisho", work.folder + "/bin/ctl/sekisho")
    work.build = work.folder + "/bin"
    if ROOT:
        for path in (work.folder + "/run", work.folder + "/state"):
            os.chown(path, NOBODY, NOBODY)
    fresh()


def fresh():
    """A good policy; good.db is its copy."""
    if os.path.lexists(work.policy):
        os.unlink(work.policy)
    work.init()
    work.sql("INSERT INTO client_host (range) VALUES ('192.0.2.1'); INSERT INTO ip_range (range) VALUES ('203.0.113.0/24');"
             # few clients ask very much here: limits and blocks have tests of their own
             "UPDATE check_mode SET mode = 'off' WHERE \"check\" IN ('block', 'rate');")
    os.chmod(work.policy, 0o644)
    shutil.copy(work.policy, work.folder + "/good.db")


def start(**options):
    return work.start(before=as_nobody(), **options)


def ask(client, recipient="b@elsewhere.example"):
    door = Door(work.permit)
    try:
        return door.policy(client_address=client, sender="a@far.example", recipient=recipient).decode()
    finally:
        door.close()


def number(answer):
    found = re.search(r"#(\d+)\]", answer)
    return int(found.group(1)) if found else 0


def until(good, seconds=SOON):
    """Seconds it took, or None."""
    begin = time.monotonic()
    while True:
        if good():
            return time.monotonic() - begin
        if time.monotonic() - begin > seconds:
            return None
        time.sleep(0.01)


def in_time(what, good, seconds=SOON):
    took = until(good, seconds)
    check(what, took is not None, work.log()[-700:])
    if took is not None and seconds == SOON and took > slowest[0]:
        slowest[:] = [took, what]


def still(what):
    """The policy in force answers, and as it did."""
    answers = (ask("192.0.2.1"), ask(STRANGER))
    check(what + ": the policy in force still answers", answers[0] == "OK" and answers[1].startswith("550 5.7.1 Relaying denied"),
          answers)
    milter = Milter(work.milter)
    milter.connect()
    milter.mail()
    check(what + ": and at the milter", milter.rcpt(LOCAL)[0] == "pass" and milter.rcpt(REMOTE)[0] == "550")
    milter.close()


def new_marker():
    """An address that no policy before held."""
    marker[0] += 1
    return "198.18.%d.%d" % (marker[0] // 250, marker[0] % 250 + 1)


def marked(path):
    address = new_marker()
    work.sql("INSERT INTO client_host (range) VALUES ('%s')" % address, path)
    return address


def put_good():
    """The good policy, with a new mark, moved into place."""
    beside = work.policy + ".beside"
    shutil.copy(work.folder + "/good.db", beside)
    address = marked(beside)
    os.chmod(beside, 0o644)
    if os.path.isdir(work.policy) and not os.path.islink(work.policy):
        os.rmdir(work.policy)
    os.replace(beside, work.policy)
    return address


def accident(what, harm, sentence, mend=put_good):
    """harm() breaks the file; the daemon says so, goes on, and takes up what mend() makes."""
    size = os.path.getsize(work.log_path)

    def said():
        with open(work.log_path, "rb") as log:
            log.seek(size)
            return re.search(sentence, log.read().decode("latin-1"))

    harm()
    took = until(lambda: said() is not None, SOON)
    with open(work.log_path, "rb") as log:
        log.seek(size)
        check(what + ": is said", took is not None, log.read()[-600:])
    still(what)
    address = mend()
    in_time(what + ": what is mended is in force", lambda: ask(address) == "OK")


def edits():
    for _ in range(5):
        address = marked(work.policy)
        in_time("an edit is in force", lambda: ask(address) == "OK")
        work.sql("DELETE FROM client_host WHERE range = '%s'" % address)
        in_time("a removal is in force", lambda: ask(address).startswith("550 "))
    address = new_marker()
    work.sql("INSERT INTO client_host (range, expires) VALUES ('%s', strftime('%%Y-%%m-%%d %%H:%%M:%%S', 'now', '+3 seconds'))"
             % address)
    begin = time.time()
    in_time("a row that expires is in force", lambda: ask(address) == "OK")
    took = until(lambda: ask(address).startswith("550 "), 5)
    check("and goes out of force by itself", took is not None and 1.5 < time.time() - begin < 4.2, time.time() - begin)
    work.sql("DELETE FROM client_host WHERE range = '%s'" % address)


BAD_ROWS = (
    ("local_domain", "(domain) VALUES ('exa mple.jp')"),
    ("local_domain", "(domain, subdomains) VALUES ('ok.example', 7)"),
    ("local_domain", "(domain, mail_from) VALUES ('ok.example', 'nobody')"),
    ("own_name", "(name) VALUES ('a..b')"),
    ("client_host", "(range) VALUES ('10.0.0.0/x')"),
    ("client_host", "(range) VALUES ('0/0')"),
    ("client_host", "(range) VALUES ('10.0.0.1/8')"),
    ("client_host", "(range) VALUES (x'31302e302e302e31')"),
    ("client_host", "(range, expires) VALUES ('10.0.0.1', 'tomorrow')"),
    ("client_host", "(range, expires) VALUES ('10.0.0.1', '2026-02-30 00:00:00')"),
    ("ip_range", "(range, verdict) VALUES ('10.0.0.0/8', 'maybe')"),
    ("ip_range", "(range) VALUES ('10.0.0.9-10.0.0.1')"),
    ("exemption", "(range, \"check\") VALUES ('10.0.0.1', 'relay')"),
    ("identity", "(name, may_send) VALUES ('x', 2)"),
    ("identity", "(name, senders) VALUES ('x', 'all')"),
    ("identity_sender", "(identity, sender) VALUES ('x', 'no at')"),
    ("identity_host", "(identity, range) VALUES ('x', 'all')"),
    ("receive_only", "(address) VALUES ('a b')"),
    ("spam_trap", "(address) VALUES ('@')"),
    ("spam_trap", "(address) VALUES ('postmaster')"),
    ("rate_limit", "(name, subject, counts, allowed, seconds) VALUES ('x', 'nobody', 'messages', 1, 1)"),
    ("rate_limit", "(name, subject, counts, allowed, seconds) VALUES ('x', 'client', 'messages', -1, 1)"),
    ("check_mode", "(\"check\", mode) VALUES ('magic', 'off')"),
    ("setting", "(name, value) VALUES ('magic', 'off')"),
)


def bad_rows():
    for table, row in BAD_ROWS:
        def harm(table=table, row=row):
            work.sql("PRAGMA ignore_check_constraints = ON; INSERT INTO %s %s;" % (table, row))

        def mend(table=table):
            work.sql("DELETE FROM %s WHERE id = (SELECT max(id) FROM %s)" % (table, table))
            return marked(work.policy)

        next_id = int(work.sql("SELECT seq + 1 FROM sqlite_sequence WHERE name = '%s'" % table) or 1)
        accident("%s %s" % (table, row), harm, r"policy refused: %s\b[^\n]*\b%d\b[^\n]*stays in force" % (table, next_id), mend)
    accident("a check mode that may not be",
             lambda: work.sql("PRAGMA ignore_check_constraints = ON; UPDATE check_mode SET mode = 'off' WHERE \"check\" = 'relay'"),
             r"policy refused: check_mode\b[^\n]*stays in force")


def proofs():
    for what, row, table in (
            ("the whole of IPv4", "client_host (range) VALUES ('0.0.0.0/0')", "client_host"),
            ("IPv4 in halves", "client_host (range) VALUES ('0.0.0.0/1'), ('128.0.0.0/1')", "client_host"),
            ("the whole of IPv6", "client_host (range) VALUES ('::/0')", "client_host"),
            ("a /15 too many", "client_host (range) VALUES ('44.0.0.0/15')", "client_host"),
            ("all of com", "local_domain (domain, subdomains) VALUES ('com', 1)", "local_domain")):
        accident("proof: " + what,
                 lambda row=row: work.sql("PRAGMA ignore_check_constraints = ON; INSERT INTO %s;" % row),
                 r"policy refused: [^\n]*%s[^\n]*stays in force" % table)


def other_sql(text):
    def harm():
        beside = work.folder + "/other.db"
        shutil.copy(work.folder + "/good.db", beside)
        work.sql(text, beside)
        os.chmod(beside, 0o644)
        os.replace(beside, work.policy)
    return harm


def files():
    def move(make):
        def harm():
            os.unlink(work.policy)
            make()
        return harm

    def foreign():
        if os.path.exists(work.folder + "/other.db"):
            os.unlink(work.folder + "/other.db")
        work.sql("CREATE TABLE pictures (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO pictures VALUES (1, 'x');",
                 work.folder + "/other.db")
        os.chmod(work.folder + "/other.db", 0o644)
        os.replace(work.folder + "/other.db", work.policy)

    def write(data):
        def harm():
            with open(work.policy, "r+b") as file:
                file.truncate(0)
                file.write(data)
        return harm

    def damage():
        with open(work.folder + "/good.db", "rb") as file:
            data = bytearray(file.read())
        for at in range(4096, len(data), 4096):
            data[at:at + 200] = b"\xa5" * 200
        write(bytes(data))()

    def linked():
        shutil.copy(work.folder + "/good.db", work.folder + "/elsewhere.db")
        os.symlink(work.folder + "/elsewhere.db", work.policy)

    def bind():
        place = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        place.bind(work.policy)
        place.close()

    good = open(work.folder + "/good.db", "rb").read()
    accident("emptied", write(b""), "policy refused: [^\n]*is empty")
    accident("half of it", write(good[:len(good) // 2]), "policy refused: ")
    accident("its first 50 octets", write(good[:50]), "policy refused: [^\n]*not an SQLite database")
    accident("a text file", write(b"domain = example.jp\n" * 300), "policy refused: [^\n]*not an SQLite database")
    accident("damaged", damage, "policy refused: ")
    accident("removed", lambda: os.unlink(work.policy), "policy refused: [^\n]*No such file")
    accident("a symbolic link", move(linked), "policy refused: [^\n]*symbolic link")
    accident("a FIFO", move(lambda: os.mkfifo(work.policy)), "policy refused: [^\n]*FIFO")
    accident("a folder", move(lambda: os.mkdir(work.policy)), "policy refused: [^\n]*folder")
    accident("a socket", move(bind), "policy refused: [^\n]*socket")
    accident("another application's", foreign, "policy refused: [^\n]*not a sekisho policy")
    accident("WAL", other_sql("PRAGMA journal_mode = WAL; CREATE TABLE y (x);"), "policy refused: [^\n]*WAL")
    accident("WAL in place", lambda: work.sql("PRAGMA journal_mode = WAL; CREATE TABLE y (x);"), "policy refused: [^\n]*WAL",
             lambda: work.sql("PRAGMA journal_mode = DELETE; DROP TABLE y;") and marked(work.policy))
    accident("a view for a table", other_sql("ALTER TABLE client_host RENAME TO c; CREATE VIEW client_host AS SELECT * FROM c;"),
             "policy refused: [^\n]*client_host must be a table")
    accident("a table missing", other_sql("DROP TABLE exemption"), "policy refused: [^\n]*exemption")
    accident("a column missing", other_sql("ALTER TABLE ip_range RENAME COLUMN source TO origin"), "policy refused: [^\n]*ip_range")
    accident("a newer schema", other_sql("PRAGMA user_version = 2"), "policy refused: [^\n]*newer")
    accident("a newer version row", other_sql("PRAGMA ignore_check_constraints = ON; UPDATE version SET schema = 9"),
             "policy refused: [^\n]*newer")
    accident("another application_id", other_sql("PRAGMA application_id = 7"), "policy refused: [^\n]*not a sekisho policy")
    accident("no version row", other_sql("DELETE FROM version"), "policy refused: [^\n]*not a sekisho policy")
    accident("unreadable", lambda: os.chmod(work.policy, 0), "policy refused: [^\n]*Permission denied",
             lambda: (os.chmod(work.policy, 0o644), marked(work.policy))[1])

    def folder_away():
        os.rename(work.folder + "/etc", work.folder + "/etc.away")

    def folder_back():
        os.rename(work.folder + "/etc.away", work.folder + "/etc")
        return put_good()

    accident("its folder moved away", folder_away, "policy refused: [^\n]*No such file", folder_back)
    dump = work.folder + "/dumped.db"
    work.sql(".output %s.sql\n.dump" % dump)
    work.sql(".read %s.sql" % dump, dump)
    address = marked(dump)
    os.chmod(dump, 0o644)
    os.replace(dump, work.policy)
    in_time("a dumped and restored policy is in force", lambda: ask(address) == "OK")


def editor(body):
    """Another process that edits by Python's own SQLite."""
    return subprocess.Popen([sys.executable, "-c", "import os, sqlite3, sys, time\ndb = sqlite3.connect(sys.argv[1], "
                             "isolation_level=None)\n" + body, work.policy], stdout=subprocess.PIPE)


def editors():
    address = new_marker()
    holder = editor("db.execute('BEGIN EXCLUSIVE')\ndb.execute(\"INSERT INTO client_host (range) VALUES ('%s')\")\n"
                    "print('held', flush=True)\ntime.sleep(3.5)\ndb.execute('COMMIT')\nprint('done', flush=True)\n" % address)
    work.started.append(holder)
    holder.stdout.readline()
    held = time.monotonic()
    while time.monotonic() - held < 3:
        if ask("192.0.2.1") != "OK":
            break
        time.sleep(0.2)
    still("locked for seconds")
    check("not in force before it is committed", ask(address).startswith("550 "))
    holder.stdout.readline()
    in_time("a long edit is in force", lambda: ask(address) == "OK")
    holder.wait(5)

    def killed():
        victim = editor("db.execute('PRAGMA cache_size = 2')\ndb.execute('BEGIN IMMEDIATE')\n"
                        "for n in range(4000): db.execute(\"INSERT INTO ip_range (range, verdict) VALUES ('20.%d.%d.%d', 'reject')\""
                        " % (n // 65536, n // 256 % 256, n % 256))\nprint('half', flush=True)\ntime.sleep(30)\n")
        work.started.append(victim)
        victim.stdout.readline()
        victim.kill()
        victim.wait()
        check("a hot journal is left", os.path.exists(work.policy + "-journal"))

    def rolled_back():
        check("the half edit is gone", work.sql("SELECT count(*) FROM ip_range WHERE range LIKE '20.%'").strip() == "0")
        return marked(work.policy)

    if ROOT:
        accident("an editor killed", killed, "policy refused: [^\n]*(interrupted|lock)", rolled_back)
    else:
        killed()
        still("an editor killed")
        address = rolled_back()
        in_time("an editor killed: what is mended is in force", lambda: ask(address) == "OK")


def storms():
    """While files are replaced, overwritten and asked: never a wrong answer."""
    wrong, over = [], threading.Event()

    def asker():
        while not over.is_set():
            answers = ask("192.0.2.1"), ask(STRANGER)[:4]
            if answers != ("OK", "550 "):
                wrong.append(answers)

    thread = threading.Thread(target=asker)
    thread.start()
    try:
        for _ in range(40):
            address = put_good()
            time.sleep(0.01)
        in_time("after forty moves the last is in force", lambda: ask(address) == "OK")
        other = work.folder + "/second.db"
        shutil.copy(work.folder + "/good.db", other)
        work.sql("INSERT INTO ip_range (range) SELECT '20.0.' || (value / 256) || '.' || (value % 256) FROM "
                 "(WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value < 5000) SELECT * FROM n)", other)
        for n in range(30):
            source = (work.folder + "/good.db", other)[n % 2]
            with open(source, "rb") as data, open(work.policy, "r+b") as place:
                place.truncate(0)
                while True:
                    piece = data.read(16384)
                    if not piece:
                        break
                    place.write(piece)
                    place.flush()
        address = marked(work.policy)
        in_time("after thirty copies in place the last is in force", lambda: ask(address) == "OK")
    finally:
        over.set()
        thread.join()
    check("no wrong answer meanwhile", not wrong, wrong[:4])


def restarts():
    """The last good policy survives; without any there is 451, and recovery."""
    daemon = current[0]
    address = put_good()
    in_time("marked", lambda: ask(address) == "OK")
    in_time("kept", lambda: os.path.exists(work.folder + "/state/last-good.db"))
    check("stops", work.stop(daemon) == 0)
    for what, harm in (("emptied", lambda: open(work.policy, "wb").close()), ("removed", lambda: os.unlink(work.policy))):
        harm()
        size = os.path.getsize(work.log_path)
        current[0] = start()
        said = work.log()[size:]
        check("restart with it %s: said loudly" % what, "policy refused: " in said and "last good policy" in said, said)
        still("restart with it " + what)
        check("restart with it %s: the very last one" % what, ask(address) == "OK")
        if what == "emptied":
            check("stops", work.stop(current[0], signal.SIGKILL) == -9)
    address = put_good()
    in_time("mended after a restart", lambda: ask(address) == "OK")

    check("stops", work.stop(current[0]) == 0)
    os.unlink(work.folder + "/state/last-good.db")
    for what, make in (("no file", lambda: os.unlink(work.policy)), ("a bad row", lambda: (put_good(), work.sql(
            "PRAGMA ignore_check_constraints = ON; INSERT INTO client_host (range) VALUES ('all')"))),
                       ("no folder", lambda: os.rename(work.folder + "/etc", work.folder + "/etc.away")),
                       ("a damaged last good one", lambda: (os.unlink(work.policy), open(work.folder + "/state/last-good.db", "wb")
                                                            .write(b"SQLite format 3\0" + b"\xff" * 5000)))):
        make()
        current[0] = start()
        said = work.log()[-1500:]
        check("no policy (%s): is said" % what, "no policy is in force" in said, said)
        form = r"451 4\.3\.0 [A-Z][^\[]* \[sekisho no-policy #\d+\]"
        check("no policy (%s): the door says 451" % what, re.fullmatch(form, ask("192.0.2.1")) and re.fullmatch(form, ask(STRANGER)) and
              re.fullmatch(form, ask("127.0.0.1")), ask("192.0.2.1"))
        milter = Milter(work.milter)
        milter.connect("192.0.2.1")
        milter.mail(b"<taro@example.jp>", "taro@example.jp")
        answers = milter.rcpt(LOCAL), milter.rcpt(REMOTE), milter.rcpt(b"<postmaster>")
        check("no policy (%s): the milter says 451" % what, all(re.fullmatch(form, a[1].decode()) for a in answers), answers)
        milter.close()
        milter = Milter(work.milter)
        milter.connect("127.0.0.1", name=b"localhost", port=0)
        milter.mail(b"<root>")
        check("no policy (%s): pickup passes" % what, milter.rcpt(REMOTE)[0] == "pass")
        milter.close()
        if not os.path.isdir(work.folder + "/etc"):
            os.rename(work.folder + "/etc.away", work.folder + "/etc")
        address = put_good()
        in_time("no policy (%s): one appears and is in force" % what, lambda: ask(address) == "OK")
        check("stops", work.stop(current[0]) == 0)
        os.unlink(work.folder + "/state/last-good.db")
    current[0] = start()


def numbers():
    given = []

    def take(count):
        for _ in range(count):
            given.append(number(ask(STRANGER)))

    take(5)
    for _ in range(4):
        work.stop(current[0], signal.SIGKILL)
        current[0] = start()
        take(5)
    work.stop(current[0])
    for what, harm in (("garbage", lambda path: open(path, "w", encoding="ascii").write("many\n")),
                       ("empty", lambda path: open(path, "w", encoding="ascii").close()),
                       ("nought", lambda path: open(path, "w", encoding="ascii").write("0\n")),
                       ("cut", lambda path: open(path, "w", encoding="ascii").write("12")),
                       ("huge", lambda path: open(path, "w", encoding="ascii").write("99999999999999999999999\n"))):
        harm(work.folder + "/state/sequence")
        size = os.path.getsize(work.log_path)
        current[0] = start()
        check("sequence %s: is said" % what, "damaged" in work.log()[size:], work.log()[size:][:300])
        take(3)
        work.stop(current[0], signal.SIGKILL)
    current[0] = start()
    take(3)
    check("numbers only rise", given == sorted(set(given)) and 0 not in given, given)

    many = []
    lock = threading.Lock()

    def crowd():
        door = Door(work.permit)
        mine = [number(door.policy(client_address=STRANGER, recipient="b@far.example").decode()) for _ in range(200)]
        door.close()
        with lock:
            many.extend(mine)

    threads = [threading.Thread(target=crowd) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check("no number twice in a crowd", len(many) == 1600 and len(set(many + given)) == len(many) + len(given) and 0 not in many)


def state_lost(what, harm, mend, before=None):
    """A state directory that cannot be written: no permission without a number, refusals go on."""
    work.stop(current[0])
    harm()
    current[0] = work.start(before=before if before is not None else as_nobody())
    answer = ask("192.0.2.1")
    check(what + ": a permission is deferred", re.fullmatch(r"451 4\.3\.0 [A-Z][^\[]* \[sekisho no-record\]", answer), answer)
    answer = ask(STRANGER)
    check(what + ": a refusal goes on", answer.startswith("550 5.7.1 Relaying denied"), answer)
    milter = Milter(work.milter)
    milter.connect("192.0.2.1")
    milter.mail(b"<taro@example.jp>")
    answers = milter.rcpt(LOCAL), milter.rcpt(REMOTE), milter.rcpt(b"<x@y@z.example>")
    check(what + ": and at the milter", answers[0][0] == "451" and b"[sekisho no-record]" in answers[0][1] and answers[1][0] == "451",
          answers)
    milter.close()
    check(what + ": is said", "state/" in work.log()[-3000:] or "cannot" in work.log()[-3000:], work.log()[-600:])
    mend()
    in_time(what + ": recovers by itself", lambda: ask("192.0.2.1") == "OK")
    check(what + ": numbers are given again", number(ask(STRANGER)) > 0)


def state():
    folder = work.folder + "/state"
    state_lost("state not to be written", lambda: (shutil.rmtree(folder), os.mkdir(folder), os.chmod(folder, 0o555)),
               lambda: os.chmod(folder, 0o777))
    state_lost("state folder that cannot be made", lambda: (shutil.rmtree(folder), os.chmod(work.folder, 0o755)),
               lambda: (os.mkdir(folder), os.chmod(folder, 0o777))) if ROOT else None
    state_lost("a file where the state folder should be", lambda: (shutil.rmtree(folder), open(folder, "w").close()),
               lambda: (os.unlink(folder), os.mkdir(folder), os.chmod(folder, 0o777)))

    # unwritable later: what is reserved already is given on
    os.chmod(folder, 0o555)
    address = put_good()
    in_time("state lost later: edits go on", lambda: ask(address) == "OK")
    check("state lost later: it is said that none is kept", until(lambda: "cannot be kept" in work.log()[-3000:]) is not None,
          work.log()[-600:])
    still("state lost later")
    os.chmod(folder, 0o777)

    if not ROOT or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        print("(not root: a full state directory was not tried)")
        return
    shell = ("mount -t tmpfs -o size=16m,mode=777 none '%s' && { dd if=/dev/zero of='%s/fill' bs=64k 2> /dev/null; exec \"$@\"; }"
             % (folder, folder))
    size = os.path.getsize(work.log_path)
    state_lost("state full", lambda: None, lambda: os.unlink("/proc/%d/root%s/fill" % (current[0].pid, folder)),
               ["unshare", "-m", "sh", "-c", shell, "sh"] + as_nobody())
    check("a policy that has no room is not kept, and that is said", "cannot be kept" in work.log()[size:],
          work.log()[size:][:900])
    check("and kept when there is room", until(lambda: os.path.exists("/proc/%d/root%s/last-good.db" % (current[0].pid, folder)), 3)
          is not None)
    work.stop(current[0])
    current[0] = start()


def run_daemon(*words, seconds=15):
    done = subprocess.run(as_nobody() + [work.build + "/milter/sekisho-milter"] + list(words), capture_output=True, text=True,
                          timeout=seconds, cwd=work.folder + "/run", check=False)
    return done.returncode, done.stdout, done.stderr


def refused(what, status, sentence, words):
    try:
        code, out, err = run_daemon(*words)
    except subprocess.TimeoutExpired:
        check(what, False, "it started")
        return
    check(what, code == status and re.search(sentence, err) and out == "", (code, out, err))


def options():
    place = work.folder + "/run"
    common = ["--policy", work.policy, "--state", place + "/st/state.db", "--stderr"]
    free = ["--socket", "unix:%s/a" % place, "--permit", "unix:%s/b" % place]
    code, out, err = run_daemon("--help")
    check("--help", code == 0 and out.startswith("usage: sekisho-milter") and err == "", (code, out, err))
    code, out, err = run_daemon("--version")
    check("--version", code == 0 and re.fullmatch(r"sekisho-milter \d+\.\d+\S*\n", out) and err == "", (code, out, err))
    refused("unknown option", 2, "usage: ", ["--nonsense"])
    refused("an option without its value", 2, "usage: ", ["--socket"])
    refused("an extra argument", 2, "extra: not an option", common + free + ["extra"])
    for spec in ("", "x", "unix", "unix:", "unix:" + "/x" * 60, "inet:8891", "inet:8891@", "inet:0@127.0.0.1", "inet:65536@127.0.0.1",
                 "inet:x@127.0.0.1", "inet:-1@127.0.0.1", "inet:8891@0.0.0.0", "inet:8891@192.0.2.1", "inet:8891@localhost",
                 "inet6:8891@::", "inet6:8891@127.0.0.1", "tcp:8891@127.0.0.1", "fd:", "fd:x", "fd:-1", "fd:99999999"):
        for option in ("--socket", "--permit"):
            refused("%s %s" % (option, spec[:30]), 2, "sekisho-milter: " + option, common + [option, spec])
    refused("fd that is not open", 1, "fd:77", common + free[:2] + ["--permit", "fd:77"])
    refused("both sockets in one place", 1, re.escape(place), common + ["--socket", "unix:%s/a" % place, "--permit", "unix:%s/a" % place])
    refused("a folder that is not there", 1, "nowhere/a.lock: cannot be made: .*; make its folder first", common + ["--socket", "unix:%s/nowhere/a" % place, "--permit", free[3]])
    refused("socket: second instance", 1, "another sekisho-milter", common + ["--socket", "unix:" + work.milter, "--permit", free[3]])
    refused("permit: second instance", 1, "another sekisho-milter", common + free[:2] + ["--permit", "unix:" + work.permit])
    refused("state: second instance", 1, "another sekisho-milter",
            ["--policy", work.policy, "--state", work.state, "--stderr"] + free)
    still("second instances")
    with open(place + "/file", "w", encoding="ascii") as file:
        file.write("mine")
    for option, other in (("--socket", free[2:]), ("--permit", free[:2])):
        refused(option + " at a file", 1, "file: is in the way", common + other + [option, "unix:%s/file" % place])
    check("the file is left as it is", open(place + "/file", encoding="ascii").read() == "mine")
    os.symlink(place + "/file", place + "/link")
    refused("at a symbolic link", 1, "link: is in the way", common + free[:2] + ["--permit", "unix:%s/link" % place])
    other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    other.bind(place + "/taken")
    os.chmod(place + "/taken", 0o777)
    other.listen(5)
    for option, rest in (("--socket", free[2:]), ("--permit", free[:2])):
        refused(option + " at another program's socket", 1, "taken: another program", common + rest + [option, "unix:%s/taken" % place])
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    check("and it is left to it", probe.connect_ex(place + "/taken") == 0)
    probe.close()
    other.close()
    inet = socket.socket()
    inet.bind(("127.0.0.1", 0))
    inet.listen(1)
    port = inet.getsockname()[1]
    for option, rest in (("--socket", free[2:]), ("--permit", free[:2])):
        refused(option + " at a port in use", 1, "sekisho-milter: .*listen", common + rest + [option, "inet:%d@127.0.0.1" % port])
    inet.close()
    check("nothing is left behind", not [n for n in os.listdir(place) if n in ("a", "b")], os.listdir(place))


def signals():
    size = os.path.getsize(work.log_path)
    current[0].send_signal(signal.SIGHUP)
    in_time("SIGHUP is said", lambda: "SIGHUP" in work.log()[size:])
    still("SIGHUP")
    for _ in range(10):  # libmilter's own signal thread takes HUP for an end, if it gets one
        for _ in range(50):
            current[0].send_signal(signal.SIGHUP)
        time.sleep(0.02)
    time.sleep(0.3)
    check("five hundred SIGHUPs: it lives", current[0].poll() is None)
    still("five hundred SIGHUPs")
    milter = Milter(work.milter)
    milter.connect()
    milter.mail()
    door = Door(work.permit)
    door.socket.sendall(b"client_address=")
    begin = time.monotonic()
    status = work.stop(current[0])
    took = time.monotonic() - begin
    check("SIGTERM in the middle of a session: ends well within 5 s", status == 0 and took < 5, (status, took))
    check("socket files are gone", not os.path.exists(work.milter) and not os.path.exists(work.permit))
    milter.close()
    door.close()
    current[0] = start()
    time.sleep(0.5)  # libmilter's signal thread takes what comes in the very moment of its start
    begin = time.monotonic()
    status = work.stop(current[0], signal.SIGINT)
    check("SIGINT: ends well within 5 s", status == 0 and time.monotonic() - begin < 5, status)
    current[0] = start()
    work.stop(current[0], signal.SIGKILL)
    check("a dead socket is left", os.path.exists(work.milter) and os.path.exists(work.permit))
    current[0] = start()
    still("after a dead socket was taken over")
    mode = [oct(os.stat(path).st_mode & 0o667) for path in (work.milter, work.permit)]
    check("sockets are for owner and group", mode == ["0o660", "0o660"], mode)
    mode = {name: oct(os.stat(work.folder + "/state/" + name).st_mode & 0o007) for name in os.listdir(work.folder + "/state")}
    check("nothing of the state is for others", set(mode.values()) <= {"0o0"}, mode)
    quiet = os.path.getsize(work.log_path)
    used = cpu(current[0].pid)
    time.sleep(2)
    check("idle: says nothing", os.path.getsize(work.log_path) == quiet)
    check("idle: does next to nothing", cpu(current[0].pid) - used < 0.2, cpu(current[0].pid) - used)


def cpu(pid):
    try:
        words = open("/proc/%d/stat" % pid, encoding="ascii").read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


prepare()
current = [start()]
for part in (edits, bad_rows, proofs, files, editors, storms, restarts, numbers, state, options, signals):
    begun = time.monotonic()
    unit(work, part)
    if current[0].poll() is not None:
        check("%s: the daemon lives" % part.__name__, False, work.log()[-2000:])
        current[0] = start()
    if "-v" in sys.argv:
        print("%s: %.1f s" % (part.__name__, time.monotonic() - begun))
if current[0].poll() is None:
    check("stops at the end", work.stop(current[0]) == 0)
check("no sanitizer spoke", "ERROR: " not in work.log() and "runtime error" not in work.log(), work.log()[-3000:])
print("(slowest edit: %.2f s, %s)" % tuple(slowest))
work.finish()
