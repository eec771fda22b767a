"""--log json and --log text: each line whole and valid whatever comes in, seen by the programs that keep logs."""
# SPDX-License-Identifier: BSD-2-Clause
import json
import os
import re
import subprocess
import sys

import readers
from readers import Journal, Rsyslog, Socket, serve, text
from wire import Door, Milter, Work, unit

work = Work(sys.argv[1])
check = work.check
here = os.path.dirname(os.path.abspath(__file__))
LINE_MOST, KEPT, SHOWN = 8000, 320, 720
DECISION = {"event", "level", "number", "at", "action", "reason", "check", "row", "kind", "post", "recipient_local", "policy",
            "client", "client_name", "helo", "host", "listener", "login", "from", "to", "submission", "not_for_mta",
            "mta_refused", "lengths", "escaped", "session", "queue_id", "outcome", "observed", "limit", "blocked"}
OTHER = {"note": {"event", "level", "at", "text"},
         "lost": {"event", "level", "at", "lines"},
         "message": {"event", "level", "at", "session", "queue_id", "outcome", "accepted", "refused", "reason", "number"}}
LINE_OF_TEXT = re.compile(r"decision=\d+ action=reject reason=relay-denied row=- at=milter session=\S+ queue=- kind=stranger "
                          r"client=220\.86\.126\.33 helo=\"\\xe5\\xa4\\xaa\\xff\\x0a\" login=\"\" from=\"<a@far.example>\" "
                          r"to=\"<b@elsewhere.example>\" policy=1")


def hostile():
    folder = os.environ.get("SHARED_CASES") or os.path.join(here, "../../../shared/cases")
    with open(os.path.join(folder, "hostile-strings.json"), encoding="utf-8") as file:
        for case in json.load(file)["cases"]:
            value = bytes.fromhex(case["hex"])
            if "repeat_to" in case:
                value = (bytes.fromhex(case["prefix_hex"]) + value * case["repeat_to"])[:case["repeat_to"]]
            yield case["id"], value
    for name, value in (("an object", b'x","client":"192.0.2.1","helo":"y'), ("a line", b'x\n{"event":"decision"}'),
                        ("Japanese", "太郎@日本.example".encode()), ("Latin-1", b"caf\xe9 \"\\"), ("C1", b"\xc2\x9b31m"),
                        ("direction", "a\u202eb".encode()), ("controls", b"\x01" * 600), ("octets", b"\xff" * 600),
                        ("quotes", b'"' * 600), ("cut within", b"a" + "太".encode() * 200)):
        yield name, value


HOSTILE = list(hostile())


def no_twice(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name twice: %r" % names)
    return dict(pairs)


def parse(line):
    """A line as JSON, strictly: UTF-8, no raw control character, no name twice, nothing behind it."""
    return json.loads(line.decode("utf-8", "strict"), object_pairs_hook=no_twice)


def escape(value, most):
    """As the log writes octets that are no UTF-8."""
    shown = b""
    for octet in value:
        piece = bytes([octet]) if 0x20 <= octet <= 0x7E and octet not in b'"\\' else b"\\x%02x" % octet
        if most is not None and len(shown.replace(b"\\", b"\\\\")) + len(piece.replace(b"\\", b"\\\\")) > most:
            break
        shown += piece
    return shown.decode()


def is_utf8(value):
    try:
        return bool(value.decode("utf-8") or True)
    except UnicodeDecodeError:
        return False


def good_field(what, line, name, value):
    """The decision's member says what was sent, or as much of its beginning as is shown."""
    shown = line[name]
    if value == b"":
        return check("%s: empty %s" % (what, name), shown is None, shown)
    kept = value[:KEPT]
    if len(value) > KEPT:
        for back in range(4):
            if is_utf8(value[:KEPT - back]):
                kept = value[:KEPT - back]
                break
    check("%s: %s is named in escaped" % (what, name), (name in line["escaped"]) == (not is_utf8(kept)), line["escaped"])
    if not is_utf8(kept):
        check("%s: %s" % (what, name), shown == escape(kept, SHOWN), shown)
    else:
        check("%s: %s" % (what, name), kept.decode().startswith(shown) and shown != "", shown)
        cut = shown.encode() != value
        check("%s: the length of %s" % (what, name), line["lengths"].get(name) == (min(len(value), 512) if cut else None),
              (line["lengths"], len(value)))
    return True


def good_line(what, raw):
    """The line, parsed."""
    check("%s: length" % what, len(raw) <= LINE_MOST, len(raw))
    check("%s: controls" % what, not any(c < 0x20 or c == 0x7F for c in raw), raw[:200])
    try:
        line = parse(raw)
    except ValueError as fault:
        check("%s: %s" % (what, fault), False, raw[:300])
        return {}
    names = DECISION if line.get("event") == "decision" else OTHER.get(line.get("event"), set())
    check("%s: members" % what, set(line) == names, set(line) ^ names)
    check("%s: its level" % what, line.get("level") in ("error", "warning", "notice", "info"), line.get("level"))
    check("%s: its time" % what, bool(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", line.get("at", ""))), line.get("at"))
    return line


def ask(value, queue=None):
    """One recipient with the value everywhere; the milter's fields cannot hold NUL, nor an address be empty."""
    value = value.replace(b"\0", b"")
    milter = Milter(work.milter)
    milter.connect(name=value or b"x", macros={"j": value})
    milter.helo(value)
    milter.mail(b"<" + value + b">", login=value, macros={"i": queue} if queue else None)
    answer = milter.rcpt(b"<" + value + b">")
    milter.close()
    return value, answer


def lines_of(path, mark=0):
    with open(path, "rb") as log:
        log.seek(mark)
        return log.read().split(b"\n")[:-1]


def on_standard_error():
    daemon = work.start("--log", "json")
    sent, mark, stored = [], 0, 0
    first = lines_of(work.log_path)
    check("the first lines", [good_line("start", line)["event"] for line in first] == ["note", "note"], first)
    mark = os.path.getsize(work.log_path)
    for name, value in HOSTILE:
        sent.append((name,) + ask(value, b"\x01" * 60 if name in ("controls", "octets") else None))
    lines = lines_of(work.log_path, mark)
    check("a line each", len(lines) == len(sent), (len(lines), len(sent)))
    longest = 0
    for (name, value, answer), raw in zip(sent, lines):
        line = good_line(name, raw)
        longest = max(longest, len(raw))
        for field in ("helo", "host", "login"):
            good_field(name, line, field, value[:512])
        for field in ("from", "to"):
            good_field(name, line, field, (b"<" + value + b">")[:512])
        number = re.search(rb"#(\d+)\]", answer[1])
        if answer[0] != "pass":
            check("%s: number" % name, number is not None and int(number.group(1)) == line.get("number"), (answer, line.get("number")))
        check("%s: level" % name, line["level"] == ("info" if line["action"] == "accept" else "notice"), line["level"])
    check("long lines were seen", longest > 4000, longest)
    # the door: the same members
    mark = os.path.getsize(work.log_path)
    door = Door(work.permit)
    door.policy(client_address="2001:db8::77", helo_name="x", sender="a@far.example", recipient="b@elsewhere.example")
    door.policy(client_address="220.86.126.33", sender="a@far.example", recipient="b%c@example.jp")
    door.close()
    at_door = [good_line("door", line) for line in lines_of(work.log_path, mark)]
    check("the door's lines", [(d["client"], d["reason"], d["post"]) for d in at_door] ==
          [("2001:db8::77", "relay-denied", "door"), ("220.86.126.33", "address-routed", "door")], at_door)
    # a message to its end, and a sentence with a name in it that the administrator wrote
    mark = os.path.getsize(work.log_path)
    milter = Milter(work.milter)
    milter.connect()
    milter.helo()
    milter.mail()
    milter.rcpt(b"<taro@example.jp>")
    milter.rcpt(b"<x@elsewhere.example>")
    milter.end({"i": b"4Xq 1\"\xff"})
    milter.close()
    whole = [good_line("a message", line) for line in lines_of(work.log_path, mark)]
    check("a message's lines", [line["event"] for line in whole] == ["decision", "decision", "message"], whole)
    check("its end", (whole[2]["accepted"], whole[2]["refused"], whole[2]["outcome"], whole[2]["queue_id"], whole[2]["number"]) ==
          (1, 1, "accepted", "4Xq 1\\x22\\xff", None) and whole[2]["session"] == whole[0]["session"], whole[2])
    mark = os.path.getsize(work.log_path)
    work.sql("PRAGMA ignore_check_constraints=1; INSERT INTO own_name(name) VALUES('a\"b\\' || char(10) || char(0x592a))")
    readers.until(lambda: len(lines_of(work.log_path, mark)) > 0)
    notes = [good_line("a sentence", line) for line in lines_of(work.log_path, mark)]
    check("a sentence about a row", notes and notes[0]["event"] == "note" and "own_name" in notes[0]["text"], notes)
    work.sql("DELETE FROM own_name WHERE instr(name, char(10))")

    # what the tool tells of the same decisions; they are in state.db within two seconds
    def tool():
        return subprocess.run([work.build + "/ctl/sekisho", "--policy", work.policy, "--state", work.state, "--json", "log"],
                              capture_output=True, timeout=30, check=False).stdout.split(b"\n")[:-1]
    readers.until(lambda: len(tool()) >= len(lines) + 4)
    told = {line["number"]: line for line in map(parse, tool())}
    mine = [parse(line) for line in lines + lines_of(work.log_path) if b'"event":"decision"' in line]
    for line in mine:
        other = told.get(line["number"], {})
        stored += 1
        check("the same members as sekisho log --json", set(other) | {"event", "level"} == DECISION, set(other) ^ DECISION)
        # the record is of the same moment but read elsewhere; it keeps 512 octets of a text, and knows more
        alike = DECISION - {"event", "level", "at", "row", "outcome", "queue_id", "lengths", "escaped", "limit", "observed",
                            "client_name", "helo", "host", "login", "from", "to"}
        differ = [name for name in alike if line[name] != other.get(name)]
        check("what both tell is the same", not differ, [(n, line[n], other.get(n)) for n in differ])
        texts = [name for name in ("client_name", "helo", "host", "login", "from", "to")
                 if line[name] != other.get(name) and name not in line["lengths"]]
        check("a text that is whole is the same", not texts, [(n, line[n], other.get(n)) for n in texts])
        check("the same row", (line["row"] or {}).get("row") == (other.get("row") or {}).get("row"), (line["row"], other.get("row")))
    check("decisions compared", stored > len(HOSTILE), stored)
    check("ended well", work.stop(daemon) == 0)


def of_a_window():
    """Whose recipient it was is said in both forms, though the MTA has named nobody."""
    work.sql("""UPDATE setting SET value = '60' WHERE name = 'login_window_seconds';
        INSERT INTO rate_limit (name, subject, counts, direction, allowed, seconds, "then")
            VALUES ('window', 'login-window', 'recipients', 'out', 100, 3600, 'tempfail')""")
    for mode, login in (("text", ' login="taro@example.jp" '), ("json", '"login":"taro@example.jp"')):
        daemon = work.start("--log", mode)
        opened = subprocess.run([work.build + "/ctl/sekisho", "--policy", work.policy, "--state", work.state,
                                 "window", "open", "198.51.100.20", "--login", "taro@example.jp"], capture_output=True, timeout=30, check=False)
        check("%s: a window" % mode, opened.returncode == 0, opened)
        mark = os.path.getsize(work.log_path)
        milter = Milter(work.milter)
        milter.connect("198.51.100.20")
        milter.mail(b"<taro@example.jp>")
        answer = milter.rcpt(b"<b@elsewhere.example>")
        said = lines_of(work.log_path, mark)
        milter.close()
        said = lines_of(work.log_path, mark)
        check("%s: through the window" % mode, answer[0] == "pass", answer)
        check("%s: as whom" % mode, len(said) == 1 and login in said[0].decode(), said)
        check("ended well", work.stop(daemon) == 0)


def datagrams():
    reader = Socket(work)
    for words, mode in ((["--log", "json"], "json"), ([], "text")):
        daemon = serve(work, *words)
        reader.read()
        ask("太".encode() + b"\xff\n")
        milter = Milter(work.milter)
        milter.connect()
        milter.helo("太".encode() + b"\xff\n")
        milter.mail(b"<a@far.example>")
        milter.rcpt(b"<b@elsewhere.example>")
        milter.rcpt(b"<taro@example.jp>")
        milter.close()
        seen = reader.read()
        heads = [re.match(rb"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d sekisho-milter\[(\d+)\]: (.*)", datagram, re.S) for datagram in seen]
        check("%s: three datagrams" % mode, len(seen) == 3 and all(heads), seen)
        check("%s: facility mail, notice and info" % mode, [int(h.group(1)) for h in heads] == [21, 21, 22], seen)
        check("%s: pid" % mode, all(int(h.group(2)) == daemon.pid for h in heads), seen)
        if mode == "json":
            line = good_line("a datagram", heads[1].group(3))
            check("the datagram's line", line["client"] == "220.86.126.33" and line["reason"] == "relay-denied", line)
        else:
            check("the line of text", bool(LINE_OF_TEXT.fullmatch(heads[1].group(3).decode())), heads[1].group(3))
        check("ended well", work.stop(daemon) == 0)
    reader.end()


def too_slow():
    """A syslog that does not read stops no mail; lines are lost then, and their number is told."""
    reader = Socket(work)
    daemon = serve(work, "--log", "json")
    reader.read()
    milter = Milter(work.milter)
    milter.connect(macros={"j": b"\x01" * 500}, name=b"\x01" * 500)
    milter.helo(b"\x01" * 500)
    milter.mail(b"<" + b"\x01" * 500 + b">", login=b"\x01" * 500)
    answers = [milter.rcpt(b"<%d@elsewhere.example>" % number)[0] for number in range(600)]
    check("all are answered", set(answers) == {"550"}, set(answers))
    milter.close()
    lines = []
    readers.until(lambda: lines.extend(reader.read()) or any(b'"event":"lost"' in line for line in lines))
    lines += reader.read()
    seen = [good_line("a slow syslog", re.sub(rb"^.*?\]: ", b"", line, flags=re.S)) for line in lines]
    lost = [line["lines"] for line in seen if line.get("event") == "lost"]
    check("lines were lost", len(lost) == 1 and lost[0] > 0, lost)
    decisions = sum(line.get("event") == "decision" for line in seen)
    check("every line is there or counted", decisions + sum(lost) == len(answers), (decisions, lost))
    check("ended well", work.stop(daemon) == 0)
    reader.end()


def kept_by_rsyslog():
    reader = Rsyslog(work)
    daemon = serve(work, "--log", "json")
    values = [ask(value, b"\x01" * 60) for _, value in HOSTILE]
    check("ended well", work.stop(daemon) == 0)
    for path in (reader.new, reader.old):
        lines = reader.lines(path, b'"text":"stopping"')
        parsed = []
        for line in lines:
            head = re.match(rb"(?:\S+|\w{3} [ \d]\d \d\d:\d\d:\d\d) \S+ sekisho-milter\[\d+\]: (.*)", line)
            check("rsyslog's line", head is not None, line[:200])
            parsed.append(good_line("rsyslog", head.group(1)) if head else {})
        decisions = [line for line in parsed if line.get("event") == "decision"]
        check("rsyslog kept them all", len(decisions) == len(values) and len(parsed) == len(values) + 3, (len(decisions), len(parsed)))
        for (value, _), line in zip(values, decisions):
            good_field("rsyslog", line, "helo", value[:512])
    reader.end()


def kept_by_journald():
    reader = Journal(work)
    for words, mode in ((["--log", "json"], "json"), (["--log", "text"], "text")):
        daemon = serve(work, *words)
        values = [ask(value) for _, value in HOSTILE]
        check("ended well", work.stop(daemon) == 0)
        pid = str(daemon.pid)
        readers.until(lambda: sum(entry.get("SYSLOG_PID") == pid for entry in reader.entries("stopping")) >= len(values) + 3)
        entries = [entry for entry in reader.entries("stopping") if entry.get("SYSLOG_PID") == pid]
        check("%s: journald kept them all" % mode, len(entries) == len(values) + 3, (len(entries), len(values)))
        check("%s: its priorities, its facility" % mode, {entry["PRIORITY"] for entry in entries} == {"5", "6"} and
              {entry["SYSLOG_FACILITY"] for entry in entries} == {"2"}, entries[0])
        if mode == "json":
            lines = [good_line("journald", text(entry).encode("utf-8", "surrogateescape")) for entry in entries]
            decisions = [line for line in lines if line.get("event") == "decision"]
            for (value, _), line in zip(values, decisions):
                good_field("journald", line, "helo", value[:512])
        else:
            decisions = [entry for entry in entries if text(entry).startswith("decision=")]
        check("%s: journald's decisions" % mode, len(decisions) == len(values), len(decisions))
    reader.end()


def words():
    for option, status in ((["--log", "xml"], 2), (["--log"], 2), (["--log", "json", "--version"], 0), (["--log", "text", "--help"], 0)):
        done = subprocess.run([work.build + "/milter/sekisho-milter"] + option, capture_output=True, timeout=10, check=False)
        check("%s ends with %d" % (" ".join(option), status), done.returncode == status, done)
    done = subprocess.run([work.build + "/milter/sekisho-milter", "--log", "xml"], capture_output=True, timeout=10, check=False)
    check("what to write instead", done.stderr == b"sekisho-milter: --log xml: write text or json\n", done.stderr)


work.init()
with open(os.path.join(here, "../milter/policy.sql"), encoding="utf-8") as more:
    work.sql(more.read())
for one in (words, on_standard_error, of_a_window, datagrams, too_slow, kept_by_rsyslog, kept_by_journald):
    unit(work, one)
work.finish()
