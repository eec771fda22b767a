/* The keeper's half of the book: what a start puts back, what state.db is told, resets. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/book_keep.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "live/book_own.h"

void book_set_clock(struct book *book, bool same_boot, int64_t steady_offset, int64_t ledger,
                    int64_t wall, struct moment now)
{
    int64_t passed = now.wall > wall ? now.wall - wall : 0;

    book_lock(book);
    book->offset = steady_offset;
    if (!same_boot || now.steady + book->offset < ledger) {
        book->offset = ledger + (same_boot ? 0 : passed) - now.steady;
    }
    book_unlock(book);
}

int64_t book_clock_offset(struct book *book)
{
    book_lock(book);
    int64_t offset = book->offset;
    book_unlock(book);
    return offset;
}

int64_t book_clock(struct book *book, struct moment now)
{
    book_lock(book);
    int64_t time = book_time(book, now);
    book_unlock(book);
    return time;
}

enum status book_set_key(struct book *book, const unsigned char key[16], struct why *why)
{
    struct hash_key *made = NULL;
    enum status status = STATUS_OK;

    book_lock(book);
    struct hash_key *before = atomic_load(&book->hash_key);
    if (memcmp(before->bytes, key, sizeof before->bytes) != 0) {
        made = hash_key_new(key);
        status = made != NULL ? STATUS_OK : why_set(why, STATUS_BROKEN, "no memory for a key");
    }
    if (made != NULL) {
        made->before = before;
        atomic_store(&book->hash_key, made);
    }
    book_unlock(book);
    return status;
}

enum status book_keys(struct book *book, size_t keys_most, struct why *why)
{
    uint64_t seed = 0;

    randombytes_buf(&seed, sizeof seed);
    struct ledger *ledger = ledger_new(keys_most, seed);
    if (ledger == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory for keys_most = %zu counters", keys_most);
    }
    book_lock(book);
    struct ledger *before = book->ledger;
    book->ledger = ledger;
    book_unlock(book);
    ledger_free(before);
    return STATUS_OK;
}

void book_restore_counter(struct book *book, const struct ledger_row *row, struct moment now)
{
    book_lock(book);
    ledger_restore(book->ledger, row, book_time(book, now));
    book_unlock(book);
}

/* Its key is made from the subject's text, by which state.db knows it too. */
static void restore_block(struct book *book, const struct decision *record)
{
    struct block made;
    struct why why;

    memset(&made, 0, sizeof made);
    snprintf(made.subject, sizeof made.subject, "%.*s", (int)record->block_subject.size,
             record->block_subject.bytes);
    made.since = record->wall;
    made.until = record->block_until;
    made.until_steady = record->block_until_steady;
    made.strikes = record->block_strikes;
    made.reason = record->verdict.reason;
    made.rule = record->verdict.rule;
    made.number = record->number;
    if (book_block_key(book, NULL, made.subject, &made, &why) == STATUS_OK) {
        book_block(book, &made, true);
    }
}

void book_restore_record(struct book *book, const struct decision *record, uint64_t number,
                         uint64_t blocks_record, struct moment now)
{
    char text[SUBJECT_TEXT];

    book_lock(book);
    int64_t time = book_time(book, now);
    for (size_t i = 0; i < record->charges; i++) {
        const struct charge *one = &record->charge_list[i];
        struct ledger_key key = {one->hash, one->group, one->seconds};
        if (record->kind == RECORD_END) {
            ledger_refund(book->ledger, &key, one->amount, one->at, time, number);
            continue;
        }
        snprintf(text, sizeof text, "%.*s", (int)record->subject[one->subject].size,
                 record->subject[one->subject].bytes);
        if (record->kind == RECORD_RESET) {
            ledger_reset(book->ledger, &key, text, time, number);
        } else {
            ledger_charge(book->ledger, &key, text, one->allowed, one->amount, one->at, time,
                          number);
        }
    }
    book_unlock(book);
    if (record->kind == RECORD_DECISION && record->blocks && number > blocks_record &&
        record->block_until_steady > time) {
        restore_block(book, record);
    }
}

void book_attach(struct book *book, struct journal *journal)
{
    book_lock(book);
    book->journal = journal;
    book_unlock(book);
}

uint64_t book_turn(struct book *book, struct moment now)
{
    struct decision nothing;
    uint64_t record = 0;

    memset(&nothing, 0, sizeof nothing);
    nothing.kind = RECORD_END;
    nothing.wall = now.wall;
    book_lock(book);
    nothing.steady = book_time(book, now);
    if (book->journal != NULL) {
        journal_turn(book->journal);
        if (!book_append(book, &nothing, true, &record)) {
            record = 0;
        }
    }
    book_unlock(book);
    return record;
}

size_t book_counters(struct book *book, struct ledger_row *rows, size_t room, size_t *cursor)
{
    book_lock(book);
    size_t count = ledger_changed(book->ledger, rows, room, cursor);
    book_unlock(book);
    return count;
}

void book_touch(struct book *book)
{
    book_lock(book);
    ledger_touch(book->ledger);
    blocklist_touch(book->blocks);
    book_unlock(book);
}

size_t book_blocks(struct book *book, struct block *blocks, size_t room)
{
    book_lock(book);
    size_t count = blocklist_changed(book->blocks, blocks, room);
    book_unlock(book);
    return count;
}

size_t book_sweep(struct book *book, struct moment now, int64_t *rows, size_t room)
{
    book_lock(book);
    size_t count = blocklist_sweep(book->blocks, book_time(book, now), rows, room);
    book_unlock(book);
    return count;
}

void book_block_written(struct book *book, uint64_t key, int64_t row)
{
    book_lock(book);
    blocklist_written(book->blocks, key, row);
    book_unlock(book);
}

void book_blocks_again(struct book *book, const struct block *blocks, size_t count)
{
    book_lock(book);
    for (size_t i = 0; i < count; i++) {
        blocklist_unwritten(book->blocks, blocks[i].key);
    }
    book_unlock(book);
}

void book_sweep_again(struct book *book, const int64_t *rows, size_t count)
{
    book_lock(book);
    for (size_t i = 0; i < count; i++) {
        blocklist_untold(book->blocks, rows[i]);
    }
    book_unlock(book);
}

bool book_block_at(struct book *book, size_t n, struct block *block)
{
    book_lock(book);
    const struct block *found = blocklist_at(book->blocks, n);
    if (found != NULL) {
        *block = *found;
    }
    book_unlock(book);
    return found != NULL;
}

bool book_block_find(struct book *book, uint64_t key, struct block *block)
{
    book_lock(book);
    /* asked at the beginning of all times, so that those count that have ended */
    const struct block *found = blocklist_find(book->blocks, key, INT64_MIN);
    if (found != NULL) {
        *block = *found;
    }
    book_unlock(book);
    return found != NULL;
}

enum status book_block_key(struct book *book, const struct policy *policy, const char *subject,
                           struct block *block, struct why *why)
{
    struct subjects subjects;
    char text[SUBJECT_TEXT];
    bool relay = false;
    enum status status = subject_parse(policy, subject, &subjects, &relay, text, why);

    if (status != STATUS_OK) {
        return status;
    }
    const struct hash_key *key = atomic_load(&book->hash_key);
    enum subject kind = subjects.counted[SUBJECT_IDENTITY] ? SUBJECT_IDENTITY : SUBJECT_CLIENT;
    block->key = hash_block(key, hash_subject(key, &subjects, kind), relay);
    memcpy(block->subject, text,
           sizeof text < sizeof block->subject ? sizeof text : sizeof block->subject);
    return STATUS_OK;
}

bool book_block(struct book *book, const struct block *block, bool changed)
{
    book_lock(book);
    bool put = blocklist_put(book->blocks, block, changed);
    book_unlock(book);
    return put;
}

bool book_lift(struct book *book, uint64_t key)
{
    book_lock(book);
    bool removed = blocklist_remove(book->blocks, key);
    book_unlock(book);
    return removed;
}

struct windows *book_windows(struct book *book)
{
    return book->windows;
}

static void add_reset(const struct hash_key *hash_key, struct decision *reset,
                      struct charge *charges, uint64_t group, uint32_t seconds,
                      enum subject subject, const struct hashes *hashes)
{
    struct ledger_key key = hash_count(hash_key, group, seconds, hashes->subject[subject]);

    charges[reset->charges++] = (struct charge){key.hash,    key.group, reset->steady,         0,
                                                key.seconds, 0,         (unsigned char)subject};
}

enum status book_reset(struct book *book, const struct policy *policy, const char *subject,
                       struct moment now, size_t *counts, struct why *why)
{
    struct subjects subjects;
    struct limit limits[LIMITS_MOST];
    struct charge charges[DECISION_CHARGES];
    struct hashes hashes;
    char text[SUBJECT_TEXT];
    struct decision reset;
    bool relay = false;
    uint64_t record = 0;
    enum status status = subject_parse(policy, subject, &subjects, &relay, text, why);

    *counts = 0;
    if (status != STATUS_OK) {
        return status;
    }
    if (relay) {
        return why_set(why, STATUS_BAD, "%.100s: has no counts; write client:IP or identity:NAME",
                       subject);
    }
    bool client = subjects.counted[SUBJECT_CLIENT];
    subjects.counted[SUBJECT_WINDOW] = client; /* what it sends by login windows, too */
    size_t count = policy_limits(policy, &subjects, limits);
    memset(&reset, 0, sizeof reset);
    reset.kind = RECORD_RESET;
    reset.wall = now.wall;
    reset.charge_list = charges;
    reset.lifted = text_from(text);
    book_lock(book);
    reset.steady = book_time(book, now);
    const struct hash_key *hash_key = atomic_load(&book->hash_key);
    hash_subjects(hash_key, &subjects, &hashes);
    for (size_t i = 0; i < count && reset.charges + 1 < DECISION_CHARGES; i++) {
        add_reset(hash_key, &reset, charges, limits[i].group, limits[i].seconds, limits[i].subject,
                  &hashes);
    }
    add_reset(hash_key, &reset, charges, TRAP_GROUP, TRAP_SECONDS,
              client ? SUBJECT_WINDOW : SUBJECT_IDENTITY, &hashes);
    if (book_append(book, &reset, true, &record)) {
        for (size_t i = 0; i < reset.charges; i++) {
            struct ledger_key key = {charges[i].hash, charges[i].group, charges[i].seconds};
            ledger_reset(book->ledger, &key, text, reset.steady, record);
        }
        *counts = reset.charges;
    } else {
        status = why_set(why, STATUS_BUSY, "nothing can be recorded just now, try again");
    }
    book_unlock(book);
    return status;
}
