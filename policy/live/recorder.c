/* What the book has on disk: journal to state.db, and counts and blocks back after a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/recorder.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decision.h"
#include "live/moment.h"
#include "live/whole.h"
#include "store/statedb.h"
#include "store/statedb_block.h"
#include "store/statedb_counter.h"
#include "store/statedb_decision.h"
#include "store/statedb_note.h"
#include "store/statedb_prune.h"
#include "store/statedb_request.h"

enum {
    PATH_ROOM = 4096,
    KEY_SIZE = 16,
    NAME_MOST = 64,
    BATCH = 2000,       /* records in one transaction, */
    BATCHES = 8,        /* and transactions in one step */
    PRUNE = 2000,       /* decisions removed in one step */
    LOCK_WAIT_MS = 100, /* for whoever else has state.db locked */
    REQUESTS = 16,      /* of the tool, answered in one step */
    ROWS = 1024,        /* counters in one transaction, */
    ROUNDS = 16,        /* transactions of counters in one step, */
    ROUNDS_MOST = 64,   /* and when the journal waits for them */
    MARKS = 32,         /* hours: more than a day */
    AHEAD = 1024 * 1024 /* octets of records that are read before the first is written */
};
_Static_assert((int)AHEAD > (int)JOURNAL_RECORD, "one record is always read");

/* A record that was read; its octets stand behind it. */
struct held {
    uint64_t number;
    size_t size;
    size_t open; /* of an end: decisions whose rows do not tell it yet */
    bool sound;
};

/* An end that was read together with the decisions it is of, so that their rows are written once:
 * to change a row costs as much as to write it. */
struct ending {
    uint64_t decision; /* 0 = this place is empty */
    struct held *end;
    enum outcome outcome;
    struct text queue;
    bool written; /* with the decision's row */
};
enum { ENDINGS = 4096 }; /* places, a power of two; half of them are used at most */

/* A leap of the wall clock beyond this keeps decisions from being pruned for a day: they are not
 * old because somebody set a clock. */
#define LEAP_MS INT64_C(3600000)
#define LEAP_REST_MS INT64_C(86400000)

/* A new snapshot of the counters begins at most so often. */
#define SNAPSHOT_MS INT64_C(10000)
/* Beside the snapshot the newest records are kept for so long: they bring back what a lost state.db
 * had. */
#define KEPT_MS INT64_C(86400000)
#define MARK_MS INT64_C(3600000)
#define TURN_MS INT64_C(43200000)

/* The newest record of an hour. */
struct mark {
    uint64_t record;
    int64_t time; /* the ledger's */
};

struct recorder {
    struct book *book;
    struct journal *journal;
    size_t most;
    char *state_path;
    struct statedb *state; /* NULL = not open */
    struct journal_cursor cursor;
    unsigned char bytes[JOURNAL_RECORD]; /* the record that is read, */
    struct decision_room room;           /* and its arrays */
    unsigned char *ahead;                /* the records of one transaction, */
    struct ending *endings;              /* and what became of their decisions */
    uint64_t blocks;                     /* blocks of records up to this one are in state.db */
    uint64_t drained;                    /* records up to this one are in state.db, */
    uint64_t counted;                    /* those up to this one in its counters too */
    uint64_t released;                   /* and these the journal has let go */
    uint64_t turned;                     /* the last record that says nothing, in a new segment */
    bool counting;                       /* a snapshot of the counters is under way: */
    uint64_t counting_last;              /* the last record when it began, */
    size_t counting_at;                  /* and how far it is */
    int64_t counting_since;              /* when it began; steady */
    struct ledger_row *rows;             /* ROWS of them */
    struct statedb_request obeyed;       /* done, but its answer is not written yet; id 0: none */
    struct mark mark[MARKS];             /* in turn; mark[newest] is the newest */
    size_t newest;
    int64_t difference, prune_from; /* wall less steady; steady */
    void (*tell)(void *context, const char *sentence);
    void *context;
};

/* -- two small files ------------------------------------------------------------------------ */

/* Reads the first line; "" when the file is not there. */
static enum status read_line(const char *path, char *text, size_t room, struct why *why)
{
    FILE *file = fopen(path, "re");
    enum status status = STATUS_OK;

    text[0] = '\0';
    if (file == NULL) {
        return errno == ENOENT ? STATUS_OK
                               : why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
    }
    if (fgets(text, (int)room, file) == NULL && ferror(file)) {
        status = why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
        text[0] = '\0';
    }
    text[strcspn(text, "\n")] = '\0';
    fclose(file);
    return status;
}

/* The key of all hashes: without it the counts that are on disk could not be found again. */
static enum status take_key(const char *folder, struct book *book, struct why *why)
{
    unsigned char key[KEY_SIZE];
    char path[PATH_ROOM], text[NAME_MOST], line[NAME_MOST];
    size_t size = 0;

    snprintf(path, sizeof path, "%s/key", folder);
    enum status status = read_line(path, text, sizeof text, why);
    if (status != STATUS_OK) {
        return status;
    }
    if (sodium_hex2bin(key, sizeof key, text, strlen(text), NULL, &size, NULL) != 0 ||
        size != sizeof key) {
        randombytes_buf(key, sizeof key);
        sodium_bin2hex(text, sizeof text, key, sizeof key);
        snprintf(line, sizeof line, "%.40s\n", text);
        status = whole_write(path, line, 0600, true, why);
    }
    return status == STATUS_OK ? book_set_key(book, key, why) : status;
}

/* -- the records that are there ------------------------------------------------------------- */

/* The next record; it borrows from the recorder. STATUS_BUSY: there is no other. What cannot be
 * read is passed over: the cursor stands behind it, and journal_open has told of the damage, or
 * drain_batch will tell of another version. */
static enum status read_record(struct recorder *recorder, struct journal_cursor *cursor,
                               struct decision *decision, uint64_t *number)
{
    struct why why;
    size_t size;
    enum status status =
        journal_read(recorder->journal, cursor, recorder->bytes, &size, number, &why);

    return status == STATUS_OK ? decision_read(recorder->bytes, size, &recorder->room, decision)
                               : status;
}

/* Calls take for each record that can be read. */
static void each_record(struct recorder *recorder,
                        void (*take)(void *context, const struct decision *, uint64_t),
                        void *context)
{
    struct journal_cursor cursor = {0, 0, 0};
    struct decision decision;
    enum status status;
    uint64_t number;

    while ((status = read_record(recorder, &cursor, &decision, &number)) != STATUS_BUSY) {
        if (status == STATUS_OK) {
            take(context, &decision, number);
        }
    }
}

struct latest {
    int64_t ledger, wall;
};

static void take_time(void *context, const struct decision *decision, uint64_t number)
{
    struct latest *latest = context;

    (void)number;
    if (decision->steady >= latest->ledger) {
        *latest = (struct latest){decision->steady, decision->wall};
    }
}

struct restoring {
    struct recorder *recorder;
    uint64_t after;              /* numbers of records go on above this one */
    uint64_t blocks_record;      /* blocks up to this one are in state.db, or were lifted */
    struct latest latest;        /* what is known of the clocks */
    const struct policy *policy; /* NULL: none */
    struct moment now;
};

/* Remembers which records are how old. */
static void mark_record(struct recorder *recorder, uint64_t record, int64_t time)
{
    if (time - recorder->mark[recorder->newest].time >= MARK_MS) {
        recorder->newest = (recorder->newest + 1) % MARKS;
        recorder->mark[recorder->newest].time = time;
    }
    recorder->mark[recorder->newest].record = record;
}

/* How old the oldest record is that stands behind the last turn. */
static int64_t age_behind_turn(const struct recorder *recorder, int64_t time)
{
    int64_t oldest = time;

    for (size_t i = 0; i < MARKS; i++) {
        const struct mark *mark = &recorder->mark[i];
        if (mark->record > recorder->turned && mark->time < oldest) {
            oldest = mark->time;
        }
    }
    return time - oldest;
}

/* The newest record that is older than KEPT_MS; 0 if there is none. */
static uint64_t old_record(const struct recorder *recorder, int64_t time)
{
    uint64_t record = 0;

    for (size_t i = 0; i < MARKS; i++) {
        const struct mark *mark = &recorder->mark[i];
        if (mark->time + MARK_MS + KEPT_MS <= time && mark->record > record) {
            record = mark->record;
        }
    }
    return record;
}

static void take_record(void *context, const struct decision *decision, uint64_t number)
{
    struct restoring *restoring = context;

    mark_record(restoring->recorder, number, decision->steady);
    if (decision->kind == RECORD_END && decision->numbers == 0 && decision->charges == 0) {
        restoring->recorder->turned = number;
    }
    book_restore_record(restoring->recorder->book, decision, number, restoring->blocks_record,
                        restoring->now);
}

static bool take_counter(void *context, const struct ledger_row *row)
{
    struct restoring *restoring = context;

    book_restore_counter(restoring->recorder->book, row, restoring->now);
    return true;
}

/* The ledger's clock goes on with the steady clock within one run of the machine, otherwise by what
 * the wall clock says has passed since the last record, or since state.db was written. */
static enum status take_clock(const char *folder, struct recorder *recorder, struct latest latest,
                              struct moment now, struct why *why)
{
    char path[PATH_ROOM], text[128], boot[MOMENT_BOOT], known[MOMENT_BOOT] = "";
    int64_t offset = 0;

    moment_boot(boot);
    snprintf(path, sizeof path, "%s/clock", folder);
    enum status status = read_line(path, text, sizeof text, why);
    if (status != STATUS_OK) {
        return status;
    }
    if (sscanf(text, "%47s %" SCNd64, known, &offset) != 2) {
        known[0] = '\0';
    }
    each_record(recorder, take_time, &latest);
    bool same_boot = boot[0] != '\0' && strcmp(boot, known) == 0;
    book_set_clock(recorder->book, same_boot, offset, latest.ledger, latest.wall, now);
    snprintf(text, sizeof text, "%s %" PRId64 "\n", boot[0] != '\0' ? boot : "-",
             book_clock_offset(recorder->book));
    return whole_write(path, text, 0600, true, why);
}

/* -- into state.db --------------------------------------------------------------------------- */

static void close_state(struct recorder *recorder)
{
    statedb_close(recorder->state);
    recorder->state = NULL;
}

/* Another file stands under the name, or will: into it goes all that is still known. The blocks
 * too, or their rows, which are not there, would be taken for lifted. */
static void begin_anew(struct recorder *recorder)
{
    recorder->cursor = (struct journal_cursor){0, 0, 0};
    recorder->drained = recorder->blocks = recorder->counted = 0;
    recorder->counting = false;
    recorder->obeyed.id = 0;
    book_touch(recorder->book);
}

static void lose_state(struct recorder *recorder)
{
    close_state(recorder);
    begin_anew(recorder);
}

/* A damaged state.db is kept under another name. */
static enum status set_aside(struct recorder *recorder, struct moment now, const struct why *damage,
                             struct why *why)
{
    char aside[PATH_ROOM], sentence[PATH_ROOM + 400];

    lose_state(recorder);
    enum status status = statedb_set_aside(recorder->state_path, now.wall, aside, why);
    if (status == STATUS_OK && recorder->tell != NULL) {
        snprintf(sentence, sizeof sentence, "%s; the file is kept as %s, and a new one is made",
                 damage->text, aside);
        recorder->tell(recorder->context, sentence);
    }
    return status;
}

/* Has the file that was opened just now what we have written? While it was closed somebody may have
 * removed it or put an older one there. */
static enum status check_state(struct recorder *recorder, struct why *why)
{
    char drained[64] = "", counted[64] = "";
    enum status status =
        statedb_value(recorder->state, "drained_record", drained, sizeof drained, why);

    if (status == STATUS_OK) {
        status = statedb_value(recorder->state, "counters_record", counted, sizeof counted, why);
    }
    if (status != STATUS_OK) {
        close_state(recorder);
    } else if (drained[0] == '\0' || strtoull(drained, NULL, 10) < recorder->drained ||
               strtoull(counted, NULL, 10) < recorder->counted) {
        begin_anew(recorder);
    }
    return status;
}

static enum status open_state(struct recorder *recorder, struct moment now, struct why *why)
{
    bool newer = false;
    struct why damage;

    if (recorder->state != NULL && !statedb_same(recorder->state)) {
        lose_state(recorder); /* removed or replaced */
    }
    if (recorder->state != NULL) {
        return STATUS_OK;
    }
    enum status status = statedb_open(recorder->state_path, STATEDB_DAEMON, LOCK_WAIT_MS,
                                      &recorder->state, &newer, why);
    if (status == STATUS_BAD && !newer) {
        damage = *why;
        status = set_aside(recorder, now, &damage, why);
        if (status == STATUS_OK) {
            status = statedb_open(recorder->state_path, STATEDB_DAEMON, LOCK_WAIT_MS,
                                  &recorder->state, &newer, why);
        }
    }
    return status == STATUS_OK ? check_state(recorder, why) : status;
}

static enum status put_number(struct recorder *recorder, const char *name, uint64_t number,
                              struct why *why)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRIu64, number);
    return statedb_put_value(recorder->state, name, text, why);
}

/* What the ledger's clock says now, for a start after a reboot. */
static enum status put_clock(struct recorder *recorder, struct moment now, struct why *why)
{
    char text[64];

    snprintf(text, sizeof text, "%" PRId64 " %" PRId64, book_clock(recorder->book, now), now.wall);
    return statedb_put_value(recorder->state, "clock", text, why);
}

/* The place of a decision's ending, or an empty one. */
static struct ending *find_ending(struct recorder *recorder, uint64_t decision)
{
    size_t at = (size_t)decision % ENDINGS; /* numbers follow each other: they seldom meet */

    while (recorder->endings[at].decision != 0 && recorder->endings[at].decision != decision) {
        at = (at + 1) % ENDINGS;
    }
    return &recorder->endings[at];
}

/* Notes what became of the decisions of one message. What has no place is written as a change. */
static void note_end(struct recorder *recorder, struct held *held, const struct decision *end,
                     size_t *used)
{
    held->open = end->numbers;
    for (size_t i = 0; i < end->numbers; i++) {
        struct ending *ending = find_ending(recorder, end->number_list[i]);

        if (end->number_list[i] == 0 || ending->decision != 0 || *used == ENDINGS / 2) {
            continue;
        }
        (*used)++;
        *ending = (struct ending){end->number_list[i], held, end->outcome, end->queue, false};
    }
}

static struct held *next_held(struct held *held)
{
    size_t size = sizeof *held + (held->size + sizeof *held - 1) / sizeof *held * sizeof *held;

    return (struct held *)(void *)((unsigned char *)held + size);
}

/* Reads the records of one transaction and notes the ends among them. *more: there may be others.
 */
static size_t read_ahead(struct recorder *recorder, bool *more)
{
    struct held *held = (struct held *)(void *)recorder->ahead;
    const unsigned char *last = recorder->ahead + AHEAD - sizeof *held * 2 - JOURNAL_RECORD;
    struct decision decision;
    size_t count = 0, used = 0;
    enum status read;
    struct why why;

    memset(recorder->endings, 0, ENDINGS * sizeof *recorder->endings);
    while (count < BATCH && (const unsigned char *)held <= last) {
        unsigned char *bytes = (unsigned char *)(held + 1);
        *held = (struct held){0, 0, 1, false};
        read = journal_read(recorder->journal, &recorder->cursor, bytes, &held->size, &held->number,
                            &why);
        if (read == STATUS_BUSY) {
            *more = false;
            return count;
        }
        count++;
        held->sound = read == STATUS_OK;
        held->size = held->sound ? held->size : 0;
        if (held->sound && decision_kind(bytes, held->size) == RECORD_END &&
            decision_read(bytes, held->size, &recorder->room, &decision) == STATUS_OK) {
            note_end(recorder, held, &decision, &used);
        }
        held = next_held(held);
    }
    *more = true;
    return count;
}

/* A decision, with what became of it if that is known. */
static enum status put_decision(struct recorder *recorder, struct decision *decision,
                                struct why *why)
{
    struct ending *ending = find_ending(recorder, decision->number);

    if (decision->number != 0 && ending->decision != 0) {
        decision->outcome = ending->outcome;
        decision->queue = ending->queue.size > 0 ? ending->queue : decision->queue;
        ending->end->open -= !ending->written;
        ending->written = true;
    }
    return statedb_put_decision(recorder->state, decision, why);
}

/* An end: changes the rows that were written without it. */
static enum status put_end(struct recorder *recorder, const struct held *held, struct decision *end,
                           struct why *why)
{
    uint64_t *numbers = recorder->room.number;
    size_t count = 0;

    for (size_t i = 0; i < end->numbers; i++) {
        const struct ending *ending = find_ending(recorder, numbers[i]);
        if (numbers[i] == 0 || ending->decision == 0 || ending->end != held || !ending->written) {
            numbers[count++] = numbers[i];
        }
    }
    end->numbers = count;
    return count > 0 ? statedb_put_end(recorder->state, end, why) : STATUS_OK;
}

static void tell_foreign(const struct recorder *recorder, size_t count)
{
    char sentence[200];

    if (count > 0 && recorder->tell != NULL) {
        snprintf(
            sentence, sizeof sentence,
            "the journal holds records of another version of sekisho: %zu of them are lost for "
            "state.db and the counts",
            count);
        recorder->tell(recorder->context, sentence);
    }
}

/* One transaction; *more: there may be others. */
static enum status drain_batch(struct recorder *recorder, bool *more, struct why *why)
{
    struct journal_cursor before = recorder->cursor;
    uint64_t drained = recorder->drained;
    struct held *held = (struct held *)(void *)recorder->ahead;
    struct decision decision;
    size_t foreign = 0;
    bool others;

    *more = false;
    if (journal_last(recorder->journal) <= recorder->drained) {
        return STATUS_OK;
    }
    size_t count = read_ahead(recorder, &others);
    enum status status = statedb_begin(recorder->state, why);
    for (size_t i = 0; status == STATUS_OK && i < count; i++, held = next_held(held)) {
        if (!held->sound) {
            continue;
        }
        drained = held->number;
        if (held->open == 0) {
            continue;
        }
        if (decision_read((unsigned char *)(held + 1), held->size, &recorder->room, &decision) !=
            STATUS_OK) {
            foreign++;
            continue;
        }
        if (decision.kind == RECORD_DECISION) {
            status = put_decision(recorder, &decision, why);
        } else if (decision.kind == RECORD_END) {
            status = put_end(recorder, held, &decision, why);
        }
    }
    if (status == STATUS_OK && count > 0) {
        status = put_number(recorder, "blocks_record", recorder->blocks, why);
    }
    if (status == STATUS_OK && count > 0) {
        status = put_number(recorder, "drained_record", drained, why);
    }
    status = statedb_finish(recorder->state, status, why);
    if (status != STATUS_OK) {
        recorder->cursor = before;
        return status;
    }
    recorder->drained = drained;
    *more = others;
    tell_foreign(recorder, foreign);
    return STATUS_OK;
}

/* Blocks that began or changed, and rows of those that are over or lifted. */
static enum status put_blocks(struct recorder *recorder, struct moment now, struct why *why)
{
    struct block blocks[8];
    int64_t rows[64];
    size_t count;
    uint64_t last = journal_last(recorder->journal);
    enum status status = STATUS_OK;

    while (status == STATUS_OK && (count = book_blocks(recorder->book, blocks, 8)) > 0) {
        status = statedb_begin(recorder->state, why);
        if (status == STATUS_OK) {
            status = put_clock(recorder, now, why);
        }
        for (size_t i = 0; i < count && status == STATUS_OK; i++) {
            bool begins = blocks[i].row == 0 && !blocks[i].by_hand;
            status = statedb_put_block(recorder->state, &blocks[i], why);
            if (status == STATUS_OK && begins) {
                status =
                    statedb_put_note(recorder->state, blocks[i].since, "block", blocks[i].subject,
                                     blocks[i].number, reason_row(blocks[i].reason)->cause, why);
            }
        }
        status = statedb_finish(recorder->state, status, why);
        for (size_t i = 0; i < count && status == STATUS_OK; i++) {
            book_block_written(recorder->book, blocks[i].key, blocks[i].row);
        }
        if (status != STATUS_OK) {
            book_blocks_again(recorder->book, blocks, count);
        }
    }
    while (status == STATUS_OK && (count = book_sweep(recorder->book, now, rows, 64)) > 0) {
        status = statedb_begin(recorder->state, why);
        for (size_t i = 0; i < count && status == STATUS_OK; i++) {
            status = statedb_drop_block(recorder->state, rows[i], why);
        }
        status = statedb_finish(recorder->state, status, why);
        if (status != STATUS_OK) {
            /* a row that stayed would be read as a block that somebody has added */
            book_sweep_again(recorder->book, rows, count);
        }
    }
    if (status == STATUS_OK) {
        recorder->blocks = last;
    }
    return status;
}

/* What stands in the table block now. */
struct blocks_read {
    struct recorder *recorder;
    const struct policy *policy;
    struct moment now;
    int64_t clock;
    uint64_t *keys;
    size_t count, room;
    bool broken;
};

static bool take_block(void *context, const struct block *row)
{
    struct blocks_read *read = context;
    struct block block = *row, known;
    struct why why;

    if (book_block_key(read->recorder->book, read->policy, row->subject, &block, &why) !=
        STATUS_OK) {
        return true; /* says nothing under this policy */
    }
    if (read->count == read->room) {
        size_t room = read->room * 2 + 64;
        uint64_t *keys = realloc(read->keys, room * sizeof *keys);
        if (keys == NULL) {
            read->broken = true;
            return false;
        }
        read->keys = keys;
        read->room = room;
    }
    read->keys[read->count++] = block.key;
    bool by_wall = row->until_steady == STATEDB_BY_WALL;
    if (by_wall) {
        block.until_steady =
            row->until == INT64_MAX ? INT64_MAX : read->clock + row->until - read->now.wall;
    }
    if (by_wall || !book_block_find(read->recorder->book, block.key, &known)) {
        book_block(read->recorder->book, &block, by_wall);
    }
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* All rows, into the book; read.keys is to be freed. */
static enum status take_blocks(struct recorder *recorder, struct blocks_read *read, struct why *why)
{
    enum status status = statedb_blocks(recorder->state, take_block, read, why);

    if (status == STATUS_OK && read->broken) {
        status = why_set(why, STATUS_BROKEN, "no memory to read the blocks");
    }
    return status;
}

/* Rows that an administrator has added, changed or deleted. */
static enum status read_blocks(struct recorder *recorder, const struct policy *policy,
                               struct moment now, struct why *why)
{
    struct blocks_read read = {recorder, policy, now, book_clock(recorder->book, now),
                               NULL,     0,      0,   false};
    struct block block;
    bool changed = false;
    /* without a policy nobody knows whom a row means, and nothing is permitted */
    enum status status =
        policy != NULL ? statedb_changed(recorder->state, &changed, why) : STATUS_OK;

    if (status == STATUS_OK && changed) {
        status = take_blocks(recorder, &read, why);
    }
    if (status == STATUS_OK && changed) {
        if (read.count > 0) {
            qsort(read.keys, read.count, sizeof *read.keys, by_number);
        }
        for (size_t n = 0; book_block_at(recorder->book, n, &block);) {
            bool there = read.count > 0 && bsearch(&block.key, read.keys, read.count,
                                                   sizeof *read.keys, by_number) != NULL;
            if (there || block.row == 0 || !book_lift(recorder->book, block.key)) {
                n++;
            } else {
                n = 0; /* the order may be another now */
            }
        }
    }
    free(read.keys);
    return status;
}

/* -- the snapshot of the counters ------------------------------------------------------------ */

static void begin_counting(struct recorder *recorder, struct moment now)
{
    recorder->counting = true;
    recorder->counting_last = journal_last(recorder->journal);
    recorder->counting_at = 0;
    recorder->counting_since = now.steady;
}

/* Goes on with the snapshot, by so many transactions; at its end the records that it holds are
 * needed no more. */
static enum status put_counters(struct recorder *recorder, struct moment now, size_t transactions,
                                struct why *why)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && recorder->counting && i < transactions; i++) {
        size_t count = book_counters(recorder->book, recorder->rows, ROWS, &recorder->counting_at);
        status = statedb_begin(recorder->state, why);
        if (status == STATUS_OK && count > 0) {
            status = statedb_put_counters(recorder->state, recorder->rows, count, why);
        } else if (status == STATUS_OK) {
            status = put_number(recorder, "counters_record", recorder->counting_last, why);
        }
        if (status == STATUS_OK && count == 0) {
            status = put_number(recorder, "counters_at", (uint64_t)now.wall, why);
        }
        if (status == STATUS_OK) {
            status = put_clock(recorder, now, why);
        }
        status = statedb_finish(recorder->state, status, why);
        if (status != STATUS_OK) {
            recorder->counting = false;
            book_touch(recorder->book);
        } else if (count == 0) {
            recorder->counting = false;
            recorder->counted = recorder->counting_last;
        }
    }
    return status;
}

static enum status keep_counters(struct recorder *recorder, struct moment now, struct why *why)
{
    bool waits = journal_waiting(recorder->journal) > recorder->most + recorder->most / 2;

    if (!recorder->counting && journal_last(recorder->journal) > recorder->counted &&
        (waits || now.steady - recorder->counting_since >= SNAPSHOT_MS)) {
        begin_counting(recorder, now);
    }
    return put_counters(recorder, now, waits ? ROUNDS_MOST : ROUNDS, why);
}

/* Does what the tool asks for; the answer is in the request. */
static void obey(struct recorder *recorder, const struct policy *policy, struct moment now,
                 struct statedb_request *request)
{
    struct block block;
    struct why why = {""};
    size_t counts = 0;

    memset(&block, 0, sizeof block);
    request->done = false;
    bool windows = windows_verb(request->verb);
    bool blocks = strcmp(request->verb, "lift") == 0 || strcmp(request->verb, "add") == 0;
    if (policy == NULL && strcmp(request->verb, "sync") != 0) {
        why_set(&why, STATUS_BAD, "no policy is in force");
    } else if (blocks && book_block_key(recorder->book, policy, request->subject, &block, &why) !=
                             STATUS_OK) {
        request->done = false;
    } else if (windows) {
        windows_obey(book_windows(recorder->book), recorder->state, policy,
                     book_clock(recorder->book, now), now, request, &why);
    } else if (strcmp(request->verb, "lift") == 0) {
        request->done = book_lift(recorder->book, block.key);
        why_set(&why, STATUS_OK, request->done ? "%.150s: lifted" : "%.150s: was not blocked",
                block.subject);
    } else if (strcmp(request->verb, "add") == 0) {
        bool open = request->seconds == 0;
        block.since = now.wall;
        block.until = open ? INT64_MAX : now.wall + request->seconds * 1000;
        block.until_steady =
            open ? INT64_MAX : book_clock(recorder->book, now) + request->seconds * 1000;
        block.strikes = 1;
        block.by_hand = true;
        snprintf(block.note, sizeof block.note, "%s", request->note);
        request->done = book_block(recorder->book, &block, true);
        why_set(&why, STATUS_OK, request->done ? "%.150s: blocked" : "%.150s: no memory",
                block.subject);
    } else if (strcmp(request->verb, "reset") == 0) {
        request->done =
            book_reset(recorder->book, policy, request->subject, now, &counts, &why) == STATUS_OK;
        if (request->done) {
            why_set(&why, STATUS_OK, "%.150s: %zu counts set to nothing", request->subject, counts);
        }
    } else if (strcmp(request->verb, "sync") == 0) {
        begin_counting(recorder, now);
        request->done = put_counters(recorder, now, SIZE_MAX, &why) == STATUS_OK;
        if (request->done) {
            why_set(&why, STATUS_OK, "written down");
        }
    } else {
        why_set(&why, STATUS_BAD, "%.15s: not known to this daemon", request->verb);
    }
    snprintf(request->answer, sizeof request->answer, "%s", why.text);
    request->answered = true;
}

static enum status answer_requests(struct recorder *recorder, const struct policy *policy,
                                   struct moment now, struct why *why)
{
    struct statedb_request request;
    enum status status = STATUS_OK;
    bool found = true;

    for (int i = 0; i < REQUESTS && status == STATUS_OK && found; i++) {
        status = statedb_next_request(recorder->state, &request, &found, why);
        if (status != STATUS_OK || !found) {
            break;
        }
        if (request.id != recorder->obeyed.id) {
            obey(recorder, policy, now, &request);
            recorder->obeyed = request;
        }
        request = recorder->obeyed; /* obeyed once, however often the answer fails to be written */
        status = put_blocks(recorder, now, why);
        if (status == STATUS_OK) {
            status = statedb_begin(recorder->state, why);
        }
        if (status == STATUS_OK) {
            status = statedb_put_answer(recorder->state, &request, now.wall, why);
            status = statedb_finish(recorder->state, status, why);
        }
        if (status == STATUS_OK) {
            recorder->obeyed.id = 0;
        }
    }
    return status;
}

static enum status prune(struct recorder *recorder, const struct policy *policy, struct moment now,
                         struct why *why)
{
    int64_t difference = now.wall - now.steady, leap = difference - recorder->difference;
    size_t gone = 0;

    recorder->difference = difference;
    if (leap > LEAP_MS || leap < -LEAP_MS) {
        recorder->prune_from = now.steady + LEAP_REST_MS;
    }
    if (policy == NULL || now.steady < recorder->prune_from) {
        return STATUS_OK;
    }
    int64_t kept = policy_number(policy, SETTING_RETENTION) * INT64_C(86400000);
    enum status status = statedb_begin(recorder->state, why);
    if (status == STATUS_OK) {
        status = statedb_prune(recorder->state, now.wall - kept, PRUNE, &gone, why);
    }
    return statedb_finish(recorder->state, status, why);
}

static enum status drain(struct recorder *recorder, const struct policy *policy, struct moment now,
                         struct why *why)
{
    bool more = true;
    enum status status = open_state(recorder, now, why);

    if (status == STATUS_OK) {
        status = statedb_whole(recorder->state, why);
    }
    if (status == STATUS_OK) {
        status = put_blocks(recorder, now, why);
    }
    if (status == STATUS_OK) {
        status = read_blocks(recorder, policy, now, why);
    }
    for (int i = 0; status == STATUS_OK && more && i < BATCHES; i++) {
        status = drain_batch(recorder, &more, why);
    }
    if (status == STATUS_OK) {
        status = keep_counters(recorder, now, why);
    }
    if (status == STATUS_OK) {
        status = answer_requests(recorder, policy, now, why);
    }
    if (status == STATUS_OK) {
        status = windows_step(book_windows(recorder->book), recorder->state,
                              book_clock(recorder->book, now), why);
    }
    if (status == STATUS_OK) {
        status = prune(recorder, policy, now, why);
    }
    if (status == STATUS_BAD && recorder->state != NULL) {
        struct why damage = *why;
        status = set_aside(recorder, now, &damage, why);
    } else if (status == STATUS_BROKEN) {
        close_state(recorder); /* and opened anew at the next step */
    }
    return status;
}

/* What state.db has of an earlier process: how far its blocks and counters go, its clock. */
static enum status read_state(struct recorder *recorder, struct restoring *restoring,
                              struct why *why)
{
    char value[64] = "";
    struct latest *latest = &restoring->latest;
    enum status status = statedb_value(recorder->state, "blocks_record", value, sizeof value, why);

    if (status == STATUS_OK) {
        restoring->blocks_record = strtoull(value, NULL, 10);
        status = statedb_value(recorder->state, "counters_record", value, sizeof value, why);
    }
    if (status == STATUS_OK) {
        recorder->counted = strtoull(value, NULL, 10);
        status = statedb_value(recorder->state, "clock", value, sizeof value, why);
    }
    if (status == STATUS_OK &&
        sscanf(value, "%" SCNd64 " %" SCNd64, &latest->ledger, &latest->wall) != 2) {
        *latest = (struct latest){0, restoring->now.wall};
    }
    return status;
}

/* The book as it was: counters of state.db first, then what the records say. A state.db that is
 * damaged is set aside, and the records are all there is. */
static enum status restore(struct recorder *recorder, const char *folder,
                           struct restoring *restoring, struct why *why)
{
    struct moment now = restoring->now;
    char path[PATH_ROOM];
    enum status status = open_state(recorder, now, why);
    if (status == STATUS_OK) {
        status = read_state(recorder, restoring, why);
    }
    if (status == STATUS_OK) {
        /* also where somebody has removed the journal */
        uint64_t known = restoring->blocks_record > recorder->counted ? restoring->blocks_record
                                                                      : recorder->counted;
        restoring->after = known > restoring->after ? known : restoring->after;
        snprintf(path, sizeof path, "%s/journal", folder);
        status = journal_open(path, recorder->most * 2, restoring->after, recorder->tell,
                              recorder->context, &recorder->journal, why);
    }
    if (status == STATUS_OK) {
        status = take_clock(folder, recorder, restoring->latest, now, why);
    }
    if (status == STATUS_OK) {
        status = statedb_counters(recorder->state, take_counter, restoring, why);
    }
    if (status == STATUS_OK && restoring->policy != NULL) {
        struct blocks_read read = {
            recorder, restoring->policy, now, book_clock(recorder->book, now), NULL, 0, 0, false};
        status = take_blocks(recorder, &read, why);
        free(read.keys);
    }
    if (status == STATUS_OK) {
        each_record(recorder, take_record, restoring);
    }
    return status;
}

enum status recorder_open(const char *folder, const char *state_path, struct book *book,
                          const struct policy *policy, struct moment now,
                          void (*tell)(void *context, const char *sentence), void *context,
                          struct recorder **opened, struct why *why)
{
    struct recorder *recorder = calloc(1, sizeof *recorder);
    struct restoring restoring = {recorder, 0, 0, {0, now.wall}, policy, now};
    struct why damage;
    enum status status;

    *opened = NULL;
    if (recorder == NULL || (recorder->state_path = strdup(state_path)) == NULL ||
        (recorder->rows = malloc(ROWS * sizeof *recorder->rows)) == NULL ||
        (recorder->ahead = malloc(AHEAD)) == NULL ||
        (recorder->endings = calloc(ENDINGS, sizeof *recorder->endings)) == NULL) {
        status = why_set(why, STATUS_BROKEN, "no memory for the journal");
        goto out;
    }
    recorder->book = book;
    recorder->tell = tell;
    recorder->context = context;
    recorder->difference = now.wall - now.steady;
    recorder->most = (size_t)setting_kind(SETTING_RING_SIZE)->number;
    recorder->counting_since = now.steady;
    status = take_key(folder, book, why);
    if (status == STATUS_OK) {
        status = restore(recorder, folder, &restoring, why);
    }
    if (status == STATUS_BAD && recorder->state != NULL) {
        damage = *why;
        status = set_aside(recorder, now, &damage, why);
        journal_close(recorder->journal);
        recorder->journal = NULL;
        /* counters that were read before the damage stay, and with them the numbers they know */
        restoring = (struct restoring){recorder, restoring.after, 0, {0, now.wall}, policy, now};
        if (status == STATUS_OK) {
            status = restore(recorder, folder, &restoring, why);
        }
    }
    if (status == STATUS_OK) {
        windows_restore(book_windows(book), recorder->state, book_clock(book, now));
        book_attach(book, recorder->journal);
        *opened = recorder;
        recorder = NULL;
    }
out:
    recorder_close(recorder);
    return status;
}

/* Lets the records go that state.db has, in decisions, counters and blocks: the oldest when more
 * than ring_size are there, and what is a day old (a day and a half, since only whole segments go).
 */
static enum status release(struct recorder *recorder, struct moment now, struct why *why)
{
    uint64_t last = journal_last(recorder->journal), release = 0;
    int64_t time = book_clock(recorder->book, now);

    mark_record(recorder, last, time);
    if (age_behind_turn(recorder, time) >= TURN_MS) {
        uint64_t turned = book_turn(recorder->book, now);
        recorder->turned = turned > 0 ? turned : recorder->turned;
    }
    if (journal_waiting(recorder->journal) > recorder->most && last > recorder->most) {
        release = last - recorder->most;
    }
    uint64_t old = old_record(recorder, time);
    release = old > release ? old : release;
    release = release < recorder->drained ? release : recorder->drained;
    release = release < recorder->counted ? release : recorder->counted;
    release = release < recorder->blocks ? release : recorder->blocks;
    if (release <= recorder->released || recorder->state == NULL) {
        return STATUS_OK;
    }
    enum status status = statedb_sync(recorder->state, why);
    if (status == STATUS_OK) {
        journal_release(recorder->journal, release);
        recorder->released = release;
    }
    return status;
}

enum status recorder_step(struct recorder *recorder, const struct policy *policy, struct moment now,
                          struct why *why)
{
    struct why inner;

    if (policy != NULL) {
        recorder->most = (size_t)policy_number(policy, SETTING_RING_SIZE);
        journal_limit(recorder->journal, recorder->most * 2);
    }
    /* first, since the writer waits for it, and bringing records to the disk may take a while */
    journal_extend(recorder->journal, &inner);
    enum status status = journal_sync(recorder->journal, why);
    enum status drained = drain(recorder, policy, now, &inner);
    if (drained == STATUS_OK) {
        drained = release(recorder, now, &inner);
    }
    if (status == STATUS_OK && drained != STATUS_OK) {
        *why = inner;
        status = drained;
    }
    if (journal_extend(recorder->journal, &inner) != STATUS_OK && status == STATUS_OK) {
        *why = inner;
        status = STATUS_BROKEN;
    }
    return status;
}

void recorder_wake(struct recorder *recorder, int file)
{
    journal_wake(recorder->journal, file);
}

void recorder_room(struct recorder *recorder)
{
    struct why why;

    if (recorder != NULL) {
        journal_extend(recorder->journal, &why);
    }
}

void recorder_close(struct recorder *recorder)
{
    struct why why;

    if (recorder != NULL) {
        if (recorder->journal != NULL) {
            book_attach(recorder->book, NULL);
            journal_sync(recorder->journal, &why);
        }
        statedb_close(recorder->state);
        journal_close(recorder->journal);
        free(recorder->rows);
        free(recorder->state_path);
        free(recorder->ahead);
        free(recorder->endings);
        free(recorder);
    }
}
