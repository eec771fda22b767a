/* Counts over time, bounded in memory, never too low. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_LEDGER_H
#define SEKISHO_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One count: so many events in each stretch of `seconds`. Time is milliseconds of a clock that
 * never goes back (the caller makes one that goes on across restarts), never below 0.
 *
 * A window is LEDGER_BUCKETS buckets of equal width, so wide that all but one of them cover
 * `seconds` (rounded up to whole milliseconds): an event is counted for at least `seconds`, and for
 * less than LEDGER_BUCKETS widths. A bucket's count stops at UINT32_MAX.
 *
 * The number of keys is bounded. When the table is full, a newcomer takes the place of the key that
 * is least near its limit among a few (all that have run out first), and its group's floor is
 * raised to what was forgotten: each key of the group that is not in the table is taken to have as
 * many events, at every age, as any that was ever forgotten (Metwally, Agrawal, El Abbadi,
 * "Efficient computation of frequent and top-k elements in data streams", 2005, brought to
 * windows). So whoever is forgotten and comes back never has a count that is too low. */
enum {
    LEDGER_BUCKETS = 12,
    LEDGER_SUBJECT = 48, /* room for a subject's text, as it is kept to show it, with NUL */
    LEDGER_GROUPS = 256
};

struct ledger; /* owns its memory; one caller at a time */

struct ledger_key {
    uint64_t hash;    /* of rule and subject together, keyed, so that nobody can aim at a place */
    uint64_t group;   /* of the rule: whose floor counts for a key that is not in the table */
    uint32_t seconds; /* 1 to 31536000; equal for equal groups, so part of what group is made of */
};

/* keys_most is at least 1000. seed makes the choice of places differ between processes. NULL when
 * memory runs out. All memory is taken here or (the table) while it grows up to keys_most; a charge
 * that finds no memory to grow replaces a key instead. */
struct ledger *ledger_new(size_t keys_most, uint64_t seed);
void ledger_free(struct ledger *ledger);

/* A bucket's width in milliseconds. */
int64_t ledger_width(uint32_t seconds);

/* Events of the last `seconds`, never too low. */
uint64_t ledger_count(const struct ledger *ledger, const struct ledger_key *key, int64_t now);
/* Milliseconds until the count is at most `most`, if nothing is charged meanwhile; 0 = it is. (A
 * key that is not in the table and whose group shares a floor may have to wait again.) */
int64_t ledger_wait(const struct ledger *ledger, const struct ledger_key *key, uint64_t most,
                    int64_t now);

/* How a subject's text is kept: a long one by its beginning and a hash (printable_shorten), so that
 * two that begin alike are shown as two. */
void ledger_subject(const char *text, char to[LEDGER_SUBJECT]);

/* Counts `amount` events at `at` (not in the future of `now`; older than the window: no effect).
 * subject is the text to show (kept as ledger_subject has it); allowed is the limit that the key is
 * near or not near. record is the number of the journal's record that says so, ascending: what
 * comes with a record that is not above the one ledger_restore brought for the key is passed over.
 * One record may charge or refund the same key several times. 0: no record, never passed over. */
void ledger_charge(struct ledger *ledger, const struct ledger_key *key, const char *subject,
                   uint64_t allowed, uint32_t amount, int64_t at, int64_t now, uint64_t record);
/* Takes a charge back that was made at `at`. Nothing is taken back of a key that is not in the
 * table, or that was forgotten or reset since the charge. */
void ledger_refund(struct ledger *ledger, const struct ledger_key *key, uint32_t amount, int64_t at,
                   int64_t now, uint64_t record);
/* From here on the key has no events (and does not inherit the floor's). */
void ledger_reset(struct ledger *ledger, const struct ledger_key *key, const char *subject,
                  int64_t now, uint64_t record);

/* -- the snapshot --------------------------------------------------------------------------- */

/* A place of the table, or a group's floor, as it is kept on disk: each takes the place of the row
 * that had its `place`. */
struct ledger_row {
    int64_t place;                /* from 0 the table's; from -1 downwards the floors' */
    uint64_t hash, group, record; /* hash is 0 for a floor, and for a place that is empty */
    int64_t since;                /* of a key: no charge that was made before can be taken back */
    uint64_t allowed;
    int64_t bucket; /* number of the newest bucket: time / width */
    uint32_t seconds;
    uint32_t count[LEDGER_BUCKETS]; /* newest first */
    char subject[LEDGER_SUBJECT];
};

/* Copies up to `room` rows that have changed since they were copied last, from *cursor on (0 at the
 * beginning of a round), clears their mark and moves the cursor; returns how many. 0: the round is
 * over. room is more than LEDGER_GROUPS + 1: each call copies the floors that have changed before
 * any place, and what one call copied must reach the disk in one transaction, or a key could be
 * overwritten there whose floor is not there yet. When a round is over and on disk, the records up
 * to the last one at the *beginning* of the round are needed no more. */
size_t ledger_changed(struct ledger *ledger, struct ledger_row *rows, size_t room, size_t *cursor);
/* Marks all rows as changed (the snapshot on disk was lost). */
void ledger_touch(struct ledger *ledger);
/* Puts a row back, before anything is charged, in ascending order of place; a row that cannot be is
 * passed over (false). Its place may be another than before (keys_most is smaller now, a row was
 * damaged): the next round says so. Of two rows of one key the one with the larger record is kept.
 * Afterwards the journal is replayed from any record that is not above the one that was needed
 * last. */
bool ledger_restore(struct ledger *ledger, const struct ledger_row *row, int64_t now);

/* Keys in the table, and bytes held. */
size_t ledger_keys(const struct ledger *ledger);
size_t ledger_size(const struct ledger *ledger);

#endif
