-- The policy: the tables an administrator edits; every bad value is refused with a sentence.
-- SPDX-License-Identifier: BSD-2-Clause
--
-- sqlite3 policy.db < policy.sql makes an empty policy. More about the tables: sekisho-policy(5).
-- The journal mode stays delete: the daemon reads the file without writing beside it.

BEGIN;
PRAGMA application_id = 1397050185; -- 0x53454B49, "SEKI"
PRAGMA user_version = 1;

CREATE TABLE version (
    -- Which shape these tables have. One row; leave it alone.
    schema INTEGER NOT NULL UNIQUE,
    CONSTRAINT "schema: these tables are of version 1; leave this row alone"
        CHECK (typeof(schema) = 'integer' AND schema = 1)
);

CREATE TABLE local_domain (
    -- Mail to these domains is for us. All other mail is relayed, which takes a login, a
    -- client_host row or a login window.
    domain TEXT NOT NULL, -- example.jp, or in its own script
    subdomains INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 0, -- 1: and all names below it
    mail_from TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'ours',
        -- ours: a stranger may not use this domain as sender
        -- anyone: we only receive for it (backup MX, a customer who sends from elsewhere)
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (domain COLLATE NOCASE),
    CONSTRAINT "domain: write a name such as example.jp, without @, spaces or dots at its ends"
        CHECK (typeof(domain) = 'text' AND length(CAST(domain AS BLOB)) BETWEEN 1 AND 253
            AND instr(CAST(domain AS BLOB), x'00') = 0
            AND domain NOT GLOB '*[' || char(1) || '-,/:-@[-^`{-' || char(127) || ']*'
            AND domain GLOB '*[^0-9.]*' -- 192.0.2.1 is not a name
            AND '.' || domain || '.' NOT GLOB '*.[.-]*' AND domain || '.' NOT GLOB '*-.*'),
    CONSTRAINT "domain: a part between two dots has 63 characters at most"
        CHECK (domain NOT GLOB '*' || replace(hex(zeroblob(32)), '0', '[^.]') || '*'),
    CONSTRAINT "subdomains: write 1 for yes or 0 for no"
        CHECK (typeof(subdomains) = 'integer' AND subdomains IN (0, 1)),
    CONSTRAINT "mail_from: write ours or anyone"
        CHECK (mail_from IN ('ours', 'anyone')),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

CREATE TABLE own_name (
    -- Host names that only we may say in HELO. The name of the mail server itself and its
    -- addresses need no row.
    name TEXT NOT NULL, -- mail.example.jp
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (name COLLATE NOCASE),
    CONSTRAINT "name: write a name such as example.jp, without @, spaces or dots at its ends"
        CHECK (typeof(name) = 'text' AND length(CAST(name AS BLOB)) BETWEEN 1 AND 253
            AND instr(CAST(name AS BLOB), x'00') = 0
            AND name NOT GLOB '*[' || char(1) || '-,/:-@[-^`{-' || char(127) || ']*'
            AND name GLOB '*[^0-9.]*' -- 192.0.2.1 is not a name
            AND '.' || name || '.' NOT GLOB '*.[.-]*' AND name || '.' NOT GLOB '*-.*'),
    CONSTRAINT "name: a part between two dots has 63 characters at most"
        CHECK (name NOT GLOB '*' || replace(hex(zeroblob(32)), '0', '[^.]') || '*'),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

CREATE TABLE client_host (
    -- Clients that may relay without a login: your own machines and nothing else.
    range TEXT NOT NULL, -- 192.0.2.1, 192.0.2.0/24, 192.0.2.1-192.0.2.9, 2001:db8::/64
    expires TEXT, -- UTC, 2026-11-24 03:00:00; then the row goes out of force. NULL: never
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (range COLLATE NOCASE),
    CONSTRAINT "expires: write UTC, 2026-11-24 03:00:00 or 2026-11-24T03:00:00Z; NULL is never"
        CHECK (CASE WHEN expires NOT GLOB '[0-9]*' OR expires GLOB '*[^0-9 :TZ-]*' THEN 0
            ELSE expires IS strftime('%Y-%m-%d %H:%M:%S', expires, '+0 days') -- true for NULL
                OR expires IS strftime('%Y-%m-%dT%H:%M:%SZ', expires, '+0 days') END),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0),
    -- How a range is written; the same lines in client_host, ip_range, exemption, identity_host.
    -- Left to the program: whether an IPv6 range ends before it begins, and IPv6 bits after /.
    CONSTRAINT "range: write an address, a block 192.0.2.0/24 or a range 192.0.2.1-192.0.2.9"
        CHECK (typeof(range) = 'text' AND length(range) BETWEEN 2 AND 91
            AND length(range) = length(CAST(range AS BLOB))
            AND range NOT GLOB '*[^0-9A-Fa-f:./-]*' AND range NOT GLOB '*[/-]*[/-]*'),
    CONSTRAINT "range: the number after / goes from 0 to 32 for IPv4, to 128 for IPv6"
        CHECK (range NOT GLOB '*/*' OR substr(range, instr(range, '/') + 1)
            = CAST(min(max(0, CAST(substr(range, instr(range, '/') + 1) AS INTEGER)),
                CASE WHEN range GLOB '*:*' THEN 128 ELSE 32 END) AS TEXT)),
    CONSTRAINT "range: IPv4 is four numbers from 0 to 255 without leading zeros" -- also inside IPv6
        CHECK (range GLOB '*:*' AND range NOT GLOB '*.*'
            OR CASE WHEN json_valid('[' || replace(replace(replace(
                substr(range, length(rtrim(range, '0123456789./-')) + 1),
                '.', ','), '-', ','), '/', ',') || ']')
            THEN CASE json_array_length('[' || replace(replace(replace(
                substr(range, length(rtrim(range, '0123456789./-')) + 1),
                '.', ','), '-', ','), '/', ',') || ']')
                WHEN 4 THEN range GLOB '*.*.*.*' WHEN 5 THEN range GLOB '*.*.*.*/*'
                WHEN 8 THEN range GLOB '*.*.*.*-*.*.*.*' ELSE 0 END ELSE 0 END
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1)
                NOT GLOB '*[0-9][0-9][0-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1)
                NOT GLOB '*[3-9][0-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1) NOT GLOB '*2[6-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1) NOT GLOB '*25[6-9]*'
            AND rtrim(range, '0123456789./-') NOT GLOB '*[^:]'),
    CONSTRAINT "range: an IPv4 address inside IPv6 comes last, after :: somewhere, and not in a-b"
        CHECK (range NOT GLOB '*:*' OR range NOT GLOB '*.*'
            OR range GLOB '*::*.*' AND range NOT GLOB '*.*:*' AND range NOT GLOB '*-*'
            AND range NOT GLOB '*:*:*:*:*:*:*:*'),
    CONSTRAINT "range: IPv6 is eight groups of one to four hex digits, or fewer and one ::"
        CHECK (range NOT GLOB '*:*' OR range NOT GLOB '*:::*' AND range NOT GLOB
                '*[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*'
            AND '-' || replace(range, '/', '-') || '-' NOT GLOB '*-:[^:]*'
            AND '-' || replace(range, '/', '-') || '-' NOT GLOB '*[^:]:-*'
            AND CASE -- the only or first address
                WHEN substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    GLOB '*::*::*' THEN 0
                WHEN substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1) GLOB '*::*'
                THEN trim(replace(substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1),
                    '::', ':'), ':') NOT GLOB '*:*:*:*:*:*:*:*'
                ELSE substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    GLOB '*:*:*:*:*:*:*:*'
                AND substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    NOT GLOB '*:*:*:*:*:*:*:*:*' END
            AND CASE -- the last address of a-b
                WHEN range NOT GLOB '*-*' THEN 1
                WHEN substr(range, instr(range, '-') + 1) GLOB '*::*::*' THEN 0
                WHEN substr(range, instr(range, '-') + 1) GLOB '*::*'
                THEN trim(replace(substr(range, instr(range, '-') + 1), '::', ':'), ':')
                    NOT GLOB '*:*:*:*:*:*:*:*'
                ELSE substr(range, instr(range, '-') + 1) GLOB '*:*:*:*:*:*:*:*'
                    AND substr(range, instr(range, '-') + 1) NOT GLOB '*:*:*:*:*:*:*:*:*' END),
    CONSTRAINT "range: ends before it begins"
        CHECK (CASE WHEN range NOT GLOB '*.*-*.*' THEN 1
            WHEN NOT json_valid('[' || replace(replace(range, '.', ','), '-', ',') || ']')
            THEN 0 ELSE (
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[0]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[1]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[2]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[3]')) <= (
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[4]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[5]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[6]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[7]')) END),
    CONSTRAINT "range: the address before / is not the first one of its block"
        CHECK (CASE WHEN range NOT GLOB '*.*/*' OR range GLOB '*:*' THEN 1
            WHEN NOT json_valid('[' || replace(replace(range, '.', ','), '/', ',') || ']')
            THEN 0 ELSE 0 = (4294967295 >>
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[4]')) & (((
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[0]') * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[1]')) * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[2]')) * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[3]')) END)
);

CREATE TABLE ip_range (
    -- Clients to refuse, to defer or to let in. The narrowest row that holds the client speaks,
    -- your own rows before imported ones; of equally narrow rows the strictest.
    range TEXT NOT NULL, -- 192.0.2.1, 192.0.2.0/24, 192.0.2.1-192.0.2.9, 2001:db8::/64
    verdict TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'reject',
        -- reject: refused for good; tempfail: told to come again
        -- accept: a hole in a wider row. It never grants relaying
    applies_to TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'strangers',
        -- strangers: clients that are logged in are spared; everyone: they are not
    source TEXT, -- NULL: your own row; otherwise the name of the list it was imported from
    expires TEXT, -- UTC, 2026-11-24 03:00:00; then the row goes out of force. NULL: never
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (range COLLATE NOCASE, applies_to, source), -- does not concern rows without a source
    CONSTRAINT "verdict: write accept, reject or tempfail"
        CHECK (verdict IN ('accept', 'reject', 'tempfail')),
    CONSTRAINT "applies_to: write strangers or everyone"
        CHECK (applies_to IN ('strangers', 'everyone')),
    CONSTRAINT "source: the name of an imported list, without spaces at its ends, or NULL"
        CHECK (source IS NULL OR typeof(source) = 'text'
            AND length(CAST(source AS BLOB)) BETWEEN 1 AND 255
            AND instr(CAST(source AS BLOB), x'00') = 0 AND source = trim(source)
            AND source NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    CONSTRAINT "expires: write UTC, 2026-11-24 03:00:00 or 2026-11-24T03:00:00Z; NULL is never"
        CHECK (CASE WHEN expires NOT GLOB '[0-9]*' OR expires GLOB '*[^0-9 :TZ-]*' THEN 0
            ELSE expires IS strftime('%Y-%m-%d %H:%M:%S', expires, '+0 days') -- true for NULL
                OR expires IS strftime('%Y-%m-%dT%H:%M:%SZ', expires, '+0 days') END),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0),
    -- How a range is written; the same lines in client_host, ip_range, exemption, identity_host.
    -- Left to the program: whether an IPv6 range ends before it begins, and IPv6 bits after /.
    CONSTRAINT "range: write an address, a block 192.0.2.0/24 or a range 192.0.2.1-192.0.2.9"
        CHECK (typeof(range) = 'text' AND length(range) BETWEEN 2 AND 91
            AND length(range) = length(CAST(range AS BLOB))
            AND range NOT GLOB '*[^0-9A-Fa-f:./-]*' AND range NOT GLOB '*[/-]*[/-]*'),
    CONSTRAINT "range: the number after / goes from 0 to 32 for IPv4, to 128 for IPv6"
        CHECK (range NOT GLOB '*/*' OR substr(range, instr(range, '/') + 1)
            = CAST(min(max(0, CAST(substr(range, instr(range, '/') + 1) AS INTEGER)),
                CASE WHEN range GLOB '*:*' THEN 128 ELSE 32 END) AS TEXT)),
    CONSTRAINT "range: IPv4 is four numbers from 0 to 255 without leading zeros" -- also inside IPv6
        CHECK (range GLOB '*:*' AND range NOT GLOB '*.*'
            OR CASE WHEN json_valid('[' || replace(replace(replace(
                substr(range, length(rtrim(range, '0123456789./-')) + 1),
                '.', ','), '-', ','), '/', ',') || ']')
            THEN CASE json_array_length('[' || replace(replace(replace(
                substr(range, length(rtrim(range, '0123456789./-')) + 1),
                '.', ','), '-', ','), '/', ',') || ']')
                WHEN 4 THEN range GLOB '*.*.*.*' WHEN 5 THEN range GLOB '*.*.*.*/*'
                WHEN 8 THEN range GLOB '*.*.*.*-*.*.*.*' ELSE 0 END ELSE 0 END
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1)
                NOT GLOB '*[0-9][0-9][0-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1)
                NOT GLOB '*[3-9][0-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1) NOT GLOB '*2[6-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1) NOT GLOB '*25[6-9]*'
            AND rtrim(range, '0123456789./-') NOT GLOB '*[^:]'),
    CONSTRAINT "range: an IPv4 address inside IPv6 comes last, after :: somewhere, and not in a-b"
        CHECK (range NOT GLOB '*:*' OR range NOT GLOB '*.*'
            OR range GLOB '*::*.*' AND range NOT GLOB '*.*:*' AND range NOT GLOB '*-*'
            AND range NOT GLOB '*:*:*:*:*:*:*:*'),
    CONSTRAINT "range: IPv6 is eight groups of one to four hex digits, or fewer and one ::"
        CHECK (range NOT GLOB '*:*' OR range NOT GLOB '*:::*' AND range NOT GLOB
                '*[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*'
            AND '-' || replace(range, '/', '-') || '-' NOT GLOB '*-:[^:]*'
            AND '-' || replace(range, '/', '-') || '-' NOT GLOB '*[^:]:-*'
            AND CASE -- the only or first address
                WHEN substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    GLOB '*::*::*' THEN 0
                WHEN substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1) GLOB '*::*'
                THEN trim(replace(substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1),
                    '::', ':'), ':') NOT GLOB '*:*:*:*:*:*:*:*'
                ELSE substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    GLOB '*:*:*:*:*:*:*:*'
                AND substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    NOT GLOB '*:*:*:*:*:*:*:*:*' END
            AND CASE -- the last address of a-b
                WHEN range NOT GLOB '*-*' THEN 1
                WHEN substr(range, instr(range, '-') + 1) GLOB '*::*::*' THEN 0
                WHEN substr(range, instr(range, '-') + 1) GLOB '*::*'
                THEN trim(replace(substr(range, instr(range, '-') + 1), '::', ':'), ':')
                    NOT GLOB '*:*:*:*:*:*:*:*'
                ELSE substr(range, instr(range, '-') + 1) GLOB '*:*:*:*:*:*:*:*'
                    AND substr(range, instr(range, '-') + 1) NOT GLOB '*:*:*:*:*:*:*:*:*' END),
    CONSTRAINT "range: ends before it begins"
        CHECK (CASE WHEN range NOT GLOB '*.*-*.*' THEN 1
            WHEN NOT json_valid('[' || replace(replace(range, '.', ','), '-', ',') || ']')
            THEN 0 ELSE (
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[0]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[1]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[2]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[3]')) <= (
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[4]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[5]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[6]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[7]')) END),
    CONSTRAINT "range: the address before / is not the first one of its block"
        CHECK (CASE WHEN range NOT GLOB '*.*/*' OR range GLOB '*:*' THEN 1
            WHEN NOT json_valid('[' || replace(replace(range, '.', ','), '/', ',') || ']')
            THEN 0 ELSE 0 = (4294967295 >>
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[4]')) & (((
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[0]') * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[1]')) * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[2]')) * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[3]')) END)
);

CREATE TABLE exemption (
    -- Clients that are not asked one of the checks: forwarders, mailing lists and services that
    -- send in our name. It cannot grant relaying.
    range TEXT NOT NULL, -- 192.0.2.1, 192.0.2.0/24, 192.0.2.1-192.0.2.9, 2001:db8::/64
    "check" TEXT NOT NULL, -- block, listed, sender, helo, trap or rate
    sender TEXT, -- only for this sender: user@example.jp or @example.jp. NULL: for any
    expires TEXT, -- UTC, 2026-11-24 03:00:00; then the row goes out of force. NULL: never
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (range COLLATE NOCASE, "check", sender COLLATE NOCASE),
    CONSTRAINT "check: write block, listed, sender, helo, trap or rate"
        CHECK ("check" IN ('block', 'listed', 'sender', 'helo', 'trap', 'rate')),
    CONSTRAINT "sender: write user@example.jp or @example.jp without spaces, < > or *; NULL is any"
        CHECK (sender IS NULL OR typeof(sender) = 'text'
            AND length(CAST(sender AS BLOB)) BETWEEN 1 AND 320
            AND instr(CAST(sender AS BLOB), x'00') = 0
            AND sender NOT GLOB '*[]' || char(1) || '- "()*,:;<>[\' || char(127) || ']*'
            AND sender NOT GLOB '*@*@*' AND sender NOT GLOB '*@' AND sender GLOB '*@?*'
            AND sender NOT GLOB '*@[.-]*' AND sender NOT GLOB '*@*[.-]'
            AND sender NOT GLOB '*@*.[.-]*' AND sender NOT GLOB '*@*-.*'),
    CONSTRAINT "expires: write UTC, 2026-11-24 03:00:00 or 2026-11-24T03:00:00Z; NULL is never"
        CHECK (CASE WHEN expires NOT GLOB '[0-9]*' OR expires GLOB '*[^0-9 :TZ-]*' THEN 0
            ELSE expires IS strftime('%Y-%m-%d %H:%M:%S', expires, '+0 days') -- true for NULL
                OR expires IS strftime('%Y-%m-%dT%H:%M:%SZ', expires, '+0 days') END),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0),
    -- How a range is written; the same lines in client_host, ip_range, exemption, identity_host.
    -- Left to the program: whether an IPv6 range ends before it begins, and IPv6 bits after /.
    CONSTRAINT "range: write an address, a block 192.0.2.0/24 or a range 192.0.2.1-192.0.2.9"
        CHECK (typeof(range) = 'text' AND length(range) BETWEEN 2 AND 91
            AND length(range) = length(CAST(range AS BLOB))
            AND range NOT GLOB '*[^0-9A-Fa-f:./-]*' AND range NOT GLOB '*[/-]*[/-]*'),
    CONSTRAINT "range: the number after / goes from 0 to 32 for IPv4, to 128 for IPv6"
        CHECK (range NOT GLOB '*/*' OR substr(range, instr(range, '/') + 1)
            = CAST(min(max(0, CAST(substr(range, instr(range, '/') + 1) AS INTEGER)),
                CASE WHEN range GLOB '*:*' THEN 128 ELSE 32 END) AS TEXT)),
    CONSTRAINT "range: IPv4 is four numbers from 0 to 255 without leading zeros" -- also inside IPv6
        CHECK (range GLOB '*:*' AND range NOT GLOB '*.*'
            OR CASE WHEN json_valid('[' || replace(replace(replace(
                substr(range, length(rtrim(range, '0123456789./-')) + 1),
                '.', ','), '-', ','), '/', ',') || ']')
            THEN CASE json_array_length('[' || replace(replace(replace(
                substr(range, length(rtrim(range, '0123456789./-')) + 1),
                '.', ','), '-', ','), '/', ',') || ']')
                WHEN 4 THEN range GLOB '*.*.*.*' WHEN 5 THEN range GLOB '*.*.*.*/*'
                WHEN 8 THEN range GLOB '*.*.*.*-*.*.*.*' ELSE 0 END ELSE 0 END
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1)
                NOT GLOB '*[0-9][0-9][0-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1)
                NOT GLOB '*[3-9][0-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1) NOT GLOB '*2[6-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1) NOT GLOB '*25[6-9]*'
            AND rtrim(range, '0123456789./-') NOT GLOB '*[^:]'),
    CONSTRAINT "range: an IPv4 address inside IPv6 comes last, after :: somewhere, and not in a-b"
        CHECK (range NOT GLOB '*:*' OR range NOT GLOB '*.*'
            OR range GLOB '*::*.*' AND range NOT GLOB '*.*:*' AND range NOT GLOB '*-*'
            AND range NOT GLOB '*:*:*:*:*:*:*:*'),
    CONSTRAINT "range: IPv6 is eight groups of one to four hex digits, or fewer and one ::"
        CHECK (range NOT GLOB '*:*' OR range NOT GLOB '*:::*' AND range NOT GLOB
                '*[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*'
            AND '-' || replace(range, '/', '-') || '-' NOT GLOB '*-:[^:]*'
            AND '-' || replace(range, '/', '-') || '-' NOT GLOB '*[^:]:-*'
            AND CASE -- the only or first address
                WHEN substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    GLOB '*::*::*' THEN 0
                WHEN substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1) GLOB '*::*'
                THEN trim(replace(substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1),
                    '::', ':'), ':') NOT GLOB '*:*:*:*:*:*:*:*'
                ELSE substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    GLOB '*:*:*:*:*:*:*:*'
                AND substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    NOT GLOB '*:*:*:*:*:*:*:*:*' END
            AND CASE -- the last address of a-b
                WHEN range NOT GLOB '*-*' THEN 1
                WHEN substr(range, instr(range, '-') + 1) GLOB '*::*::*' THEN 0
                WHEN substr(range, instr(range, '-') + 1) GLOB '*::*'
                THEN trim(replace(substr(range, instr(range, '-') + 1), '::', ':'), ':')
                    NOT GLOB '*:*:*:*:*:*:*:*'
                ELSE substr(range, instr(range, '-') + 1) GLOB '*:*:*:*:*:*:*:*'
                    AND substr(range, instr(range, '-') + 1) NOT GLOB '*:*:*:*:*:*:*:*:*' END),
    CONSTRAINT "range: ends before it begins"
        CHECK (CASE WHEN range NOT GLOB '*.*-*.*' THEN 1
            WHEN NOT json_valid('[' || replace(replace(range, '.', ','), '-', ',') || ']')
            THEN 0 ELSE (
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[0]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[1]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[2]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[3]')) <= (
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[4]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[5]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[6]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[7]')) END),
    CONSTRAINT "range: the address before / is not the first one of its block"
        CHECK (CASE WHEN range NOT GLOB '*.*/*' OR range GLOB '*:*' THEN 1
            WHEN NOT json_valid('[' || replace(replace(range, '.', ','), '/', ',') || ']')
            THEN 0 ELSE 0 = (4294967295 >>
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[4]')) & (((
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[0]') * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[1]')) * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[2]')) * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[3]')) END)
);

CREATE TABLE identity (
    -- Who may log in and send: one row for one SASL login. The row * speaks for every login that
    -- is not listed; without it such a login may not send.
    name TEXT NOT NULL, -- the login as given, with or without its realm; or *
    may_send INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 1, -- 0: it may not
    senders TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'own',
        -- own: its own address and its identity_sender rows
        -- listed: its identity_sender rows only; any: whatever it likes
    expires TEXT, -- UTC, 2026-11-24 03:00:00; then the row goes out of force. NULL: never
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (name),
    CONSTRAINT "name: write a login or *, without spaces at its ends, 255 bytes at most"
        CHECK (typeof(name) = 'text' AND length(CAST(name AS BLOB)) BETWEEN 1 AND 255
            AND instr(CAST(name AS BLOB), x'00') = 0 AND name = trim(name)
            AND name NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    CONSTRAINT "may_send: write 1 for yes or 0 for no"
        CHECK (typeof(may_send) = 'integer' AND may_send IN (0, 1)),
    CONSTRAINT "senders: write own, listed or any"
        CHECK (senders IN ('own', 'listed', 'any')),
    CONSTRAINT "expires: write UTC, 2026-11-24 03:00:00 or 2026-11-24T03:00:00Z; NULL is never"
        CHECK (CASE WHEN expires NOT GLOB '[0-9]*' OR expires GLOB '*[^0-9 :TZ-]*' THEN 0
            ELSE expires IS strftime('%Y-%m-%d %H:%M:%S', expires, '+0 days') -- true for NULL
                OR expires IS strftime('%Y-%m-%dT%H:%M:%SZ', expires, '+0 days') END),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

CREATE TABLE identity_sender (
    -- What an identity may write as sender (MAIL FROM).
    identity TEXT NOT NULL, -- a name of the table identity
    sender TEXT NOT NULL, -- user@example.jp, or @example.jp for all of a domain
    expires TEXT, -- UTC, 2026-11-24 03:00:00; then the row goes out of force. NULL: never
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (identity, sender COLLATE NOCASE),
    CONSTRAINT "identity: write a login or *, without spaces at its ends, 255 bytes at most"
        CHECK (typeof(identity) = 'text' AND length(CAST(identity AS BLOB)) BETWEEN 1 AND 255
            AND instr(CAST(identity AS BLOB), x'00') = 0 AND identity = trim(identity)
            AND identity NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    CONSTRAINT "sender: write user@example.jp or @example.jp, without spaces, quotes, < > or *"
        CHECK (typeof(sender) = 'text'
            AND length(CAST(sender AS BLOB)) BETWEEN 1 AND 320
            AND instr(CAST(sender AS BLOB), x'00') = 0
            AND sender NOT GLOB '*[]' || char(1) || '- "()*,:;<>[\' || char(127) || ']*'
            AND sender NOT GLOB '*@*@*' AND sender NOT GLOB '*@' AND sender GLOB '*@?*'
            AND sender NOT GLOB '*@[.-]*' AND sender NOT GLOB '*@*[.-]'
            AND sender NOT GLOB '*@*.[.-]*' AND sender NOT GLOB '*@*-.*'),
    CONSTRAINT "expires: write UTC, 2026-11-24 03:00:00 or 2026-11-24T03:00:00Z; NULL is never"
        CHECK (CASE WHEN expires NOT GLOB '[0-9]*' OR expires GLOB '*[^0-9 :TZ-]*' THEN 0
            ELSE expires IS strftime('%Y-%m-%d %H:%M:%S', expires, '+0 days') -- true for NULL
                OR expires IS strftime('%Y-%m-%dT%H:%M:%SZ', expires, '+0 days') END),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

CREATE TABLE identity_host (
    -- Where an identity may come from. Without a row: from anywhere. When all its rows have
    -- expired: from nowhere.
    identity TEXT NOT NULL, -- a name of the table identity
    range TEXT NOT NULL, -- 192.0.2.1, 192.0.2.0/24, 192.0.2.1-192.0.2.9, 2001:db8::/64
    expires TEXT, -- UTC, 2026-11-24 03:00:00; then the row goes out of force. NULL: never
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (identity, range COLLATE NOCASE),
    CONSTRAINT "identity: write a login or *, without spaces at its ends, 255 bytes at most"
        CHECK (typeof(identity) = 'text' AND length(CAST(identity AS BLOB)) BETWEEN 1 AND 255
            AND instr(CAST(identity AS BLOB), x'00') = 0 AND identity = trim(identity)
            AND identity NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    CONSTRAINT "expires: write UTC, 2026-11-24 03:00:00 or 2026-11-24T03:00:00Z; NULL is never"
        CHECK (CASE WHEN expires NOT GLOB '[0-9]*' OR expires GLOB '*[^0-9 :TZ-]*' THEN 0
            ELSE expires IS strftime('%Y-%m-%d %H:%M:%S', expires, '+0 days') -- true for NULL
                OR expires IS strftime('%Y-%m-%dT%H:%M:%SZ', expires, '+0 days') END),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0),
    -- How a range is written; the same lines in client_host, ip_range, exemption, identity_host.
    -- Left to the program: whether an IPv6 range ends before it begins, and IPv6 bits after /.
    CONSTRAINT "range: write an address, a block 192.0.2.0/24 or a range 192.0.2.1-192.0.2.9"
        CHECK (typeof(range) = 'text' AND length(range) BETWEEN 2 AND 91
            AND length(range) = length(CAST(range AS BLOB))
            AND range NOT GLOB '*[^0-9A-Fa-f:./-]*' AND range NOT GLOB '*[/-]*[/-]*'),
    CONSTRAINT "range: the number after / goes from 0 to 32 for IPv4, to 128 for IPv6"
        CHECK (range NOT GLOB '*/*' OR substr(range, instr(range, '/') + 1)
            = CAST(min(max(0, CAST(substr(range, instr(range, '/') + 1) AS INTEGER)),
                CASE WHEN range GLOB '*:*' THEN 128 ELSE 32 END) AS TEXT)),
    CONSTRAINT "range: IPv4 is four numbers from 0 to 255 without leading zeros" -- also inside IPv6
        CHECK (range GLOB '*:*' AND range NOT GLOB '*.*'
            OR CASE WHEN json_valid('[' || replace(replace(replace(
                substr(range, length(rtrim(range, '0123456789./-')) + 1),
                '.', ','), '-', ','), '/', ',') || ']')
            THEN CASE json_array_length('[' || replace(replace(replace(
                substr(range, length(rtrim(range, '0123456789./-')) + 1),
                '.', ','), '-', ','), '/', ',') || ']')
                WHEN 4 THEN range GLOB '*.*.*.*' WHEN 5 THEN range GLOB '*.*.*.*/*'
                WHEN 8 THEN range GLOB '*.*.*.*-*.*.*.*' ELSE 0 END ELSE 0 END
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1)
                NOT GLOB '*[0-9][0-9][0-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1)
                NOT GLOB '*[3-9][0-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1) NOT GLOB '*2[6-9][0-9]*'
            AND substr(range, length(rtrim(range, '0123456789./-')) + 1) NOT GLOB '*25[6-9]*'
            AND rtrim(range, '0123456789./-') NOT GLOB '*[^:]'),
    CONSTRAINT "range: an IPv4 address inside IPv6 comes last, after :: somewhere, and not in a-b"
        CHECK (range NOT GLOB '*:*' OR range NOT GLOB '*.*'
            OR range GLOB '*::*.*' AND range NOT GLOB '*.*:*' AND range NOT GLOB '*-*'
            AND range NOT GLOB '*:*:*:*:*:*:*:*'),
    CONSTRAINT "range: IPv6 is eight groups of one to four hex digits, or fewer and one ::"
        CHECK (range NOT GLOB '*:*' OR range NOT GLOB '*:::*' AND range NOT GLOB
                '*[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*'
            AND '-' || replace(range, '/', '-') || '-' NOT GLOB '*-:[^:]*'
            AND '-' || replace(range, '/', '-') || '-' NOT GLOB '*[^:]:-*'
            AND CASE -- the only or first address
                WHEN substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    GLOB '*::*::*' THEN 0
                WHEN substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1) GLOB '*::*'
                THEN trim(replace(substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1),
                    '::', ':'), ':') NOT GLOB '*:*:*:*:*:*:*:*'
                ELSE substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    GLOB '*:*:*:*:*:*:*:*'
                AND substr(range, 1, instr(replace(range, '/', '-') || '-', '-') - 1)
                    NOT GLOB '*:*:*:*:*:*:*:*:*' END
            AND CASE -- the last address of a-b
                WHEN range NOT GLOB '*-*' THEN 1
                WHEN substr(range, instr(range, '-') + 1) GLOB '*::*::*' THEN 0
                WHEN substr(range, instr(range, '-') + 1) GLOB '*::*'
                THEN trim(replace(substr(range, instr(range, '-') + 1), '::', ':'), ':')
                    NOT GLOB '*:*:*:*:*:*:*:*'
                ELSE substr(range, instr(range, '-') + 1) GLOB '*:*:*:*:*:*:*:*'
                    AND substr(range, instr(range, '-') + 1) NOT GLOB '*:*:*:*:*:*:*:*:*' END),
    CONSTRAINT "range: ends before it begins"
        CHECK (CASE WHEN range NOT GLOB '*.*-*.*' THEN 1
            WHEN NOT json_valid('[' || replace(replace(range, '.', ','), '-', ',') || ']')
            THEN 0 ELSE (
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[0]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[1]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[2]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[3]')) <= (
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[4]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[5]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[6]'),
            json_extract('[' || replace(replace(range, '.', ','), '-', ',') || ']', '$[7]')) END),
    CONSTRAINT "range: the address before / is not the first one of its block"
        CHECK (CASE WHEN range NOT GLOB '*.*/*' OR range GLOB '*:*' THEN 1
            WHEN NOT json_valid('[' || replace(replace(range, '.', ','), '/', ',') || ']')
            THEN 0 ELSE 0 = (4294967295 >>
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[4]')) & (((
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[0]') * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[1]')) * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[2]')) * 256 +
            json_extract('[' || replace(replace(range, '.', ','), '/', ',') || ']', '$[3]')) END)
);

CREATE TABLE receive_only (
    -- Addresses that always receive, also from blocked and listed clients, and never send: never
    -- a login, never the sender of a stranger.
    address TEXT NOT NULL, -- abuse@example.jp, or postmaster for that name in every local domain
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (address COLLATE NOCASE),
    CONSTRAINT "address: write postmaster or user@example.jp, without spaces, quotes, < > or *"
        CHECK (typeof(address) = 'text'
            AND length(CAST(address AS BLOB)) BETWEEN 1 AND 320
            AND instr(CAST(address AS BLOB), x'00') = 0
            AND address NOT GLOB '*[]' || char(1) || '- "()*,:;<>[\' || char(127) || ']*'
            AND address NOT GLOB '*@*@*' AND address NOT GLOB '*@' AND address NOT GLOB '@*'
            AND address NOT GLOB '*@[.-]*' AND address NOT GLOB '*@*[.-]'
            AND address NOT GLOB '*@*.[.-]*' AND address NOT GLOB '*@*-.*'),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

CREATE TABLE spam_trap (
    -- Addresses nobody should write to. Who does is refused and blocked. None may be receive_only.
    address TEXT NOT NULL, -- trap@example.jp, or a name for it in every local domain
    block_for INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 86400, -- seconds
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (address COLLATE NOCASE),
    CONSTRAINT "address: write trap or trap@example.jp, without spaces, quotes, < > or *"
        CHECK (typeof(address) = 'text'
            AND length(CAST(address AS BLOB)) BETWEEN 1 AND 320
            AND instr(CAST(address AS BLOB), x'00') = 0
            AND address NOT GLOB '*[]' || char(1) || '- "()*,:;<>[\' || char(127) || ']*'
            AND address NOT GLOB '*@*@*' AND address NOT GLOB '*@' AND address NOT GLOB '@*'
            AND address NOT GLOB '*@[.-]*' AND address NOT GLOB '*@*[.-]'
            AND address NOT GLOB '*@*.[.-]*' AND address NOT GLOB '*@*-.*'),
    CONSTRAINT "block_for: a whole number of seconds, 1 to 31536000"
        CHECK (typeof(block_for) = 'integer' AND block_for BETWEEN 1 AND 31536000),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

CREATE TABLE rate_limit (
    -- Never more than this in any stretch of so many seconds. Rows with one name are one rule, in
    -- which the most specific who speaks.
    name TEXT NOT NULL, -- of the rule: it stands in log and report
    subject TEXT NOT NULL, -- whose messages are counted: each client, identity, sender; or everyone
        -- login-window: each client while it sends by a login window, and there only
    who TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '*',
        -- which of them: * all; a range, a login, user@example.jp or @example.jp
    counts TEXT NOT NULL, -- messages, recipients or refusals
    direction TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'any',
        -- in: local recipients; out: all others; any: both
    allowed INTEGER, -- so many. NULL: no limit for this who
    seconds INTEGER NOT NULL, -- in so long
    "then" TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'tempfail',
        -- tempfail: told to come again; reject: refused
        -- block: refused for block_for seconds, only for client and identity
    block_for INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 3600, -- seconds
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (name, who),
    CONSTRAINT "name: write a short name for the rule, without spaces at its ends"
        CHECK (typeof(name) = 'text' AND length(CAST(name AS BLOB)) BETWEEN 1 AND 100
            AND instr(CAST(name AS BLOB), x'00') = 0 AND name = trim(name)
            AND name NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    CONSTRAINT "subject: write client, identity, sender, login-window or everyone"
        CHECK (subject IN ('client', 'identity', 'sender', 'login-window', 'everyone')),
    CONSTRAINT "who: write *, a range, a login or an address, without spaces at its ends"
        CHECK (typeof(who) = 'text' AND length(CAST(who AS BLOB)) BETWEEN 1 AND 320
            AND instr(CAST(who AS BLOB), x'00') = 0 AND who = trim(who)
            AND who NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    CONSTRAINT "who: for everyone there is only *"
        CHECK (subject <> 'everyone' OR who = '*'),
    CONSTRAINT "who: for a client or login-window write a range or *"
        CHECK (subject NOT IN ('client', 'login-window') OR who = '*' OR who NOT GLOB '*[^0-9A-Fa-f:./-]*'),
    CONSTRAINT "who: for a sender write user@example.jp, @example.jp or *"
        CHECK (subject <> 'sender' OR who = '*' OR who GLOB '*@?*' AND who NOT GLOB '*@*@*'
            AND who NOT GLOB '*[*<> "]*'),
    CONSTRAINT "counts: write messages, recipients or refusals"
        CHECK (counts IN ('messages', 'recipients', 'refusals')),
    CONSTRAINT "direction: write in, out or any"
        CHECK (direction IN ('in', 'out', 'any')),
    CONSTRAINT "allowed: a whole number of messages, recipients or refusals, 0 to 1000000000"
        CHECK (allowed IS NULL OR typeof(allowed) = 'integer' AND allowed BETWEEN 0 AND 1000000000),
    CONSTRAINT "seconds: a whole number of seconds, 1 to 31536000"
        CHECK (typeof(seconds) = 'integer' AND seconds BETWEEN 1 AND 31536000),
    CONSTRAINT "then: write tempfail, reject or block"
        CHECK ("then" IN ('tempfail', 'reject', 'block')),
    CONSTRAINT "then: only a client or an identity can be blocked"
        CHECK ("then" <> 'block' OR subject IN ('client', 'identity')),
    CONSTRAINT "then: refusals can only lead to a block"
        CHECK (counts <> 'refusals' OR "then" = 'block'),
    CONSTRAINT "block_for: a whole number of seconds, 1 to 31536000"
        CHECK (typeof(block_for) = 'integer' AND block_for BETWEEN 1 AND 31536000),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

CREATE TABLE check_mode (
    -- How each check is taken, in the order in which they are asked.
    "check" TEXT NOT NULL, -- one row each; a check without a row is enforced
    mode TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'enforce',
        -- enforce: it refuses; observe: it only records what it would do; off: it is not asked
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE ("check"),
    CONSTRAINT "check: one of address, block, listed, identity, sender, null-sender, helo, relay, trap, gateway, rate"
        CHECK ("check" IN ('address', 'block', 'listed', 'identity', 'sender', 'null-sender',
            'helo', 'relay', 'trap', 'gateway', 'rate')),
    CONSTRAINT "mode: write enforce, observe or off"
        CHECK (mode IN ('enforce', 'observe', 'off')),
    CONSTRAINT "mode: address and relay are always enforced"
        CHECK ("check" NOT IN ('address', 'relay') OR mode = 'enforce'),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

CREATE TABLE setting (
    -- Everything else. The notes of the rows say what each is; a setting without a row has its
    -- default.
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    note TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '', -- for you; the program shows it
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- leave it out: given by itself, never given twice
    UNIQUE (name),
    CONSTRAINT "name: not a setting; there are mode, help_url, login_realm, login_domain, recipient_delimiter, client_prefix_ipv4, client_prefix_ipv6, client_host_most, client_host_most_ipv6, retention, login_window_seconds, report_address, recipients_most, ring_size, keys_most, block_longest, gateway_names"
        CHECK (name IN (
            'mode', 'help_url', 'login_realm', 'login_domain', 'recipient_delimiter',
            'client_prefix_ipv4', 'client_prefix_ipv6', 'client_host_most',
            'client_host_most_ipv6', 'retention', 'login_window_seconds',
            'report_address', 'recipients_most', 'ring_size',
            'keys_most', 'block_longest', 'gateway_names')),
    CONSTRAINT "value: write text"
        CHECK (typeof(value) = 'text' AND instr(CAST(value AS BLOB), x'00') = 0),
    CONSTRAINT "value: mode is enforce or observe"
        CHECK (name <> 'mode' OR value IN ('enforce', 'observe')),
    CONSTRAINT "value: help_url begins with https:// or http:// and is printable ASCII, or is empty"
        CHECK (name <> 'help_url' OR value = '' OR length(value) <= 200
            AND (value GLOB 'https://?*' OR value GLOB 'http://?*') AND value NOT GLOB '*[^!-~]*'),
    CONSTRAINT "value: login_realm has no space and no @, or is empty"
        CHECK (name <> 'login_realm' OR length(CAST(value AS BLOB)) <= 253
            AND value NOT GLOB '*[' || char(1) || '- @' || char(127) || ']*'),
    CONSTRAINT "value: login_domain is a name such as example.jp, or empty"
        CHECK (name <> 'login_domain' OR value = '' OR length(CAST(value AS BLOB)) <= 253
            AND value NOT GLOB '*[' || char(1) || '-,/:-@[-^`{-' || char(127) || ']*'
            AND value GLOB '*[^0-9.]*'
            AND '.' || value || '.' NOT GLOB '*.[.-]*' AND value || '.' NOT GLOB '*-.*'
            AND value NOT GLOB '*' || replace(hex(zeroblob(32)), '0', '[^.]') || '*'),
    CONSTRAINT "value: recipient_delimiter is one sign such as + or -, or empty"
        CHECK (name <> 'recipient_delimiter' OR value = '' OR length(value) = 1
            AND value GLOB '[!#$%&''*+/=?^_`{|}~.-]'),
    CONSTRAINT "value: report_address is postmaster or user@example.jp, or empty"
        CHECK (name <> 'report_address' OR value = '' OR length(CAST(value AS BLOB)) <= 320
            AND value NOT GLOB '*[]' || char(1) || '- "()*,:;<>[\' || char(127) || ']*'
            AND value NOT GLOB '*@*@*' AND value NOT GLOB '*@' AND value NOT GLOB '[@-]*'
            AND value NOT GLOB '*@[.-]*' AND value NOT GLOB '*@*[.-]'
            AND value NOT GLOB '*@*.[.-]*' AND value NOT GLOB '*@*-.*'),
    CONSTRAINT "value: write a whole number in digits"
        CHECK (value = CAST(CAST(value AS INTEGER) AS TEXT) OR name NOT IN (
            'client_prefix_ipv4', 'client_prefix_ipv6', 'client_host_most',
            'client_host_most_ipv6', 'retention', 'login_window_seconds',
            'recipients_most', 'ring_size', 'keys_most',
            'block_longest', 'gateway_names')),
    CONSTRAINT "value: client_prefix_ipv4 is 8 to 32 bits"
        CHECK (name <> 'client_prefix_ipv4' OR CAST(value AS INTEGER) BETWEEN 8 AND 32),
    CONSTRAINT "value: client_prefix_ipv6 is 16 to 128 bits"
        CHECK (name <> 'client_prefix_ipv6' OR CAST(value AS INTEGER) BETWEEN 16 AND 128),
    CONSTRAINT "value: client_host_most is 0 to 4294967296 addresses"
        CHECK (name <> 'client_host_most' OR CAST(value AS INTEGER) BETWEEN 0 AND 4294967296),
    CONSTRAINT "value: client_host_most_ipv6 is 0 to 65536 networks"
        CHECK (name <> 'client_host_most_ipv6' OR CAST(value AS INTEGER) BETWEEN 0 AND 65536),
    CONSTRAINT "value: retention is 1 to 3650 days"
        CHECK (name <> 'retention' OR CAST(value AS INTEGER) BETWEEN 1 AND 3650),
    CONSTRAINT "value: login_window_seconds is 0 (off) to 3600 seconds"
        CHECK (name <> 'login_window_seconds' OR CAST(value AS INTEGER) BETWEEN 0 AND 3600),
    CONSTRAINT "value: recipients_most is 1 to 100000 recipients"
        CHECK (name <> 'recipients_most' OR CAST(value AS INTEGER) BETWEEN 1 AND 100000),
    CONSTRAINT "value: ring_size is 1000 to 100000000 records"
        CHECK (name <> 'ring_size' OR CAST(value AS INTEGER) BETWEEN 1000 AND 100000000),
    CONSTRAINT "value: keys_most is 1000 to 100000000 keys"
        CHECK (name <> 'keys_most' OR CAST(value AS INTEGER) BETWEEN 1000 AND 100000000),
    CONSTRAINT "value: block_longest is 60 to 31536000 seconds"
        CHECK (name <> 'block_longest' OR CAST(value AS INTEGER) BETWEEN 60 AND 31536000),
    CONSTRAINT "value: gateway_names is 1 to 60 names"
        CHECK (name <> 'gateway_names' OR CAST(value AS INTEGER) BETWEEN 1 AND 60),
    CONSTRAINT "note: write text"
        CHECK (typeof(note) = 'text' AND instr(CAST(note AS BLOB), x'00') = 0)
);

INSERT INTO version (schema) VALUES (1);

INSERT INTO check_mode ("check", mode, note) VALUES
    ('address', 'enforce',
        'one reading for every address: no source route, no % ! or second @. Always enforced'),
    ('block', 'enforce',
        'clients and identities that are blocked just now'),
    ('listed', 'enforce',
        'the narrowest ip_range row that holds the client'),
    ('identity', 'enforce',
        'logins: known, may send, from here'),
    ('sender', 'enforce',
        'logins: their own sender; strangers: no sender of ours'),
    ('null-sender', 'observe',
        'logins that send with an empty sender'),
    ('helo', 'enforce',
        'strangers that say our name in HELO'),
    ('relay', 'enforce',
        'recipients elsewhere: only for logins, client hosts, login windows. Always enforced'),
    ('trap', 'enforce',
        'recipients of spam_trap'),
    ('gateway', 'observe',
        'a client host with many unrelated HELO names and senders is a NAT; enforced: no relaying'),
    ('rate', 'enforce',
        'the limits of rate_limit');

INSERT INTO setting (name, value, note) VALUES
    ('mode', 'enforce',
        'enforce; or observe: all checks but address and relay only record'),
    ('help_url', '',
        'https://... of a page for refused senders, put at the end of every reply; empty: none'),
    ('login_realm', '',
        'a login user@realm that is not listed is looked up again without this realm'),
    ('login_domain', '',
        'a login without @ owns the sender login@this domain; empty: it owns none by itself'),
    ('recipient_delimiter', '+',
        'user+tag belongs to user; one sign, or empty: no tags'),
    ('client_prefix_ipv4', '32',
        'IPv4 clients are counted and blocked by networks of this length'),
    ('client_prefix_ipv6', '64',
        'IPv6 clients are counted and blocked by networks of this length'),
    ('client_host_most', '65536',
        'all client_host rows together hold at most this many public IPv4 addresses'),
    ('client_host_most_ipv6', '1',
        'all client_host rows together hold at most this many public IPv6 networks of /48'),
    ('retention', '30',
        'days that decisions are kept'),
    ('login_window_seconds', '0',
        'so long a POP or IMAP login lets its client relay; 0: never. Whoever shares the address may too'),
    ('report_address', '',
        'who is told when a limit trips; empty: nobody'),
    ('recipients_most', '1000',
        'recipients of one message; the others are deferred'),
    ('ring_size', '100000',
        'records kept on disk beside state.db, for a day; twice as many may wait for it'),
    ('keys_most', '1000000',
        'clients, logins and senders counted at the same time; read when the daemon starts'),
    ('block_longest', '604800',
        'no automatic block is longer than this many seconds'),
    ('gateway_names', '20',
        'check gateway: more unrelated HELO names and more sender domains than this in an hour');

COMMIT;
