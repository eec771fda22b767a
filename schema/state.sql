-- The state: what the daemon has decided, blocked and counted. To be read; blocks may be edited.
-- SPDX-License-Identifier: BSD-2-Clause
--
-- The daemon runs this inside one transaction when it makes state.db. You may read all tables with
-- any SQLite tool while the daemon runs, and insert, change and delete rows of block; everything
-- else is written by the daemon alone. Times are UTC. More about the tables: sekisho-state(5).

PRAGMA application_id = 1397050195; -- 0x53454B53, "SEKS"
PRAGMA user_version = 1;

CREATE TABLE version (
    -- Which shape these tables have. One row; leave it alone.
    schema INTEGER NOT NULL UNIQUE,
    CONSTRAINT "schema: these tables are of version 1; leave this row alone"
        CHECK (typeof(schema) = 'integer' AND schema = 1)
);

CREATE TABLE decision (
    -- Every recipient that was judged, one row each, kept for the days of the setting retention.
    -- What is not known or does not apply is NULL. A text from outside is text where it is UTF-8
    -- without NUL, otherwise a blob of the same octets.
    number INTEGER PRIMARY KEY, -- stands in the reply and the log; never given twice
    at TEXT NOT NULL, -- when: UTC, 2026-11-24 03:00:00.123
    action TEXT NOT NULL, -- accept, reject or tempfail
    reason TEXT NOT NULL, -- sekisho explain REASON says what it means
    "check" TEXT, -- the check that refused or deferred
    row_table TEXT, -- the row of policy.db that spoke: its table,
    row_id INTEGER, -- its id,
    row_text TEXT, -- and what it said at that time
    kind TEXT NOT NULL, -- who sent: stranger, client-host, login, login-window or submission
    post TEXT NOT NULL, -- who asked: milter, or door for the permit door
    client TEXT, -- address of the client; NULL: the mail server could not say
    client_name TEXT, -- its name by reverse DNS: the client's own claim
    helo TEXT, -- as the client said
    host TEXT, -- the mail server's own name
    listener TEXT, -- the address of ours that the client has reached
    login TEXT, -- SMTP AUTH
    sender TEXT, -- MAIL FROM, as typed
    recipient TEXT, -- RCPT TO, as typed
    recipient_local INTEGER NOT NULL, -- 1: in a local domain
    session TEXT, -- the same in all decisions of one connection
    queue_id TEXT, -- the mail server's own, as its log has it
    outcome TEXT, -- of the message: accepted, rejected or aborted; NULL: not known yet
    policy INTEGER NOT NULL, -- generation of the policy in force
    observed_reason TEXT, -- what a check that is only observed would have answered,
    observed_table TEXT, -- by which row: its table,
    observed_row INTEGER, -- its id,
    observed_text TEXT, -- and what it said
    limit_row INTEGER, -- the rate_limit row that spoke, or of a pass the nearest one: its id,
    limit_subject TEXT, -- whom it counts: client:192.0.2.1, identity:taro ...
    limit_counts TEXT, -- what: messages, recipients or refusals
    limit_count INTEGER, -- how many there were before this one,
    limit_allowed INTEGER, -- of how many
    limit_seconds INTEGER, -- in so long
    limit_wait INTEGER, -- milliseconds until one more passes
    mta_refused INTEGER NOT NULL, -- 1: the mail server had refused this recipient by itself
    submission INTEGER NOT NULL, -- 1: not SMTP but the mail server's own command line
    not_for_mta INTEGER NOT NULL, -- 1: the mail server had said that it is none of its own
    blocked TEXT, -- the subject that this decision blocked: client:192.0.2.1 ...
    lengths TEXT, -- octets of texts that were too long to be kept whole: recipient=70000
    CONSTRAINT "at: write UTC, 2026-11-24 03:00:00.123"
        CHECK (typeof(at) = 'text' AND length(at) = 23
            AND at GLOB '[0-9]*'
            AND substr(at, 1, 19) IS strftime('%Y-%m-%d %H:%M:%S', substr(at, 1, 19), '+0 days')
            AND substr(at, 20) GLOB '.[0-9][0-9][0-9]'),
    CONSTRAINT "action: accept, reject or tempfail"
        CHECK (action IN ('accept', 'reject', 'tempfail')),
    CONSTRAINT "kind: stranger, client-host, login, login-window or submission"
        CHECK (kind IN ('stranger', 'client-host', 'login', 'login-window', 'submission')),
    CONSTRAINT "post: milter or door"
        CHECK (post IN ('milter', 'door')),
    CONSTRAINT "outcome: accepted, rejected or aborted; NULL while it is not known"
        CHECK (outcome IS NULL OR outcome IN ('accepted', 'rejected', 'aborted'))
);
-- For sekisho log --since, and for what is older than retention.
CREATE INDEX decision_at ON decision (at);

CREATE TABLE block (
    -- Who is refused for a time. You may add a row, change until, or delete a row: the daemon
    -- obeys within two seconds. What ended less than a day ago is kept, because the next block of
    -- the same subject is twice as long.
    subject TEXT NOT NULL, -- client:192.0.2.1, client:2001:db8::/64, identity:taro, relay:192.0.2.1
        -- client: as a stranger, and a client host may not relay; relay: only the right to relay
    since TEXT NOT NULL ON CONFLICT REPLACE DEFAULT CURRENT_TIMESTAMP, -- UTC
    until TEXT, -- UTC, 2026-11-25 03:00:00. NULL: until the row is deleted
    reason TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- sekisho explain REASON; '': by hand
    number INTEGER, -- the decision that led to it
    row_table TEXT, -- the row of policy.db that led to it: its table
    row_id INTEGER, -- and its id
    strikes INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 1, -- 2: the second within a day, ...
    by_hand INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 1, -- 1: by an administrator; 0: by itself
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    until_steady INTEGER, -- until on the daemon's own clock, in milliseconds: leave it alone
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (subject),
    CONSTRAINT "subject: write client:192.0.2.1, client:2001:db8::/64, relay:192.0.2.1 or identity:taro"
        CHECK (typeof(subject) = 'text' AND length(CAST(subject AS BLOB)) BETWEEN 8 AND 351
            AND instr(CAST(subject AS BLOB), x'00') = 0 AND subject NOT GLOB '*[^ -~]*'
            AND subject NOT GLOB '* ' AND subject NOT GLOB '*: *'
            AND (subject GLOB 'identity:?*'
                OR subject GLOB 'client:[0-9a-f:]*[0-9a-f:]'
                    AND substr(subject, 8) NOT GLOB '*[^0-9a-f:./]*'
                    AND substr(subject, 8) GLOB '*[.:]*' AND subject NOT GLOB '*/*/*'
                OR subject GLOB 'relay:[0-9a-f:]*[0-9a-f:]'
                    AND substr(subject, 7) NOT GLOB '*[^0-9a-f:./]*'
                    AND substr(subject, 7) GLOB '*[.:]*' AND subject NOT GLOB '*/*/*')),
    CONSTRAINT "since: write UTC, 2026-11-24 03:00:00"
        CHECK (typeof(since) = 'text' AND since GLOB '[0-9]*'
            AND since IS strftime('%Y-%m-%d %H:%M:%S', since, '+0 days')),
    CONSTRAINT "until: write UTC, 2026-11-25 03:00:00; NULL is until the row is deleted"
        CHECK (until IS NULL OR typeof(until) = 'text' AND until GLOB '[0-9]*'
            AND until IS strftime('%Y-%m-%d %H:%M:%S', until, '+0 days')),
    CONSTRAINT "reason: one word such as spam-trap, or nothing"
        CHECK (typeof(reason) = 'text' AND reason NOT GLOB '*[^a-z-]*' AND length(reason) <= 40),
    CONSTRAINT "number: the number of a decision, or NULL"
        CHECK (number IS NULL OR typeof(number) = 'integer' AND number > 0),
    CONSTRAINT "row_table: the name of a table of policy.db, or NULL"
        CHECK (row_table IS NULL OR typeof(row_table) = 'text'
            AND row_table GLOB '[a-z]*' AND row_table NOT GLOB '*[^a-z_]*'),
    CONSTRAINT "row_id: the id of a row of policy.db, or NULL"
        CHECK (row_id IS NULL OR typeof(row_id) = 'integer'),
    CONSTRAINT "strikes: a whole number from 1 to 1000000"
        CHECK (typeof(strikes) = 'integer' AND strikes BETWEEN 1 AND 1000000),
    CONSTRAINT "by_hand: write 1 for yes or 0 for no"
        CHECK (typeof(by_hand) = 'integer' AND by_hand IN (0, 1)),
    CONSTRAINT "note: write text, 199 octets at most"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0
            AND length(CAST(note AS BLOB)) <= 199),
    CONSTRAINT "until_steady: leave it out, it is the daemon's own"
        CHECK (until_steady IS NULL OR typeof(until_steady) = 'integer' AND until_steady >= 0)
);
-- A new until counts as it is written, not as the daemon had it on its own clock.
CREATE TRIGGER block_until AFTER UPDATE OF until ON block BEGIN
    UPDATE block SET until_steady = NULL WHERE id = NEW.id;
END;

CREATE TABLE login_window (
    -- Clients that may relay for a moment because their user has just read mail (POP, IMAP).
    client TEXT NOT NULL, -- address
    login TEXT NOT NULL, -- who has logged in there
    opened TEXT NOT NULL, -- UTC
    until TEXT NOT NULL, -- UTC
    until_steady INTEGER, -- until on the daemon's own clock, in milliseconds: leave it alone
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    UNIQUE (client),
    CONSTRAINT "client: write an address such as 192.0.2.1"
        CHECK (typeof(client) = 'text' AND length(client) BETWEEN 2 AND 45
            AND client NOT GLOB '*[^0-9a-f:.]*'),
    CONSTRAINT "login: write a login"
        CHECK (typeof(login) = 'text' AND length(CAST(login AS BLOB)) BETWEEN 1 AND 512
            AND instr(CAST(login AS BLOB), x'00') = 0),
    CONSTRAINT "opened: write UTC, 2026-11-24 03:00:00"
        CHECK (typeof(opened) = 'text' AND opened GLOB '[0-9]*'
            AND opened IS strftime('%Y-%m-%d %H:%M:%S', opened, '+0 days')),
    CONSTRAINT "until: write UTC, 2026-11-24 03:01:00"
        CHECK (typeof(until) = 'text' AND until GLOB '[0-9]*'
            AND until IS strftime('%Y-%m-%d %H:%M:%S', until, '+0 days')),
    CONSTRAINT "until_steady: leave it out, it is the daemon's own"
        CHECK (until_steady IS NULL OR typeof(until_steady) = 'integer' AND until_steady >= 0)
);

CREATE TABLE request (
    -- What the tool sekisho asks the daemon to do, and the daemon's answer.
    verb TEXT NOT NULL, -- lift, add, reset ...
    subject TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- client:192.0.2.1 ...
    seconds INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 0, -- how long; 0: until lifted
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for the block
    at TEXT NOT NULL ON CONFLICT REPLACE DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')), -- UTC
    answered TEXT, -- when it was answered; NULL: not yet
    done INTEGER, -- 1: it was done; 0: it was not
    answer TEXT, -- what was done, or why not
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    CONSTRAINT "verb: one word of at most 15 letters"
        CHECK (typeof(verb) = 'text' AND length(verb) BETWEEN 1 AND 15
            AND verb NOT GLOB '*[^a-z-]*'),
    CONSTRAINT "subject: write text, 351 octets at most"
        CHECK (typeof(subject) = 'text' AND instr(CAST(subject AS BLOB), x'00') = 0
            AND length(CAST(subject AS BLOB)) <= 351),
    CONSTRAINT "seconds: a whole number of seconds, 0 to 31536000"
        CHECK (typeof(seconds) = 'integer' AND seconds BETWEEN 0 AND 31536000),
    CONSTRAINT "note: write text, 199 octets at most"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0
            AND length(CAST(note AS BLOB)) <= 199),
    CONSTRAINT "done: 1 for yes, 0 for no; NULL while there is no answer"
        CHECK ((done IS NULL) = (answered IS NULL) AND (done IS NULL OR done IN (0, 1)))
);

CREATE TABLE note (
    -- What the report tells: a block began, a limit was near, a damaged file was set aside.
    at TEXT NOT NULL, -- UTC
    kind TEXT NOT NULL, -- one word
    subject TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- whom it concerns: client:192.0.2.1 ...
    number INTEGER, -- the decision it concerns
    text TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- a sentence
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    CONSTRAINT "kind: one word"
        CHECK (typeof(kind) = 'text' AND length(kind) BETWEEN 1 AND 40
            AND kind NOT GLOB '*[^a-z-]*')
);

CREATE TABLE counter (
    -- The daemon's counts, so that they outlive a restart: it reads them when it starts. sekisho
    -- usage shows them; leave them alone.
    place INTEGER PRIMARY KEY, -- in the daemon's table; below 0: what was forgotten, by group
    hash INTEGER NOT NULL, -- of limit and subject; hash, group, allowed: unsigned, the same 64 bits
    "group" INTEGER NOT NULL, -- of the limit
    record INTEGER NOT NULL, -- the last record of the journal that is in it
    since INTEGER NOT NULL, -- no charge from before can be taken back
    allowed INTEGER NOT NULL, -- the limit
    bucket INTEGER NOT NULL, -- number of the newest bucket: milliseconds / width
    seconds INTEGER NOT NULL, -- the stretch of time that is counted
    count BLOB NOT NULL, -- 12 buckets, newest first, 4 octets each, the lowest octet first
    subject TEXT NOT NULL, -- whom it counts, for people; may be cut
    CONSTRAINT "count: 48 octets"
        CHECK (typeof(count) = 'blob' AND length(count) = 48)
);

CREATE TABLE value (
    -- What else the daemon must remember. Leave it alone.
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

INSERT INTO version (schema) VALUES (1);
