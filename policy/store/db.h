/* SQLite with its errors turned into sentences, and its risky doors shut. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_DB_H
#define SEKISHO_DB_H

#include <sqlite3.h>

#include "core/status.h"

/* What an SQLite result code means for the caller. */
enum status db_status(int code);

/* Opens with SQLite's flags; a file name in a folder reached by symlinks is fine, a symlink itself
 * is not followed. Defensive mode, no views, no triggers, bounded lengths. db is NULL on failure.
 */
enum status db_open(const char *path, int flags, int wait_ms, sqlite3 **db, struct why *why);

/* Runs statements; why begins with what and says what SQLite said. */
enum status db_run(sqlite3 *db, const char *what, const char *sql, struct why *why);

/* One integer out of a statement; 0 when it has no row. */
enum status db_integer(sqlite3 *db, const char *what, const char *sql, sqlite3_int64 *number,
                       struct why *why);

#endif
