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

enum {
    PATH_ROOM = 4096,
    KEY_SIZE = 16,
    NAME_MOST = 64,
    BATCH = 2000,       /* records in one transaction, */
    BATCHES = 8,        /* and transactions in one step */
    PRUNE = 2000,       /* decisions removed in one step */
    LOCK_WAIT_MS = 100, /* for whoever else has state.db locked */
    REQUESTS = 16,      /* of the tool, answered in one step */
    ROWS = 1024         /* counters in one transaction */
};

/* A leap of the wall clock beyond this keeps decisions from being pruned for a day: they are not
 * old because somebody set a clock. */
#define LEAP_MS INT64_C(3600000)
#define LEAP_REST_MS INT64_C(86400000)

struct recorder {
    struct book *book;
    struct journal *journal;
    size_t most;
    char *state_path;
    struct statedb *state; /* NULL = not open */
    struct journal_cursor cursor;
    unsigned char bytes[JOURNAL_RECORD]; /* the record that is read, */
    struct decision_room room;           /* and its arrays */
    uint64_t blocks;                     /* blocks of records up to this one are in state.db */
    uint64_t drained;                    /* records up to this one are in state.db */
    int64_t difference, prune_from;      /* wall less steady; steady */
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
    if (status == STATUS_OK) {
        book_set_key(book, key);
    }
    return status;
}

/* -- the records that are there ------------------------------------------------------------- */

/* The next record; it borrows from the recorder. STATUS_BUSY: there is no other. What cannot be
 * read is passed over: the cursor stands behind it, and journal_open has told of the damage. */
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
    struct book *book;
    uint64_t blocks_record; /* blocks up to this one are in state.db, or were lifted */
    struct moment now;
};

static void take_record(void *context, const struct decision *decision, uint64_t number)
{
    struct restoring *restoring = context;

    book_restore_record(restoring->book, decision, number, restoring->blocks_record,
                        restoring->now);
}

/* The ledger's clock goes on with the steady clock within one run of the machine, otherwise by what
 * the wall clock says has passed since the last record. */
static enum status take_clock(const char *folder, struct recorder *recorder, struct moment now,
                              struct why *why)
{
    struct latest latest = {0, now.wall};
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

/* Another file will stand under the name: into it goes all that is still known. The blocks too, or
 * their rows, which are not there, would be taken for lifted. */
static void lose_state(struct recorder *recorder)
{
    close_state(recorder);
    recorder->cursor = (struct journal_cursor){0, 0, 0};
    recorder->drained = recorder->blocks = 0;
    book_touch(recorder->book);
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

static enum status open_state(struct recorder *recorder, struct moment now, struct why *why)
{
    bool newer = false;
    struct why inner;

    if (recorder->state != NULL && !statedb_same(recorder->state)) {
        lose_state(recorder); /* removed or replaced */
    }
    if (recorder->state != NULL) {
        return STATUS_OK;
    }
    enum status status = statedb_open(recorder->state_path, STATEDB_DAEMON, LOCK_WAIT_MS,
                                      &recorder->state, &newer, &inner);
    if (status == STATUS_BAD && !newer) {
        status = set_aside(recorder, now, &inner, why);
        if (status == STATUS_OK) {
            status = statedb_open(recorder->state_path, STATEDB_DAEMON, LOCK_WAIT_MS,
                                  &recorder->state, &newer, &inner);
        }
    }
    if (status != STATUS_OK) {
        *why = inner;
    }
    return status;
}

static enum status put_number(struct recorder *recorder, const char *name, uint64_t number,
                              struct why *why)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRIu64, number);
    return statedb_put_value(recorder->state, name, text, why);
}

/* Ends a transaction: commit, or rollback. */
static enum status finish(struct recorder *recorder, enum status status, struct why *why)
{
    if (status == STATUS_OK) {
        status = statedb_commit(recorder->state, why);
    }
    if (status != STATUS_OK) {
        statedb_rollback(recorder->state);
    }
    return status;
}

/* One transaction; *more: there may be others. */
static enum status drain_batch(struct recorder *recorder, bool *more, struct why *why)
{
    struct journal_cursor before = recorder->cursor;
    uint64_t drained = recorder->drained, number = 0;
    struct decision decision;
    size_t count = 0;

    *more = false;
    if (journal_last(recorder->journal) <= recorder->drained) {
        return STATUS_OK;
    }
    enum status read, status = statedb_begin(recorder->state, why);
    while (status == STATUS_OK && count < BATCH) {
        read = read_record(recorder, &recorder->cursor, &decision, &number);
        if (read == STATUS_BUSY) {
            break;
        }
        count++;
        if (read != STATUS_OK) {
            continue;
        }
        if (decision.kind == RECORD_DECISION) {
            status = statedb_put_decision(recorder->state, &decision, why);
        } else if (decision.kind == RECORD_END) {
            status = statedb_put_end(recorder->state, &decision, why);
        }
        drained = number;
    }
    if (status == STATUS_OK && count > 0) {
        status = put_number(recorder, "blocks_record", recorder->blocks, why);
    }
    status = finish(recorder, status, why);
    if (status != STATUS_OK) {
        recorder->cursor = before;
        return status;
    }
    recorder->drained = drained;
    *more = count == BATCH;
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
        for (size_t i = 0; i < count && status == STATUS_OK; i++) {
            bool begins = blocks[i].row == 0 && !blocks[i].by_hand;
            status = statedb_put_block(recorder->state, &blocks[i], why);
            if (status == STATUS_OK && begins) {
                status =
                    statedb_put_note(recorder->state, blocks[i].since, "block", blocks[i].subject,
                                     blocks[i].number, reason_row(blocks[i].reason)->cause, why);
            }
        }
        status = finish(recorder, status, why);
        for (size_t i = 0; i < count && status == STATUS_OK; i++) {
            book_block_written(recorder->book, blocks[i].key, blocks[i].row);
        }
        if (status != STATUS_OK) {
            book_touch(recorder->book); /* all of them again, later */
        }
    }
    while (status == STATUS_OK && (count = book_sweep(recorder->book, now, rows, 64)) > 0) {
        status = statedb_begin(recorder->state, why);
        for (size_t i = 0; i < count && status == STATUS_OK; i++) {
            status = statedb_drop_block(recorder->state, rows[i], why);
        }
        status = finish(recorder, status, why);
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

/* Rows that an administrator has added, changed or deleted. */
static enum status read_blocks(struct recorder *recorder, const struct policy *policy,
                               struct moment now, struct why *why)
{
    struct blocks_read read = {recorder, policy, now, book_clock(recorder->book, now),
                               NULL,     0,      0,   false};
    struct block block;
    bool changed = false;
    enum status status = statedb_changed(recorder->state, &changed, why);

    if (status == STATUS_OK && changed) {
        status = statedb_blocks(recorder->state, take_block, &read, why);
    }
    if (status == STATUS_OK && changed && !read.broken) {
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

static enum status put_counters(struct recorder *recorder, struct moment now, struct why *why)
{
    struct ledger_row *rows = malloc(ROWS * sizeof *rows);
    char text[64];
    size_t cursor = 0, count;
    enum status status = STATUS_OK;

    if (rows == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory to write counters down");
    }
    while (status == STATUS_OK &&
           (count = book_counters(recorder->book, rows, ROWS, &cursor)) > 0) {
        status = statedb_begin(recorder->state, why);
        if (status == STATUS_OK) {
            status = statedb_put_counters(recorder->state, rows, count, why);
        }
        if (status == STATUS_OK) {
            snprintf(text, sizeof text, "%" PRId64 " %" PRId64, book_clock(recorder->book, now),
                     now.wall);
            status = statedb_put_value(recorder->state, "clock", text, why);
        }
        status = finish(recorder, status, why);
        if (status != STATUS_OK) {
            book_touch(recorder->book);
        }
    }
    free(rows);
    return status;
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
    bool blocks = strcmp(request->verb, "lift") == 0 || strcmp(request->verb, "add") == 0;
    if (policy == NULL && strcmp(request->verb, "sync") != 0) {
        why_set(&why, STATUS_BAD, "no policy is in force");
    } else if (blocks && book_block_key(recorder->book, policy, request->subject, &block, &why) !=
                             STATUS_OK) {
        request->done = false;
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
        request->done = put_counters(recorder, now, &why) == STATUS_OK;
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
        obey(recorder, policy, now, &request);
        status = put_blocks(recorder, now, why);
        if (status == STATUS_OK) {
            status = statedb_begin(recorder->state, why);
        }
        if (status == STATUS_OK) {
            status = statedb_put_answer(recorder->state, &request, now.wall, why);
            status = finish(recorder, status, why);
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
    return finish(recorder, status, why);
}

static enum status drain(struct recorder *recorder, const struct policy *policy, struct moment now,
                         struct why *why)
{
    bool more = true;
    enum status status = open_state(recorder, now, why);

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
        status = answer_requests(recorder, policy, now, why);
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

enum status recorder_open(const char *folder, const char *state_path, struct book *book,
                          struct moment now, void (*tell)(void *context, const char *sentence),
                          void *context, struct recorder **opened, struct why *why)
{
    struct recorder *recorder = calloc(1, sizeof *recorder);
    struct restoring restoring = {book, 0, now};
    char value[32] = "";
    struct why ignored;
    char path[PATH_ROOM];
    enum status status;

    *opened = NULL;
    if (recorder == NULL || (recorder->state_path = strdup(state_path)) == NULL) {
        free(recorder);
        return why_set(why, STATUS_BROKEN, "no memory for the journal");
    }
    recorder->book = book;
    recorder->tell = tell;
    recorder->context = context;
    recorder->difference = now.wall - now.steady;
    recorder->most = (size_t)setting_kind(SETTING_RING_SIZE)->number;
    status = take_key(folder, book, why);
    /* a state.db that cannot be read now: rather too many blocks than too few */
    if (status == STATUS_OK && open_state(recorder, now, &ignored) == STATUS_OK &&
        statedb_value(recorder->state, "blocks_record", value, sizeof value, &ignored) ==
            STATUS_OK) {
        restoring.blocks_record = strtoull(value, NULL, 10);
    }
    if (status == STATUS_OK) {
        /* numbers go on above it also where somebody has removed the journal */
        snprintf(path, sizeof path, "%s/journal", folder);
        status = journal_open(path, recorder->most * 2, restoring.blocks_record, tell, context,
                              &recorder->journal, why);
    }
    if (status == STATUS_OK) {
        status = take_clock(folder, recorder, now, why);
    }
    if (status == STATUS_OK) {
        each_record(recorder, take_record, &restoring);
        book_attach(book, recorder->journal);
        *opened = recorder;
        recorder = NULL;
    }
    recorder_close(recorder);
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
    enum status status = journal_sync(recorder->journal, why);
    enum status drained = drain(recorder, policy, now, &inner);
    uint64_t last = journal_last(recorder->journal);
    if (journal_waiting(recorder->journal) > recorder->most && last > recorder->most &&
        recorder->state != NULL && statedb_sync(recorder->state, &inner) == STATUS_OK) {
        uint64_t release = last - recorder->most;
        journal_release(recorder->journal,
                        release < recorder->drained ? release : recorder->drained);
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

void recorder_close(struct recorder *recorder)
{
    struct why why;

    if (recorder != NULL) {
        book_attach(recorder->book, NULL);
        if (recorder->journal != NULL) {
            journal_sync(recorder->journal, &why);
        }
        statedb_close(recorder->state);
        journal_close(recorder->journal);
        free(recorder->state_path);
        free(recorder);
    }
}
