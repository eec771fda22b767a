/* SQLite with its errors turned into sentences, and its risky doors shut. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/db.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status db_status(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return STATUS_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STATUS_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_SCHEMA:
    case SQLITE_MISMATCH:
        return STATUS_BAD;
    default:
        return STATUS_BROKEN;
    }
}

/* SQLITE_OPEN_NOFOLLOW refuses a symlink anywhere in the path; folders may well be reached by one.
 */
static char *resolve_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    char *real = folder != NULL ? realpath(folder, NULL) : NULL;
    const char *name = slash == NULL ? path : slash + 1;
    char *resolved = NULL;

    if (real != NULL) {
        size_t room = strlen(real) + strlen(name) + 2;
        resolved = malloc(room);
        if (resolved != NULL) {
            snprintf(resolved, room, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
        }
    }
    free(folder);
    free(real);
    return resolved;
}

enum status db_open(const char *path, int flags, int wait_ms, sqlite3 **db, struct why *why)
{
    char *resolved = strcmp(path, ":memory:") == 0 ? strdup(path) : resolve_folder(path);
    enum status status;
    int code;

    *db = NULL;
    if (resolved == NULL) {
        return why_set(why, errno == ENOMEM ? STATUS_BROKEN : STATUS_BUSY, "%s: %s", path,
                       strerror(errno));
    }
    flags |= (flags & SQLITE_OPEN_NOMUTEX) != 0 ? 0 : SQLITE_OPEN_FULLMUTEX;
    code = sqlite3_open_v2(resolved, db, flags | SQLITE_OPEN_NOFOLLOW, NULL);
    status = db_status(code);
    if (code != SQLITE_OK) {
        why_set(why, status, "%s: %s", path,
                *db != NULL ? sqlite3_errmsg(*db) : sqlite3_errstr(code));
        goto out;
    }
    sqlite3_extended_result_codes(*db, 1);
    sqlite3_busy_timeout(*db, wait_ms);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* TRUSTED_SCHEMA stays on: without it SQLite 3.40 will not even read a table whose CHECK uses
     * json_valid() ("unsafe use"). No function of ours is registered, views and triggers are off
     * and virtual tables refused, so a hostile schema finds nothing to call. */
    sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_limit(*db, SQLITE_LIMIT_LENGTH, 1 << 20);
    status = STATUS_OK;
out:
    if (status != STATUS_OK) {
        sqlite3_close(*db);
        *db = NULL;
    }
    free(resolved);
    return status;
}

enum status db_run(sqlite3 *db, const char *what, const char *sql, struct why *why)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? STATUS_OK
                             : why_set(why, db_status(code), "%s: %s", what, sqlite3_errmsg(db));
}

enum status db_integer(sqlite3 *db, const char *what, const char *sql, sqlite3_int64 *number,
                       struct why *why)
{
    sqlite3_stmt *statement = NULL;
    enum status status = STATUS_OK;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    *number = 0;
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
            *number = sqlite3_column_int64(statement, 0);
        }
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        status = why_set(why, db_status(code), "%s: %s", what, sqlite3_errmsg(db));
    }
    sqlite3_finalize(statement);
    return status;
}

enum status db_version(sqlite3 *db, const char *what, int *version, struct why *why)
{
    sqlite3_int64 user = 0, there = 0, row = 0;
    enum status status = db_integer(db, what, "PRAGMA user_version", &user, why);

    *version = 0;
    if (status == STATUS_OK) {
        status = db_integer(db, what,
                            "SELECT count(*) FROM sqlite_master WHERE type='table' AND "
                            "name='version'",
                            &there, why);
    }
    if (status == STATUS_OK && there != 0) {
        status = db_integer(
            db, what, "SELECT max(schema) FROM version WHERE typeof(schema)='integer'", &row, why);
    }
    row = row > user ? row : user;
    *version = row < 0 ? 0 : row > INT_MAX ? INT_MAX : (int)row;
    return status;
}

enum status db_upgrade(sqlite3 *db, const char *what, const char *const *steps, int to,
                       int application, struct why *why)
{
    char marks[80];
    int version = 0;
    enum status status = db_run(db, what, "BEGIN EXCLUSIVE", why);

    if (status == STATUS_OK) {
        status = db_version(db, what, &version, why);
    }
    for (; status == STATUS_OK && version < to; version++) {
        status = db_run(db, what, steps[version], why);
    }
    if (status == STATUS_OK && version == to) {
        snprintf(marks, sizeof marks, "PRAGMA user_version=%d; PRAGMA application_id=%d", to,
                 application);
        status = db_run(db, what, marks, why);
    }
    if (status == STATUS_OK) {
        status = db_run(db, what, "COMMIT", why);
    }
    if (status != STATUS_OK && !sqlite3_get_autocommit(db)) {
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}
