-- What the milter's tests add to a fresh policy: a small company.
-- SPDX-License-Identifier: BSD-2-Clause
BEGIN;
INSERT INTO client_host (range, note) VALUES ('192.0.2.0/24', 'the office');
INSERT INTO identity (name, may_send, senders) VALUES
    ('saburo@example.jp', 0, 'own'), ('shiro@example.jp', 1, 'own');
INSERT INTO identity_host (identity, range) VALUES ('shiro@example.jp', '192.0.2.0/24');
INSERT INTO ip_range (range, verdict) VALUES
    ('203.0.113.0/25', 'reject'), ('203.0.113.128/25', 'tempfail');
INSERT INTO spam_trap (address) VALUES ('trap@example.jp');
COMMIT;
-- Few clients ask very much here: limits and blocks have tests of their own (unit/test_book.c).
DELETE FROM rate_limit;
UPDATE check_mode SET mode = 'off' WHERE "check" = 'block';
