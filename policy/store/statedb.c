/* state.db: opened, found damaged, set aside; its transactions, and values by name. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/stamp.h"
#include "store/db.h"
#include "store/schema.h"
#include "store/statement.h"

const char *const statedb_sql[QUERY_COUNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [PUT_VALUE] = "INSERT OR REPLACE INTO main.value(name, value) VALUES(?,?)",
    [GET_VALUE] = "SELECT value FROM main.value WHERE name=?",
    [DATA_VERSION] = "PRAGMA main.data_version",
};

/* What leads from one version of the tables to the next. */
static const char *const steps[SCHEMA_STATE_VERSION] = {schema_state_sql};

/* -- opening -------------------------------------------------------------------------------- */

static bool beside_is_there(const char *path, const char *ending)
{
    char name[4096];
    struct stat seen;

    return snprintf(name, sizeof name, "%s%s", path, ending) < (int)sizeof name &&
           lstat(name, &seen) == 0 && seen.st_size > 0;
}

/* What must be seen before SQLite looks. The file is not opened here: closing it again would drop
 * the locks that another connection of this process has (POSIX). */
static enum status look_at_file(const char *path, enum statedb_use use, struct why *why)
{
    struct stat seen;
    int file = -1;

    if (lstat(path, &seen) == 0) {
        if (S_ISLNK(seen.st_mode)) {
            return why_set(why, STATUS_BAD,
                           "%s: is a symbolic link; the state must be the file "
                           "itself",
                           path);
        }
        if (!S_ISREG(seen.st_mode)) {
            return why_set(why, STATUS_BAD, "%s: is not a file", path);
        }
        if (seen.st_size > 0) {
            return STATUS_OK;
        }
    } else if (errno != ENOENT) {
        return why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
    } else {
        seen.st_size = -1;
    }
    if (use != STATEDB_DAEMON) {
        return why_set(why, STATUS_BUSY, "%s: is not there; sekisho-milter makes it", path);
    }
    /* SQLite would throw this -wal away, with all that is in it. */
    if (beside_is_there(path, "-wal")) {
        return why_set(why, STATUS_BAD, "%s: is %s, but %s-wal is there", path,
                       seen.st_size < 0 ? "gone" : "empty", path);
    }
    if (seen.st_size == 0) {
        return STATUS_OK; /* begun by a process that died, or nothing is lost */
    }
    file = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (file < 0) {
        return why_set(why, STATUS_BROKEN, "%s: cannot be made: %s", path, strerror(errno));
    }
    if (fchmod(file, 0640) != 0) { /* the umask may be narrower; -wal and -shm get the same mode */
        close(file);
        return why_set(why, STATUS_BROKEN, "%s: its mode cannot be set: %s", path, strerror(errno));
    }
    close(file);
    return STATUS_OK;
}

/* Is it ours, and of a version we know? Makes and upgrades the tables. */
static enum status check_tables(struct statedb *db, enum statedb_use use, bool *newer,
                                struct why *why)
{
    sqlite3_int64 application = 0, user = 0, tables = 0, utf8 = 0;
    int version = 0;
    enum status status;

    status = db_integer(db->sqlite, db->path, "PRAGMA application_id", &application, why);
    if (status == STATUS_OK) {
        status = db_integer(db->sqlite, db->path, "PRAGMA user_version", &user, why);
    }
    if (status == STATUS_OK) {
        status =
            db_integer(db->sqlite, db->path, "SELECT count(*) FROM sqlite_master", &tables, why);
    }
    if (status == STATUS_OK) {
        status = db_version(db->sqlite, db->path, &version, why);
    }
    if (status == STATUS_OK) {
        status = db_integer(db->sqlite, db->path, "SELECT encoding='UTF-8' FROM pragma_encoding",
                            &utf8, why);
    }
    if (status != STATUS_OK) {
        return status;
    }
    bool ours = application == SCHEMA_STATE_APPLICATION_ID;
    if ((application != 0 && !ours) || (tables != 0 && version == 0) || utf8 == 0) {
        return why_set(why, STATUS_BAD, "%s: is an SQLite database, but not a state of sekisho",
                       db->path);
    }
    if (version > SCHEMA_STATE_VERSION) {
        *newer = true;
        return why_set(why, STATUS_BAD,
                       "%s: was made by a newer sekisho (schema %d, this one knows %d); install "
                       "that one again, or move the file away",
                       db->path, version, SCHEMA_STATE_VERSION);
    }
    if (version == SCHEMA_STATE_VERSION && user == version && ours) {
        return STATUS_OK;
    }
    if (use == STATEDB_DAEMON) {
        return db_upgrade(db->sqlite, db->path, steps, SCHEMA_STATE_VERSION,
                          SCHEMA_STATE_APPLICATION_ID, why);
    }
    return version == SCHEMA_STATE_VERSION
               ? STATUS_OK /* restored from a .dump, and as good */
               : why_set(why, STATUS_BUSY, "%s: is of an older sekisho; sekisho-milter upgrades it",
                         db->path);
}

static enum status enter_wal_mode(struct statedb *db, struct why *why)
{
    sqlite3_int64 wal = 0;
    enum status status;

    status = db_integer(db->sqlite, db->path, "SELECT journal_mode='wal' FROM pragma_journal_mode",
                        &wal, why);
    if (status == STATUS_OK && wal == 0) {
        status = db_run(db->sqlite, db->path, "PRAGMA journal_mode=WAL", why);
    }
    if (status == STATUS_OK) {
        status = db_integer(db->sqlite, db->path,
                            "SELECT journal_mode='wal' FROM pragma_journal_mode", &wal, why);
    }
    return status == STATUS_OK && wal == 0
               ? why_set(why, STATUS_BROKEN, "%s: this file system cannot hold it in WAL mode",
                         db->path)
               : status;
}

/* synchronous=NORMAL: a commit is not synced by itself. What it holds is in the daemon's journal
 * too, until statedb_sync has brought it to the disk: one sync for many batches.
 * ignore_check_constraints: the CHECKs are for the administrator's edits; the daemon writes what
 * passes them (a test), and would otherwise pay for them at every decision. */
static const char daemon_pragmas[] = "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000;"
                                     "PRAGMA journal_size_limit=33554432;"
                                     "PRAGMA ignore_check_constraints=ON";

/* The -wal is brought into the file by the daemon alone, which takes any other change of the file
 * for somebody's who writes over it (statedb_whole). */
static const char tool_pragmas[] = "PRAGMA wal_autocheckpoint=0";

static bool beside(const struct statedb *db, const char *ending, char name[4096])
{
    return snprintf(name, 4096, "%s%s", db->path, ending) < 4096;
}

static bool stat_wal(const struct statedb *db, struct stat *seen)
{
    char name[4096];
    return beside(db, "-wal", name) && lstat(name, seen) == 0;
}

/* Octets of the file itself change in a checkpoint only. */
static void leave(struct statedb *db)
{
    if (db->daemon && stat(db->path, &db->file) != 0) {
        memset(&db->file, 0, sizeof db->file);
    }
}

static bool is_under_its_name(const struct statedb *db)
{
    int moved = 1;

    return sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
           moved == 0;
}

/* The file was removed or replaced, and SQLite leaves its -wal where it is: it would be taken for
 * that of the new file, and destroy it. So it is emptied into the file that it belongs to, and
 * removed, if nobody has replaced it as well. */
static void take_wal_along(struct statedb *db)
{
    struct stat seen;
    char name[4096];

    sqlite3_wal_checkpoint_v2(db->sqlite, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (stat_wal(db, &seen) && seen.st_dev == db->wal.st_dev && seen.st_ino == db->wal.st_ino) {
        if (beside(db, "-wal", name)) {
            unlink(name);
        }
        if (beside(db, "-shm", name)) {
            unlink(name);
        }
    }
}

enum status statedb_open(const char *path, enum statedb_use use, int wait_ms,
                         struct statedb **opened, bool *newer, struct why *why)
{
    struct statedb *db = calloc(1, sizeof *db);
    bool is_newer = false;
    enum status status;
    int persist = 1;

    *opened = NULL;
    if (db == NULL || (db->path = strdup(path)) == NULL) {
        status = why_set(why, STATUS_BROKEN, "%s: no memory to open it", path);
        goto out;
    }
    status = look_at_file(path, use, why);
    if (status != STATUS_OK) {
        goto out;
    }
    status = db_open(path,
                     (use == STATEDB_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                         SQLITE_OPEN_NOMUTEX,
                     wait_ms, &db->sqlite, why);
    if (status != STATUS_OK) {
        goto out;
    }
    if (use == STATEDB_DAEMON && sqlite3_db_readonly(db->sqlite, "main") != 0) {
        status = why_set(why, STATUS_BROKEN, "%s: cannot be written: %s", path, strerror(EACCES));
        goto out;
    }
    /* -wal and -shm stay when the last one closes, so that who may only read can read. */
    sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
    status = check_tables(db, use, &is_newer, why);
    if (status == STATUS_OK && use == STATEDB_DAEMON) {
        status = enter_wal_mode(db, why);
    }
    if (status == STATUS_OK && use != STATEDB_READ) {
        status =
            db_run(db->sqlite, path, use == STATEDB_DAEMON ? daemon_pragmas : tool_pragmas, why);
    }
    if (status == STATUS_OK) {
        status = statement_prepare(db, why);
    }
    if (status != STATUS_OK) {
        goto out;
    }
    db->daemon = use == STATEDB_DAEMON && stat_wal(db, &db->wal);
    leave(db);
    *opened = db;
    db = NULL;
out:
    if (newer != NULL) {
        *newer = is_newer;
    }
    statedb_close(db);
    return status;
}

void statedb_close(struct statedb *db)
{
    if (db != NULL) {
        statement_finalize(db);
        if (db->daemon && !is_under_its_name(db)) {
            take_wal_along(db);
        }
        sqlite3_close(db->sqlite);
        free(db->path);
        free(db);
    }
}

enum status statedb_set_aside(const char *path, int64_t wall, char aside[4096], struct why *why)
{
    static const char *const endings[] = {"-wal", "-shm", ""}; /* the file last: while it is there
                                                                  it is found damaged again */
    char time[STAMP_TEXT], from[4200], to[4200];
    struct stat seen;
    bool taken = true;

    stamp_write(wall, false, time);
    for (int again = 0; taken && again < 1000; again++) {
        char counter[16] = "";
        if (again > 0) {
            snprintf(counter, sizeof counter, "-%d", again);
        }
        if (snprintf(aside, 4096, "%s.damaged-%.4s%.2s%.2s-%.2s%.2s%.2s%s", path, time, time + 5,
                     time + 8, time + 11, time + 14, time + 17, counter) >= 4096) {
            return why_set(why, STATUS_BROKEN, "%s: its name is too long to be set aside", path);
        }
        taken = false;
        for (int i = 0; i < 3; i++) {
            snprintf(to, sizeof to, "%s%s", aside, endings[i]);
            taken = taken || lstat(to, &seen) == 0;
        }
    }
    if (taken) {
        return why_set(why, STATUS_BROKEN, "%s: cannot be set aside: %s is taken", path, aside);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(from, sizeof from, "%s%s", path, endings[i]);
        snprintf(to, sizeof to, "%s%s", aside, endings[i]);
        if (rename(from, to) != 0 && errno != ENOENT) {
            return why_set(why, STATUS_BROKEN, "%s: cannot be set aside: %s", from,
                           strerror(errno));
        }
    }
    return STATUS_OK;
}

bool statedb_same(const struct statedb *db)
{
    struct stat seen;

    return is_under_its_name(db) && (!db->daemon || stat_wal(db, &seen));
}

/* -- transactions ---------------------------------------------------------------------------- */

enum status statedb_begin(struct statedb *db, struct why *why)
{
    return statement_run(db, BEGIN, why);
}

enum status statedb_commit(struct statedb *db, struct why *why)
{
    enum status status = statement_put(db, COMMIT, why);

    leave(db);
    return status;
}

void statedb_rollback(struct statedb *db)
{
    statement_undo(db);
}

enum status statedb_finish(struct statedb *db, enum status status, struct why *why)
{
    if (status == STATUS_OK) {
        status = statedb_commit(db, why);
    }
    if (status != STATUS_OK) {
        statedb_rollback(db);
    }
    return status;
}

enum status statedb_sync(struct statedb *db, struct why *why)
{
    sqlite3_file *wal = NULL;
    int code = sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);

    if (code == SQLITE_OK && wal != NULL && wal->pMethods != NULL) {
        code = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
    }
    return code == SQLITE_OK
               ? STATUS_OK
               : why_set(why, db_status(code), "%s-wal: cannot be brought to the disk: %s",
                         db->path, sqlite3_errstr(code));
}

/* -- who else has written -------------------------------------------------------------------- */

/* quick_check tells of a page that it could not read, for want of memory most likely, in the same
 * way as of damage. */
static bool tells_of_an_unread_page(const char *answer)
{
    static const char code[] = "error code=";
    const char *at = strstr(answer, code);

    return strstr(answer, "failed to get page") != NULL ||
           (at != NULL && strtol(at + sizeof code - 1, NULL, 10) == SQLITE_NOMEM);
}

enum status statedb_whole(struct statedb *db, struct why *why)
{
    sqlite3_stmt *statement = NULL;
    enum status status = STATUS_OK;
    struct stat seen;

    if (stat(db->path, &seen) != 0 ||
        (seen.st_size == db->file.st_size && seen.st_mtim.tv_sec == db->file.st_mtim.tv_sec &&
         seen.st_mtim.tv_nsec == db->file.st_mtim.tv_nsec)) {
        return STATUS_OK;
    }
    sqlite3_db_release_memory(db->sqlite); /* what is on disk is asked, not our copies */
    int code = sqlite3_prepare_v2(db->sqlite, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    const char *answer =
        code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (code != SQLITE_ROW) {
        status = statement_failed(db, code, why);
    } else if (answer == NULL || tells_of_an_unread_page(answer)) {
        status = why_set(why, STATUS_BROKEN, "%s: not all of its pages can be read: %.120s",
                         db->path, answer != NULL ? answer : "no memory");
    } else if (strcmp(answer, "ok") != 0) {
        status = why_set(why, STATUS_BAD, "%s: is damaged: %.120s", db->path, answer);
    } else {
        db->file = seen;
    }
    sqlite3_finalize(statement);
    return status;
}

enum status statedb_changed(struct statedb *db, bool *changed, struct why *why)
{
    sqlite3_stmt *statement = db->statement[DATA_VERSION];
    enum status status = STATUS_OK;

    *changed = false;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        sqlite3_int64 version = sqlite3_column_int64(statement, 0);
        *changed = !db->watching || version != db->data_version;
        db->watching = true;
        db->data_version = version;
    } else {
        status = statement_failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}

/* -- values ---------------------------------------------------------------------------------- */

enum status statedb_put_value(struct statedb *db, const char *name, const char *value,
                              struct why *why)
{
    bind_text(db->statement[PUT_VALUE], 1, name);
    bind_text(db->statement[PUT_VALUE], 2, value);
    return statement_put(db, PUT_VALUE, why);
}

enum status statedb_value(struct statedb *db, const char *name, char *value, size_t room,
                          struct why *why)
{
    sqlite3_stmt *statement = db->statement[GET_VALUE];
    enum status status = STATUS_OK;
    size_t size;

    value[0] = '\0';
    bind_text(statement, 1, name);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const char *text = column_text(statement, 0, &size);
        if (size >= room) {
            status = why_set(why, STATUS_BAD, "%s: value %s is too long", db->path, name);
        } else {
            memcpy(value, text, size);
            value[size] = '\0';
        }
    } else if (code != SQLITE_DONE) {
        status = statement_failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}
