/* state.db: decisions, blocks, counters and requests, written in batches by one thread. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_H
#define SEKISHO_STATEDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/blocklist.h"
#include "core/decision.h"
#include "core/ledger.h"
#include "core/status.h"
#include "core/windowlist.h"

struct statedb;

enum statedb_use {
    STATEDB_DAEMON, /* makes the file if it is not there, upgrades an older one in one transaction
                     */
    STATEDB_TOOL,   /* reads, and puts requests where it may; the file must be there */
    STATEDB_READ    /* reads only */
};

/* From every function: STATUS_BAD: the file is damaged, or its tables are not those of
 * schema/state.sql: it is to be closed and set aside. STATUS_BUSY: another program has the lock for
 * longer than wait_ms; try again. STATUS_BROKEN: disk, permission, memory.
 *
 * Opens the file, in WAL mode. STATUS_BAD also: no state of sekisho, a symlink, or made by a newer
 * sekisho (*newer, may be NULL, tells the last: such a file is never set aside). STATUS_BUSY also:
 * not there, or of an older sekisho (both not for STATEDB_DAEMON). What lies deep in a large file
 * is not looked at here: a damaged page is found by who reads it. */
enum status statedb_open(const char *path, enum statedb_use use, int wait_ms, struct statedb **db,
                         bool *newer, struct why *why);
void statedb_close(struct statedb *db);
/* Renames a damaged file with its -wal and -shm (kept together) to PATH.damaged-YYYYMMDD-HHMMSS
 * (wall: Unix ms), a counter behind it if that name is taken; never over another file. Writes the
 * new name to aside. */
enum status statedb_set_aside(const char *path, int64_t wall, char aside[4096], struct why *why);
/* Is the file under the name still the one that is open, and its -wal there? False when it was
 * removed or replaced: close and open again. */
bool statedb_same(const struct statedb *db);
/* Have other programs written to the file since our last commit, as a checkpoint of theirs does and
 * as damage does? Then all its pages are looked at (0.5 s for a million decisions). */
enum status statedb_whole(struct statedb *db, struct why *why);

/* -- writing: between begin and commit; a failure undoes all since begin, and what is written
 * after it without a new begin fails too (STATUS_BROKEN) ------------------------------------- */

enum status statedb_begin(struct statedb *db, struct why *why);
enum status statedb_commit(struct statedb *db, struct why *why);
void statedb_rollback(struct statedb *db);
/* Ends what was begun: commits if `status` is STATUS_OK, else undoes it; returns what became of it.
 */
enum status statedb_finish(struct statedb *db, enum status status, struct why *why);
/* What was committed outlives the process; after this call a power cut as well. To be called before
 * the journal's records are released. */
enum status statedb_sync(struct statedb *db, struct why *why);

/* A decision, with outcome and queue id where they are known; of one that is there already (by its
 * number) only these are changed. One without a number (0) is passed over. Texts longer than
 * DECISION_TEXT are cut. */
enum status statedb_put_decision(struct statedb *db, const struct decision *decision,
                                 struct why *why);
/* What became of the decisions that an end record names: outcome and queue id. */
enum status statedb_put_end(struct statedb *db, const struct decision *end, struct why *why);
/* A block that began or changed: by its row, or a new row (its id is written to block->row), which
 * takes the place of an earlier one of the same subject. */
enum status statedb_put_block(struct statedb *db, struct block *block, struct why *why);
enum status statedb_drop_block(struct statedb *db, int64_t row, struct why *why);
enum status statedb_put_counters(struct statedb *db, const struct ledger_row *rows, size_t count,
                                 struct why *why);
/* A thing worth telling (a block began, a database was set aside): kind is one word. */
enum status statedb_put_note(struct statedb *db, int64_t wall, const char *kind,
                             const char *subject, uint64_t number, const char *text,
                             struct why *why);
/* A login window: one a client, the last counts. */
enum status statedb_put_window(struct statedb *db, const struct window *window, struct why *why);
enum status statedb_drop_window(struct statedb *db, const struct ip *client, struct why *why);
/* Removes those that end at `steady` or before, and those without until_steady. */
enum status statedb_drop_windows(struct statedb *db, int64_t steady, struct why *why);
/* A value of the daemon's own, by name. */
enum status statedb_put_value(struct statedb *db, const char *name, const char *value,
                              struct why *why);
/* Removes up to `most` decisions, notes and answered requests that are older than a wall time (Unix
 * ms), the oldest first; *gone is how many. */
enum status statedb_prune(struct statedb *db, int64_t before, size_t most, size_t *gone,
                          struct why *why);

/* -- reading --------------------------------------------------------------------------------- */

/* False from a function that is given a row: enough, no more rows. */

/* key is 0: not kept. until_steady is STATEDB_BY_WALL where an administrator made the row or
 * changed its until: the wall clock's until counts. Rows whose subject or times cannot be read are
 * passed over. */
#define STATEDB_BY_WALL INT64_C(-1)
enum status statedb_blocks(struct statedb *db, bool (*take)(void *context, const struct block *),
                           void *context, struct why *why);
/* until_steady is STATEDB_BY_WALL in a row that the daemon has not made. */
enum status statedb_windows(struct statedb *db, bool (*take)(void *context, const struct window *),
                            void *context, struct why *why);
/* In ascending order of place; a row whose buckets cannot be read is passed over. */
enum status statedb_counters(struct statedb *db,
                             bool (*take)(void *context, const struct ledger_row *), void *context,
                             struct why *why);
/* Copies the value, "" if there is none. STATUS_BAD: longer than room. */
enum status statedb_value(struct statedb *db, const char *name, char *value, size_t room,
                          struct why *why);
/* Has another connection changed the file since the last call (PRAGMA data_version)? The first call
 * says true. */
enum status statedb_changed(struct statedb *db, bool *changed, struct why *why);

/* What `sekisho log` asks. Texts NULL = any; they compare without ASCII case. sender and recipient
 * compare as addresses do (brackets, quotes, a domain in another script); one that begins with @ is
 * a whole domain, "" or <> is the null sender. */
struct statedb_filter {
    int64_t since, until; /* since <= at < until: wall clock, Unix ms; 0 = open */
    uint64_t number;      /* this one only; 0 = any */
    uint64_t above;       /* numbers above this */
    const char *client;   /* an address, or a range as range_parse reads it */
    const char *login, *sender, *recipient, *reason, *action;
    bool newest_first;
    size_t most; /* 0 = all */
};
/* A decision as it was stored; texts borrowed for the call. */
struct statedb_decision {
    struct decision decision; /* charges, steady, subjects but that of verdict.limit, and the times
                                 of a block are not kept */
    const char *at;           /* UTC, 2026-11-24 03:00:00.123 */
    bool ended;               /* outcome is known */
};
/* In the order of their numbers. STATUS_BAD also: client is no address and no range. */
enum status statedb_decisions(struct statedb *db, const struct statedb_filter *filter,
                              bool (*take)(void *context, const struct statedb_decision *),
                              void *context, struct why *why);

/* -- requests: the tool asks, the daemon answers ---------------------------------------------- */

struct statedb_request {
    int64_t id;
    char verb[16]; /* lift, add, reset, sync, window-open, window-close */
    char subject[BLOCK_SUBJECT];
    int64_t seconds; /* of add; 0 = until lifted */
    char note[BLOCK_NOTE];
    int64_t at;          /* when it was put, wall clock, Unix ms; 0 = not known. Read only */
    bool answered, done; /* done: it was done; otherwise answer says why not */
    char answer[256];
};
/* Puts a request (the tool; own transaction); its id is written to request->id. */
enum status statedb_ask(struct statedb *db, struct statedb_request *request, int64_t wall,
                        struct why *why);
/* Reads the answer; request->answered is false while there is none. A request that is gone
 * (somebody deleted it, the file is another now) is answered with that, not done. */
enum status statedb_answer(struct statedb *db, struct statedb_request *request, struct why *why);
/* Takes a request back that nobody has answered (the tool gives up). */
enum status statedb_take_back(struct statedb *db, int64_t id, struct why *why);
/* The oldest request without answer; *found false if there is none. */
enum status statedb_next_request(struct statedb *db, struct statedb_request *request, bool *found,
                                 struct why *why);
/* Writes the answer: between begin and commit. */
enum status statedb_put_answer(struct statedb *db, const struct statedb_request *request,
                               int64_t wall, struct why *why);

#endif
