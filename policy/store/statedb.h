/* state.db: opened, found damaged, set aside; its transactions, and values by name. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_H
#define SEKISHO_STATEDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

struct statedb;

enum statedb_use {
    STATEDB_DAEMON, /* makes the file if it is not there, upgrades an older one in one transaction
                     */
    STATEDB_TOOL,   /* reads, and puts requests where it may; the file must be there */
    STATEDB_READ    /* reads only */
};

/* From every function, of the files statedb_*.h as well: STATUS_BAD: the file is damaged, or its
 * tables are not those of schema/state.sql: it is to be closed and set aside. STATUS_BUSY: another
 * program has the lock for longer than wait_ms; try again. STATUS_BROKEN: disk, permission, memory.
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
/* Has another connection changed the file since the last call (PRAGMA data_version)? The first call
 * says true. */
enum status statedb_changed(struct statedb *db, bool *changed, struct why *why);

/* -- transactions: a failure undoes all since begin, and what is written after it without a new
 * begin fails too (STATUS_BROKEN) ------------------------------------------------------------- */

enum status statedb_begin(struct statedb *db, struct why *why);
enum status statedb_commit(struct statedb *db, struct why *why);
void statedb_rollback(struct statedb *db);
/* Ends what was begun: commits if `status` is STATUS_OK, else undoes it; returns what became of it.
 */
enum status statedb_finish(struct statedb *db, enum status status, struct why *why);
/* What was committed outlives the process; after this call a power cut as well. To be called before
 * the journal's records are released. */
enum status statedb_sync(struct statedb *db, struct why *why);

/* -- values of the daemon's own, by name ------------------------------------------------------ */

/* Between begin and commit. */
enum status statedb_put_value(struct statedb *db, const char *name, const char *value,
                              struct why *why);
/* Copies the value, "" if there is none. STATUS_BAD: longer than room. */
enum status statedb_value(struct statedb *db, const char *name, char *value, size_t room,
                          struct why *why);

/* -- for statedb_block.h and statedb_window.h
 * ------------------------------------------------------------- */

/* As until_steady: the wall clock's until counts. */
#define STATEDB_BY_WALL INT64_C(-1)

#endif
