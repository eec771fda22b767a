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

/* Which shape the tables have: the higher of user_version and the row of the table `version` (.dump
 * loses the first); 0 = none of ours. */
enum status db_version(sqlite3 *db, const char *what, int *version, struct why *why);

/* Brings the tables to version `to`: steps[n] is the SQL that leads from version n to n + 1. All of
 * it is one exclusive transaction, in which the version is read again, because another program may
 * have been faster; nothing is changed on failure. A newer version is left as it is. */
enum status db_upgrade(sqlite3 *db, const char *what, const char *const *steps, int to,
                       int application, struct why *why);

#endif
