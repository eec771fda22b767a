/* state.db: decisions, blocks, counters and requests, written in batches by one thread. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/address.h"
#include "core/range.h"
#include "core/stamp.h"
#include "store/db.h"
#include "store/schema.h"

/* The columns of decision, in the order in which they are bound and read. */
#define DECISION_COLUMNS(COLUMN)                                                                   \
    COLUMN(NUMBER, "", "number")                                                                   \
    COLUMN(AT, ", ", "at")                                                                         \
    COLUMN(ACTION, ", ", "action")                                                                 \
    COLUMN(REASON, ", ", "reason")                                                                 \
    COLUMN(CHECK, ", ", "\"check\"")                                                               \
    COLUMN(ROW_TABLE, ", ", "row_table")                                                           \
    COLUMN(ROW_ID, ", ", "row_id")                                                                 \
    COLUMN(ROW_TEXT, ", ", "row_text")                                                             \
    COLUMN(KIND, ", ", "kind")                                                                     \
    COLUMN(POST, ", ", "post")                                                                     \
    COLUMN(CLIENT, ", ", "client")                                                                 \
    COLUMN(CLIENT_NAME, ", ", "client_name")                                                       \
    COLUMN(HELO, ", ", "helo")                                                                     \
    COLUMN(HOST, ", ", "host")                                                                     \
    COLUMN(LISTENER, ", ", "listener")                                                             \
    COLUMN(LOGIN, ", ", "login")                                                                   \
    COLUMN(SENDER, ", ", "sender")                                                                 \
    COLUMN(RECIPIENT, ", ", "recipient")                                                           \
    COLUMN(RECIPIENT_LOCAL, ", ", "recipient_local")                                               \
    COLUMN(SESSION, ", ", "session")                                                               \
    COLUMN(QUEUE_ID, ", ", "queue_id")                                                             \
    COLUMN(OUTCOME, ", ", "outcome")                                                               \
    COLUMN(POLICY, ", ", "policy")                                                                 \
    COLUMN(OBSERVED_REASON, ", ", "observed_reason")                                               \
    COLUMN(OBSERVED_TABLE, ", ", "observed_table")                                                 \
    COLUMN(OBSERVED_ROW, ", ", "observed_row")                                                     \
    COLUMN(OBSERVED_TEXT, ", ", "observed_text")                                                   \
    COLUMN(LIMIT_ROW, ", ", "limit_row")                                                           \
    COLUMN(LIMIT_SUBJECT, ", ", "limit_subject")                                                   \
    COLUMN(LIMIT_COUNTS, ", ", "limit_counts")                                                     \
    COLUMN(LIMIT_COUNT, ", ", "limit_count")                                                       \
    COLUMN(LIMIT_ALLOWED, ", ", "limit_allowed")                                                   \
    COLUMN(LIMIT_SECONDS, ", ", "limit_seconds")                                                   \
    COLUMN(LIMIT_WAIT, ", ", "limit_wait")                                                         \
    COLUMN(MTA_REFUSED, ", ", "mta_refused")                                                       \
    COLUMN(SUBMISSION, ", ", "submission")                                                         \
    COLUMN(NOT_FOR_MTA, ", ", "not_for_mta")                                                       \
    COLUMN(BLOCKED, ", ", "blocked")                                                               \
    COLUMN(LENGTHS, ", ", "lengths")

#define COLUMN_ENUM(name, comma, sql) COLUMN_##name,
#define COLUMN_SQL(name, comma, sql) comma sql
#define COLUMN_MARK(name, comma, sql) comma "?"
enum column { DECISION_COLUMNS(COLUMN_ENUM) COLUMN_COUNT };

enum query {
    BEGIN,
    COMMIT,
    PUT_DECISION,
    PUT_END,
    CHANGE_BLOCK,
    PUT_BLOCK,
    DROP_BLOCK,
    PUT_COUNTER,
    PUT_NOTE,
    PUT_WINDOW,
    DROP_WINDOW,
    DROP_WINDOWS,
    GET_WINDOWS,
    PUT_VALUE,
    PRUNE_DECISIONS,
    PRUNE_NOTES,
    PRUNE_REQUESTS,
    GET_BLOCKS,
    GET_COUNTERS,
    GET_VALUE,
    DATA_VERSION,
    TIME_BOUNDS,
    DECISIONS_OLDEST,
    DECISIONS_NEWEST,
    ASK,
    ANSWER,
    TAKE_BACK,
    NEXT_REQUEST,
    PUT_ANSWER,
    QUERY_COUNT
};

#define SELECT_DECISIONS                                                                           \
    "SELECT " DECISION_COLUMNS(COLUMN_SQL) " FROM main.decision WHERE number BETWEEN ?1 AND ?2"    \
                                           " AND +at >= ?3 AND +at < ?4 ORDER BY number"

static const char *const queries[QUERY_COUNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [PUT_DECISION] =
        "INSERT INTO main.decision(" DECISION_COLUMNS(COLUMN_SQL) ") VALUES(" DECISION_COLUMNS(
            COLUMN_MARK) ") ON CONFLICT(number) DO UPDATE SET outcome=excluded.outcome,"
                         " queue_id=ifnull(excluded.queue_id, queue_id)"
                         " WHERE excluded.outcome IS NOT NULL",
    [PUT_END] =
        "UPDATE main.decision SET outcome=?2, queue_id=ifnull(?3, queue_id) WHERE number=?1",
    [CHANGE_BLOCK] = "UPDATE main.block SET subject=?2, since=?3, until=?4, reason=?5, number=?6,"
                     " row_table=?7, row_id=?8, strikes=?9, by_hand=?10, note=?11, until_steady=?12"
                     " WHERE id=?1 AND subject=?2",
    [PUT_BLOCK] = "INSERT OR REPLACE INTO main.block(subject, since, until, reason, number,"
                  " row_table, row_id, strikes, by_hand, note, until_steady)"
                  " VALUES(?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
    [DROP_BLOCK] = "DELETE FROM main.block WHERE id=?1",
    [PUT_COUNTER] = "INSERT OR REPLACE INTO main.counter(place, hash, \"group\", record, since,"
                    " allowed, bucket, seconds, count, subject) VALUES(?,?,?,?,?,?,?,?,?,?)",
    [PUT_NOTE] = "INSERT INTO main.note(at, kind, subject, number, text) VALUES(?,?,?,?,?)",
    [PUT_WINDOW] = "INSERT OR REPLACE INTO main.login_window(client, login, opened, until,"
                   " until_steady) VALUES(?,?,?,?,?)",
    [DROP_WINDOW] = "DELETE FROM main.login_window WHERE client=?",
    [DROP_WINDOWS] = "DELETE FROM main.login_window WHERE until_steady IS NULL OR until_steady<=?",
    [GET_WINDOWS] = "SELECT client, login, opened, until, until_steady FROM main.login_window"
                    " ORDER BY id",
    [PUT_VALUE] = "INSERT OR REPLACE INTO main.value(name, value) VALUES(?,?)",
    [PRUNE_DECISIONS] = "DELETE FROM main.decision WHERE number IN"
                        " (SELECT number FROM main.decision WHERE at < ?1 ORDER BY at LIMIT ?2)",
    [PRUNE_NOTES] = "DELETE FROM main.note WHERE id IN"
                    " (SELECT id FROM main.note WHERE at < ?1 ORDER BY id LIMIT ?2)",
    [PRUNE_REQUESTS] = "DELETE FROM main.request WHERE id IN (SELECT id FROM main.request"
                       " WHERE at < ?1 AND answered IS NOT NULL ORDER BY id LIMIT ?2)",
    [GET_BLOCKS] = "SELECT id, subject, since, until, reason, number, row_table, row_id, strikes,"
                   " by_hand, note, until_steady FROM main.block ORDER BY id",
    [GET_COUNTERS] =
        "SELECT place, hash, \"group\", record, since, allowed, bucket, seconds, count,"
        " subject FROM main.counter ORDER BY place",
    [GET_VALUE] = "SELECT value FROM main.value WHERE name=?",
    [DATA_VERSION] = "PRAGMA main.data_version",
    [TIME_BOUNDS] = "SELECT min(number), max(number) FROM main.decision WHERE at >= ?1 AND at < ?2",
    [DECISIONS_OLDEST] = SELECT_DECISIONS,
    [DECISIONS_NEWEST] = SELECT_DECISIONS " DESC",
    [ASK] = "INSERT INTO main.request(verb, subject, seconds, note, at) VALUES(?,?,?,?,?)",
    [ANSWER] = "SELECT answered IS NOT NULL, done, answer FROM main.request WHERE id=?",
    [TAKE_BACK] = "DELETE FROM main.request WHERE id=? AND answered IS NULL",
    [NEXT_REQUEST] = "SELECT id, verb, subject, seconds, note, at FROM main.request"
                     " WHERE answered IS NULL ORDER BY id LIMIT 1",
    [PUT_ANSWER] = "UPDATE main.request SET answered=?2, done=?3, answer=?4 WHERE id=?1",
};

/* What leads from one version of the tables to the next. */
static const char *const steps[SCHEMA_STATE_VERSION] = {schema_state_sql};

struct statedb {
    sqlite3 *sqlite;
    char *path;
    sqlite3_stmt *statement[QUERY_COUNT]; /* prepared once */
    bool daemon;
    struct stat wal;  /* the -wal as this connection has it */
    struct stat file; /* the file as this connection has left it */
    bool watching;    /* data_version is known */
    sqlite3_int64 data_version;
};

static const char *const post_names[] = {"milter", "door"};
static const char *const outcome_names[] = {NULL, "accepted", "rejected", "aborted"};

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
    /* Preparing them all asks whether every table and column is there. */
    for (int i = 0; status == STATUS_OK && i < QUERY_COUNT; i++) {
        int code = sqlite3_prepare_v3(db->sqlite, queries[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &db->statement[i], NULL);
        if (code != SQLITE_OK) {
            status = why_set(why, db_status(code), "%s: %s", path, sqlite3_errmsg(db->sqlite));
        }
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
        for (int i = 0; i < QUERY_COUNT; i++) {
            sqlite3_finalize(db->statement[i]);
        }
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

/* -- statements ------------------------------------------------------------------------------ */

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC); /* NULL is NULL */
}

/* NULL for 0. */
static void bind_number(sqlite3_stmt *statement, int at, uint64_t number)
{
    if (number == 0) {
        sqlite3_bind_null(statement, at);
    } else {
        sqlite3_bind_int64(statement, at, (sqlite3_int64)number);
    }
}

/* Table and id of a row; NULL for what is built in. */
static void bind_rule(sqlite3_stmt *statement, int at, const struct rule *rule)
{
    if (rule->table == TABLE_NONE) {
        sqlite3_bind_null(statement, at);
        sqlite3_bind_null(statement, at + 1);
    } else {
        bind_text(statement, at, table_name(rule->table));
        sqlite3_bind_int64(statement, at + 1, rule->row);
    }
}

/* What SQLite said, and the transaction is over. */
static enum status failed(struct statedb *db, int code, struct why *why)
{
    enum status status = (code & 0xff) == SQLITE_PROTOCOL
                             ? STATUS_BUSY
                             : db_status(code); /* a race for a WAL lock */

    why_set(why, status, "%s: %s", db->path, sqlite3_errmsg(db->sqlite));
    statedb_rollback(db);
    return status;
}

/* Runs a statement that gives no row. */
static enum status run(struct statedb *db, enum query query, struct why *why)
{
    int code = sqlite3_step(db->statement[query]);
    enum status status = STATUS_OK;

    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        status = failed(db, code, why);
    }
    sqlite3_reset(db->statement[query]);
    return status;
}

/* As run, between begin and commit only. */
static enum status put(struct statedb *db, enum query query, struct why *why)
{
    if (sqlite3_get_autocommit(db->sqlite)) {
        return why_set(why, STATUS_BROKEN, "%s: what was being written has been undone", db->path);
    }
    return run(db, query, why);
}

/* The text of a column, "" for NULL; ended by NUL, a blob's octets too. */
static const char *column_text(sqlite3_stmt *statement, int column, size_t *size)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    if (size != NULL) {
        *size = text != NULL ? (size_t)sqlite3_column_bytes(statement, column) : 0;
    }
    return text != NULL ? text : "";
}

static void copy_text(sqlite3_stmt *statement, int column, char *to, size_t room)
{
    snprintf(to, room, "%s", column_text(statement, column, NULL));
}

static struct rule column_rule(sqlite3_stmt *statement, int column)
{
    struct rule rule = {table_named(column_text(statement, column, NULL)),
                        sqlite3_column_int64(statement, column + 1)};
    return rule;
}

/* -- writing --------------------------------------------------------------------------------- */

enum status statedb_begin(struct statedb *db, struct why *why)
{
    return run(db, BEGIN, why);
}

enum status statedb_commit(struct statedb *db, struct why *why)
{
    enum status status = put(db, COMMIT, why);

    leave(db);
    return status;
}

void statedb_rollback(struct statedb *db)
{
    if (!sqlite3_get_autocommit(db->sqlite)) {
        sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    }
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

/* UTF-8 (RFC 3629) without NUL? Almost all of it is ASCII: eight octets at a time. */
static bool is_text(const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + size;

    while (at < end) {
        uint64_t eight = 0;
        if (end - at >= 8) {
            memcpy(&eight, at, 8);
            /* no octet above 0x7f, and none is 0 */
            if ((eight & UINT64_C(0x8080808080808080)) == 0 &&
                ((eight - UINT64_C(0x0101010101010101)) & UINT64_C(0x8080808080808080)) == 0) {
                at += 8;
                continue;
            }
        }
        if (*at == 0) {
            return false;
        }
        if (*at < 0x80) {
            at++;
            continue;
        }
        int more = *at >= 0xc2 && *at <= 0xdf   ? 1
                   : *at >= 0xe0 && *at <= 0xef ? 2
                   : *at >= 0xf0 && *at <= 0xf4 ? 3
                                                : 0;
        unsigned low = *at == 0xe0 ? 0xa0 : *at == 0xf0 ? 0x90 : 0x80;
        unsigned high = *at == 0xed ? 0x9f : *at == 0xf4 ? 0x8f : 0xbf;
        if (more == 0 || end - at <= more || at[1] < low || at[1] > high) {
            return false;
        }
        for (int i = 2; i <= more; i++) {
            if ((at[i] & 0xc0) != 0x80) {
                return false;
            }
        }
        at += more + 1;
    }
    return true;
}

static void bind_octets(sqlite3_stmt *statement, int at, const char *bytes, size_t size)
{
    if (size == 0) {
        sqlite3_bind_null(statement, at);
    } else if (is_text(bytes, size)) {
        sqlite3_bind_text(statement, at, bytes, (int)size, SQLITE_STATIC);
    } else {
        sqlite3_bind_blob(statement, at, bytes, (int)size, SQLITE_STATIC);
    }
}

static void bind_column(sqlite3_stmt *statement, int at, const struct text *text)
{
    bind_octets(statement, at, text->bytes,
                text->size < DECISION_TEXT ? text->size : DECISION_TEXT);
}

/* What kept_text tells beyond its octets, gathered for the column lengths. */
struct lengths {
    char text[160];
    size_t used;
};

static void bind_kept(sqlite3_stmt *statement, int at, const struct kept_text *kept,
                      const char *name, struct lengths *lengths)
{
    size_t whole = kept->whole > kept->text.size ? kept->whole : kept->text.size;

    bind_column(statement, at, &kept->text);
    if (whole > DECISION_TEXT || whole > kept->text.size) {
        int size = snprintf(lengths->text + lengths->used, sizeof lengths->text - lengths->used,
                            "%s%s=%zu", lengths->used > 0 ? " " : "", name, whole);
        lengths->used += size > 0 ? (size_t)size : 0;
    }
}

static void bind_ip(sqlite3_stmt *statement, int at, bool known, const struct ip *ip,
                    char text[IP_TEXT])
{
    if (known) {
        ip_text(ip, text);
        bind_text(statement, at, text);
    } else {
        sqlite3_bind_null(statement, at);
    }
}

enum status statedb_put_decision(struct statedb *db, const struct decision *decision,
                                 struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_DECISION];
    const struct verdict *verdict = &decision->verdict;
    const struct limit_seen *limit = &verdict->limit;
    char at[STAMP_TEXT], client[IP_TEXT], listener[IP_TEXT];
    struct lengths lengths = {"", 0};

    if (decision->number == 0) {
        return STATUS_OK;
    }
#define AT(name) (COLUMN_##name + 1)
    sqlite3_bind_int64(statement, AT(NUMBER), (sqlite3_int64)decision->number);
    sqlite3_bind_text(statement, AT(AT), at, (int)stamp_write(decision->wall, true, at),
                      SQLITE_STATIC);
    bind_text(statement, AT(ACTION), action_name(verdict->action));
    bind_text(statement, AT(REASON), reason_row(verdict->reason)->name);
    bind_text(statement, AT(CHECK),
              verdict->check < CHECK_COUNT ? check_name(verdict->check) : NULL);
    bind_rule(statement, AT(ROW_TABLE), &verdict->rule);
    bind_column(statement, AT(ROW_TEXT), &decision->row_text);
    bind_text(statement, AT(KIND), kind_name(verdict->kind));
    bind_text(statement, AT(POST), post_names[decision->post]);
    bind_ip(statement, AT(CLIENT), decision->client_known, &decision->client, client);
    bind_kept(statement, AT(CLIENT_NAME), &decision->client_name, "client_name", &lengths);
    bind_kept(statement, AT(HELO), &decision->helo, "helo", &lengths);
    bind_kept(statement, AT(HOST), &decision->host, "host", &lengths);
    bind_ip(statement, AT(LISTENER), decision->listener_known, &decision->listener, listener);
    bind_kept(statement, AT(LOGIN), &decision->login, "login", &lengths);
    bind_kept(statement, AT(SENDER), &decision->sender, "sender", &lengths);
    bind_kept(statement, AT(RECIPIENT), &decision->recipient, "recipient", &lengths);
    sqlite3_bind_int(statement, AT(RECIPIENT_LOCAL), verdict->recipient_local);
    bind_column(statement, AT(SESSION), &decision->session);
    bind_column(statement, AT(QUEUE_ID), &decision->queue);
    bind_text(statement, AT(OUTCOME), outcome_names[decision->outcome]);
    sqlite3_bind_int64(statement, AT(POLICY), (sqlite3_int64)decision->generation);
    if (verdict->observed) {
        bind_text(statement, AT(OBSERVED_REASON), reason_row(verdict->observed_reason)->name);
        bind_rule(statement, AT(OBSERVED_TABLE), &verdict->observed_rule);
        bind_column(statement, AT(OBSERVED_TEXT), &decision->observed_row_text);
    } else {
        for (int i = AT(OBSERVED_REASON); i <= AT(OBSERVED_TEXT); i++) {
            sqlite3_bind_null(statement, i);
        }
    }
    if (limit->rule.table != TABLE_NONE) {
        const struct text *subject =
            limit->subject < SUBJECT_COUNT ? &decision->subject[limit->subject] : NULL;
        sqlite3_bind_int64(statement, AT(LIMIT_ROW), limit->rule.row);
        if (subject != NULL && subject->size > 0) {
            bind_column(statement, AT(LIMIT_SUBJECT), subject);
        } else {
            bind_text(statement, AT(LIMIT_SUBJECT), subject_name(limit->subject));
        }
        bind_text(statement, AT(LIMIT_COUNTS), counts_name(limit->counts));
        sqlite3_bind_int64(statement, AT(LIMIT_COUNT), (sqlite3_int64)limit->count);
        sqlite3_bind_int64(statement, AT(LIMIT_ALLOWED), (sqlite3_int64)limit->allowed);
        sqlite3_bind_int64(statement, AT(LIMIT_SECONDS), limit->seconds);
        sqlite3_bind_int64(statement, AT(LIMIT_WAIT), limit->wait);
    } else {
        for (int i = AT(LIMIT_ROW); i <= AT(LIMIT_WAIT); i++) {
            sqlite3_bind_null(statement, i);
        }
    }
    sqlite3_bind_int(statement, AT(MTA_REFUSED), decision->mta_refused);
    sqlite3_bind_int(statement, AT(SUBMISSION), decision->submission);
    sqlite3_bind_int(statement, AT(NOT_FOR_MTA), decision->not_for_mta);
    if (decision->blocks) {
        bind_column(statement, AT(BLOCKED), &decision->block_subject);
    } else {
        sqlite3_bind_null(statement, AT(BLOCKED));
    }
    bind_octets(statement, AT(LENGTHS), lengths.text, lengths.used);
#undef AT
    return put(db, PUT_DECISION, why);
}

enum status statedb_put_end(struct statedb *db, const struct decision *end, struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_END];
    enum status status = STATUS_OK;

    bind_text(statement, 2, outcome_names[end->outcome]);
    bind_column(statement, 3, &end->queue);
    for (size_t i = 0; status == STATUS_OK && i < end->numbers; i++) {
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)end->number_list[i]);
        status = put(db, PUT_END, why);
    }
    return status;
}

enum status statedb_put_block(struct statedb *db, struct block *block, struct why *why)
{
    char since[STAMP_TEXT], until[STAMP_TEXT];
    bool lasting = block->until > INT64_MAX - 1000 || block->until_steady == INT64_MAX;
    enum status status = STATUS_OK;

    stamp_write(block->since, false, since);
    /* a begun second is a whole one: never shorter than it is */
    stamp_write(lasting ? 0 : block->until + 999, false, until);
    for (int change = 1; change >= 0; change--) {
        enum query query = change != 0 ? CHANGE_BLOCK : PUT_BLOCK;
        sqlite3_stmt *statement = db->statement[query];
        if (change != 0 && block->row == 0) {
            continue;
        }
        if (change != 0) {
            sqlite3_bind_int64(statement, 1, block->row);
        }
        bind_text(statement, 2, block->subject);
        bind_text(statement, 3, since);
        bind_text(statement, 4, lasting ? NULL : until);
        bind_text(statement, 5,
                  block->reason == REASON_NONE ? "" : reason_row(block->reason)->name);
        bind_number(statement, 6, block->number);
        bind_rule(statement, 7, &block->rule);
        sqlite3_bind_int64(statement, 9, block->strikes > 0 ? block->strikes : 1);
        sqlite3_bind_int(statement, 10, block->by_hand);
        bind_text(statement, 11, block->note);
        if (lasting || block->until_steady < 0) {
            sqlite3_bind_null(statement, 12);
        } else {
            sqlite3_bind_int64(statement, 12, block->until_steady);
        }
        status = put(db, query, why);
        if (status != STATUS_OK) {
            return status;
        }
        if (change != 0 && sqlite3_changes(db->sqlite) > 0) {
            return STATUS_OK;
        }
        block->row = change != 0 ? 0 : sqlite3_last_insert_rowid(db->sqlite);
    }
    return STATUS_OK;
}

enum status statedb_drop_block(struct statedb *db, int64_t row, struct why *why)
{
    sqlite3_bind_int64(db->statement[DROP_BLOCK], 1, row);
    return put(db, DROP_BLOCK, why);
}

enum status statedb_put_counters(struct statedb *db, const struct ledger_row *rows, size_t count,
                                 struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_COUNTER];
    enum status status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        const struct ledger_row *row = &rows[i];
        unsigned char octets[LEDGER_BUCKETS * 4];
        for (size_t b = 0; b < sizeof octets; b++) {
            octets[b] = (unsigned char)(row->count[b / 4] >> b % 4 * 8);
        }
        sqlite3_bind_int64(statement, 1, row->place);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64)row->hash);
        sqlite3_bind_int64(statement, 3, (sqlite3_int64)row->group);
        sqlite3_bind_int64(statement, 4, (sqlite3_int64)row->record);
        sqlite3_bind_int64(statement, 5, row->since);
        sqlite3_bind_int64(statement, 6, (sqlite3_int64)row->allowed);
        sqlite3_bind_int64(statement, 7, row->bucket);
        sqlite3_bind_int64(statement, 8, row->seconds);
        sqlite3_bind_blob(statement, 9, octets, sizeof octets, SQLITE_STATIC);
        bind_text(statement, 10, row->subject);
        status = put(db, PUT_COUNTER, why);
    }
    return status;
}

enum status statedb_put_note(struct statedb *db, int64_t wall, const char *kind,
                             const char *subject, uint64_t number, const char *text,
                             struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_NOTE];
    char at[STAMP_TEXT];

    stamp_write(wall, true, at);
    bind_text(statement, 1, at);
    bind_text(statement, 2, kind);
    bind_text(statement, 3, subject);
    bind_number(statement, 4, number);
    bind_text(statement, 5, text);
    return put(db, PUT_NOTE, why);
}

enum status statedb_put_window(struct statedb *db, const struct window *window, struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_WINDOW];
    char client[IP_TEXT], opened[STAMP_TEXT], until[STAMP_TEXT];

    ip_text(&window->client, client);
    stamp_write(window->opened, false, opened);
    stamp_write(window->until + 999, false, until);
    bind_text(statement, 1, client);
    bind_text(statement, 2, window->login);
    bind_text(statement, 3, opened);
    bind_text(statement, 4, until);
    sqlite3_bind_int64(statement, 5, window->until_steady);
    return put(db, PUT_WINDOW, why);
}

enum status statedb_drop_window(struct statedb *db, const struct ip *client, struct why *why)
{
    char text[IP_TEXT];

    ip_text(client, text);
    bind_text(db->statement[DROP_WINDOW], 1, text);
    return put(db, DROP_WINDOW, why);
}

enum status statedb_drop_windows(struct statedb *db, int64_t steady, struct why *why)
{
    sqlite3_bind_int64(db->statement[DROP_WINDOWS], 1, steady);
    return put(db, DROP_WINDOWS, why);
}

enum status statedb_put_value(struct statedb *db, const char *name, const char *value,
                              struct why *why)
{
    bind_text(db->statement[PUT_VALUE], 1, name);
    bind_text(db->statement[PUT_VALUE], 2, value);
    return put(db, PUT_VALUE, why);
}

enum status statedb_prune(struct statedb *db, int64_t before, size_t most, size_t *gone,
                          struct why *why)
{
    static const enum query prunes[] = {PRUNE_DECISIONS, PRUNE_NOTES, PRUNE_REQUESTS};
    char at[STAMP_TEXT];
    enum status status = STATUS_OK;

    *gone = 0;
    stamp_write(before, true, at);
    for (size_t i = 0; status == STATUS_OK && *gone < most && i < 3; i++) {
        bind_text(db->statement[prunes[i]], 1, at);
        sqlite3_bind_int64(db->statement[prunes[i]], 2, (sqlite3_int64)(most - *gone));
        status = put(db, prunes[i], why);
        if (status == STATUS_OK) {
            *gone += (size_t)sqlite3_changes(db->sqlite);
        }
    }
    return status;
}

/* -- reading --------------------------------------------------------------------------------- */

/* Takes the rows of a statement until one is enough. */
static enum status each_row(struct statedb *db, enum query query,
                            bool (*row)(void *context, sqlite3_stmt *), void *context,
                            struct why *why)
{
    sqlite3_stmt *statement = db->statement[query];
    enum status status = STATUS_OK;
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW && row(context, statement)) {
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        status = failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}

struct taker {
    bool (*block)(void *, const struct block *);
    bool (*counter)(void *, const struct ledger_row *);
    void *context;
};

static bool read_time(sqlite3_stmt *statement, int column, int64_t *wall)
{
    size_t size;
    const char *text = column_text(statement, column, &size);

    return stamp_read(text, size, wall);
}

static bool take_block(void *context, sqlite3_stmt *statement)
{
    const struct taker *taker = context;
    struct block block = {0};
    size_t size;
    const char *subject = column_text(statement, 1, &size);
    bool lasting = sqlite3_column_type(statement, 3) == SQLITE_NULL;

    if (size == 0 || size >= sizeof block.subject || strlen(subject) != size ||
        !read_time(statement, 2, &block.since) ||
        (!lasting && !read_time(statement, 3, &block.until))) {
        return true;
    }
    memcpy(block.subject, subject, size);
    block.row = sqlite3_column_int64(statement, 0);
    block.reason = reason_named(column_text(statement, 4, NULL));
    block.number = (uint64_t)sqlite3_column_int64(statement, 5);
    block.rule = column_rule(statement, 6);
    sqlite3_int64 strikes = sqlite3_column_int64(statement, 8);
    block.strikes = strikes < 1 ? 1 : strikes > 1000000 ? 1000000 : (unsigned)strikes;
    block.by_hand = sqlite3_column_int(statement, 9) != 0;
    copy_text(statement, 10, block.note, sizeof block.note);
    if (lasting) {
        block.until = block.until_steady = INT64_MAX;
    } else if (sqlite3_column_type(statement, 11) == SQLITE_INTEGER) {
        block.until_steady = sqlite3_column_int64(statement, 11);
    } else {
        block.until_steady = STATEDB_BY_WALL;
    }
    return taker->block(taker->context, &block);
}

enum status statedb_blocks(struct statedb *db, bool (*take)(void *context, const struct block *),
                           void *context, struct why *why)
{
    struct taker taker = {take, NULL, context};
    return each_row(db, GET_BLOCKS, take_block, &taker, why);
}

struct window_taker {
    bool (*take)(void *, const struct window *);
    void *context;
};

static bool take_window(void *context, sqlite3_stmt *statement)
{
    const struct window_taker *taker = context;
    struct window window = {.until_steady = STATEDB_BY_WALL};

    copy_text(statement, 1, window.login, sizeof window.login);
    if (!ip_parse(column_text(statement, 0, NULL), &window.client) || window.login[0] == '\0' ||
        !read_time(statement, 2, &window.opened) || !read_time(statement, 3, &window.until)) {
        return true;
    }
    if (sqlite3_column_type(statement, 4) == SQLITE_INTEGER) {
        window.until_steady = sqlite3_column_int64(statement, 4);
    }
    return taker->take(taker->context, &window);
}

enum status statedb_windows(struct statedb *db, bool (*take)(void *context, const struct window *),
                            void *context, struct why *why)
{
    struct window_taker taker = {take, context};
    return each_row(db, GET_WINDOWS, take_window, &taker, why);
}

static bool take_counter(void *context, sqlite3_stmt *statement)
{
    const struct taker *taker = context;
    struct ledger_row row = {0};
    sqlite3_int64 seconds = sqlite3_column_int64(statement, 7);
    const unsigned char *octets = sqlite3_column_blob(statement, 8);

    if (sqlite3_column_bytes(statement, 8) != LEDGER_BUCKETS * 4 || octets == NULL || seconds < 0 ||
        seconds > UINT32_MAX) {
        return true;
    }
    for (size_t b = 0; b < LEDGER_BUCKETS * 4; b++) {
        row.count[b / 4] |= (uint32_t)octets[b] << b % 4 * 8;
    }
    row.place = sqlite3_column_int64(statement, 0);
    row.hash = (uint64_t)sqlite3_column_int64(statement, 1);
    row.group = (uint64_t)sqlite3_column_int64(statement, 2);
    row.record = (uint64_t)sqlite3_column_int64(statement, 3);
    row.since = sqlite3_column_int64(statement, 4);
    row.allowed = (uint64_t)sqlite3_column_int64(statement, 5);
    row.bucket = sqlite3_column_int64(statement, 6);
    row.seconds = (uint32_t)seconds;
    copy_text(statement, 9, row.subject, sizeof row.subject);
    return taker->counter(taker->context, &row);
}

enum status statedb_counters(struct statedb *db,
                             bool (*take)(void *context, const struct ledger_row *), void *context,
                             struct why *why)
{
    struct taker taker = {NULL, take, context};
    return each_row(db, GET_COUNTERS, take_counter, &taker, why);
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
        status = failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
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
    const unsigned char *answer = code == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
    if (code != SQLITE_ROW) {
        status = failed(db, code, why);
    } else if (answer == NULL || strcmp((const char *)answer, "ok") != 0) {
        status = why_set(why, STATUS_BAD, "%s: is damaged: %.120s", db->path,
                         answer != NULL ? (const char *)answer : "no memory to say how");
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
        status = failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}

/* -- the log --------------------------------------------------------------------------------- */

/* A wanted sender or recipient. */
struct wanted_address {
    bool any, domain_only;
    char domain[ADDRESS_DOMAIN_ROOM];
    struct address address;
    const char *text; /* as it was asked for, for what is malformed */
};

struct reading {
    const struct statedb_filter *filter;
    struct range range;
    struct wanted_address sender, recipient;
    size_t taken;
    bool (*take)(void *, const struct statedb_decision *);
    void *context;
};

static void want_address(struct wanted_address *wanted, const char *text)
{
    wanted->any = text == NULL;
    wanted->text = text;
    if (text != NULL && text[0] == '@') {
        wanted->domain_only = domain_fold(text + 1, strlen(text + 1), wanted->domain);
    }
    if (text != NULL && !wanted->domain_only) {
        address_parse(text, strlen(text), &wanted->address);
    }
}

static bool same_text(const char *text, size_t size, const char *wanted)
{
    return strlen(wanted) == size && sqlite3_strnicmp(text, wanted, (int)size) == 0;
}

static bool address_fits(sqlite3_stmt *statement, enum column column,
                         const struct wanted_address *wanted)
{
    struct address address;
    size_t size;
    const char *text = column_text(statement, column, &size);

    if (wanted->any) {
        return true;
    }
    address_parse(text, size, &address);
    if (wanted->domain_only) {
        return address.kind == ADDRESS_MAILBOX && strcmp(address.domain, wanted->domain) == 0;
    }
    if (address.kind == ADDRESS_MALFORMED) {
        if (size >= 2 && text[0] == '<' && text[size - 1] == '>' && wanted->text[0] != '<') {
            text++;
            size -= 2;
        }
        return same_text(text, size, wanted->text);
    }
    return address.kind == wanted->address.kind &&
           (address.kind == ADDRESS_NULL || (strcmp(address.fold, wanted->address.fold) == 0 &&
                                             strcmp(address.domain, wanted->address.domain) == 0));
}

static bool text_fits(sqlite3_stmt *statement, enum column column, const char *wanted)
{
    size_t size;
    const char *text = column_text(statement, column, &size);

    return wanted == NULL || same_text(text, size, wanted);
}

static bool fits(struct reading *reading, sqlite3_stmt *statement)
{
    const struct statedb_filter *filter = reading->filter;
    struct ip client;

    return text_fits(statement, COLUMN_ACTION, filter->action) &&
           text_fits(statement, COLUMN_REASON, filter->reason) &&
           text_fits(statement, COLUMN_LOGIN, filter->login) &&
           (filter->client == NULL ||
            (ip_parse(column_text(statement, COLUMN_CLIENT, NULL), &client) &&
             range_holds(&reading->range, &client))) &&
           address_fits(statement, COLUMN_SENDER, &reading->sender) &&
           address_fits(statement, COLUMN_RECIPIENT, &reading->recipient);
}

static struct text read_text(sqlite3_stmt *statement, enum column column)
{
    struct text text;

    text.bytes = column_text(statement, column, &text.size);
    return text;
}

/* The octets that are there, and the length of which `lengths` tells (name=number, spaces). */
static struct kept_text read_kept(sqlite3_stmt *statement, enum column column, const char *name)
{
    struct kept_text kept = {read_text(statement, column), 0};
    const char *at = column_text(statement, COLUMN_LENGTHS, NULL);
    size_t size = strlen(name);

    kept.whole = (uint32_t)kept.text.size;
    while (*at != '\0') {
        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            unsigned long long whole = strtoull(at + size + 1, NULL, 10);
            kept.whole = whole <= UINT32_MAX ? (uint32_t)whole : UINT32_MAX;
        }
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    return kept;
}

static unsigned place_of(const char *name, const char *const *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (names[i] != NULL && strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return 0;
}

static void read_decision(sqlite3_stmt *statement, struct statedb_decision *stored)
{
    struct decision *decision = &stored->decision;
    struct verdict *verdict = &decision->verdict;
    struct limit_seen *limit = &verdict->limit;
    const struct text none = {"", 0};

    memset(stored, 0, sizeof *stored);
    decision->kind = RECORD_DECISION;
    decision->number = (uint64_t)sqlite3_column_int64(statement, COLUMN_NUMBER);
    stored->at = column_text(statement, COLUMN_AT, NULL);
    stamp_read(stored->at, strlen(stored->at), &decision->wall);
    verdict->action = ACTION_DEFER;
    action_named(column_text(statement, COLUMN_ACTION, NULL), &verdict->action);
    verdict->reason = reason_named(column_text(statement, COLUMN_REASON, NULL));
    verdict->check = check_named(column_text(statement, COLUMN_CHECK, NULL));
    verdict->rule = column_rule(statement, COLUMN_ROW_TABLE);
    decision->row_text = read_text(statement, COLUMN_ROW_TEXT);
    kind_named(column_text(statement, COLUMN_KIND, NULL), &verdict->kind);
    decision->post = (enum post)place_of(column_text(statement, COLUMN_POST, NULL), post_names, 2);
    decision->client_known =
        ip_parse(column_text(statement, COLUMN_CLIENT, NULL), &decision->client);
    decision->client_name = read_kept(statement, COLUMN_CLIENT_NAME, "client_name");
    decision->helo = read_kept(statement, COLUMN_HELO, "helo");
    decision->host = read_kept(statement, COLUMN_HOST, "host");
    decision->listener_known =
        ip_parse(column_text(statement, COLUMN_LISTENER, NULL), &decision->listener);
    decision->login = read_kept(statement, COLUMN_LOGIN, "login");
    decision->sender = read_kept(statement, COLUMN_SENDER, "sender");
    decision->recipient = read_kept(statement, COLUMN_RECIPIENT, "recipient");
    verdict->recipient_local = sqlite3_column_int(statement, COLUMN_RECIPIENT_LOCAL) != 0;
    decision->session = read_text(statement, COLUMN_SESSION);
    decision->queue = read_text(statement, COLUMN_QUEUE_ID);
    decision->outcome =
        (enum outcome)place_of(column_text(statement, COLUMN_OUTCOME, NULL), outcome_names, 4);
    stored->ended = decision->outcome != OUTCOME_OPEN;
    decision->generation = (uint64_t)sqlite3_column_int64(statement, COLUMN_POLICY);
    verdict->observed = sqlite3_column_type(statement, COLUMN_OBSERVED_REASON) != SQLITE_NULL;
    verdict->observed_reason = reason_named(column_text(statement, COLUMN_OBSERVED_REASON, NULL));
    verdict->observed_rule = column_rule(statement, COLUMN_OBSERVED_TABLE);
    decision->observed_row_text = read_text(statement, COLUMN_OBSERVED_TEXT);
    for (int i = 0; i < SUBJECT_COUNT; i++) {
        decision->subject[i] = none;
    }
    if (sqlite3_column_type(statement, COLUMN_LIMIT_ROW) != SQLITE_NULL) {
        struct text subject = read_text(statement, COLUMN_LIMIT_SUBJECT);
        char name[16];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(subject.bytes, ":"), subject.bytes);
        limit->rule.table = TABLE_RATE_LIMIT;
        limit->rule.row = sqlite3_column_int64(statement, COLUMN_LIMIT_ROW);
        limit->subject = subject_named(name);
        if (limit->subject < SUBJECT_COUNT && strchr(subject.bytes, ':') != NULL) {
            decision->subject[limit->subject] = subject;
        }
        counts_named(column_text(statement, COLUMN_LIMIT_COUNTS, NULL), &limit->counts);
        limit->count = (uint64_t)sqlite3_column_int64(statement, COLUMN_LIMIT_COUNT);
        limit->allowed = (uint64_t)sqlite3_column_int64(statement, COLUMN_LIMIT_ALLOWED);
        limit->seconds = sqlite3_column_int64(statement, COLUMN_LIMIT_SECONDS);
        limit->wait = sqlite3_column_int64(statement, COLUMN_LIMIT_WAIT);
    }
    decision->mta_refused = sqlite3_column_int(statement, COLUMN_MTA_REFUSED) != 0;
    decision->submission = sqlite3_column_int(statement, COLUMN_SUBMISSION) != 0;
    decision->not_for_mta = sqlite3_column_int(statement, COLUMN_NOT_FOR_MTA) != 0;
    decision->block_subject = read_text(statement, COLUMN_BLOCKED);
    decision->blocks = decision->block_subject.size > 0;
    decision->lifted = none;
}

static bool take_decision(void *context, sqlite3_stmt *statement)
{
    struct reading *reading = context;
    struct statedb_decision stored;

    if (!fits(reading, statement)) {
        return true;
    }
    read_decision(statement, &stored);
    reading->taken++;
    return reading->take(reading->context, &stored) && reading->taken != reading->filter->most;
}

/* The numbers between which all decisions of a time lie: few, where time and numbers ascend
 * together, and found in the index. */
static enum status bound_by_time(struct statedb *db, const char *since, const char *until,
                                 sqlite3_int64 *first, sqlite3_int64 *last, struct why *why)
{
    sqlite3_stmt *statement = db->statement[TIME_BOUNDS];
    enum status status = STATUS_OK;

    bind_text(statement, 1, since);
    bind_text(statement, 2, until);
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW) {
        status = failed(db, code, why);
    } else if (sqlite3_column_type(statement, 0) == SQLITE_NULL) {
        *last = 0; /* none */
    } else {
        sqlite3_int64 low = sqlite3_column_int64(statement, 0);
        sqlite3_int64 high = sqlite3_column_int64(statement, 1);
        *first = low > *first ? low : *first;
        *last = high < *last ? high : *last;
    }
    sqlite3_reset(statement);
    return status;
}

enum status statedb_decisions(struct statedb *db, const struct statedb_filter *filter,
                              bool (*take)(void *context, const struct statedb_decision *),
                              void *context, struct why *why)
{
    enum query query = filter->newest_first ? DECISIONS_NEWEST : DECISIONS_OLDEST;
    sqlite3_stmt *statement = db->statement[query];
    char since[STAMP_TEXT], until[STAMP_TEXT];
    sqlite3_int64 first = 1, last = INT64_MAX;
    struct reading reading = {.filter = filter, .take = take, .context = context};
    enum status status = STATUS_OK;

    if (filter->client != NULL) {
        status = range_parse(filter->client, strlen(filter->client), &reading.range, why);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (filter->above >= INT64_MAX || filter->number > INT64_MAX) {
        return STATUS_OK;
    }
    want_address(&reading.sender, filter->sender);
    want_address(&reading.recipient, filter->recipient);
    first = (sqlite3_int64)filter->above + 1;
    if (filter->number != 0) {
        first = (sqlite3_int64)filter->number > first ? (sqlite3_int64)filter->number : first;
        last = (sqlite3_int64)filter->number;
    }
    stamp_write(filter->since, true, since);
    stamp_write(filter->until != 0 ? filter->until : INT64_MAX, true, until);
    if (filter->since != 0 || filter->until != 0) {
        status = bound_by_time(db, filter->since != 0 ? since : "", until, &first, &last, why);
        if (status != STATUS_OK) {
            return status;
        }
    }
    sqlite3_bind_int64(statement, 1, first);
    sqlite3_bind_int64(statement, 2, last);
    bind_text(statement, 3, filter->since != 0 ? since : "");
    bind_text(statement, 4, filter->until != 0 ? until : "~"); /* behind every time */
    return each_row(db, query, take_decision, &reading, why);
}

/* -- requests -------------------------------------------------------------------------------- */

enum status statedb_ask(struct statedb *db, struct statedb_request *request, int64_t wall,
                        struct why *why)
{
    sqlite3_stmt *statement = db->statement[ASK];
    char at[STAMP_TEXT];
    enum status status;

    stamp_write(wall, true, at);
    bind_text(statement, 1, request->verb);
    bind_text(statement, 2, request->subject);
    sqlite3_bind_int64(statement, 3, request->seconds);
    bind_text(statement, 4, request->note);
    bind_text(statement, 5, at);
    status = run(db, ASK, why);
    if (status == STATUS_OK) {
        request->id = sqlite3_last_insert_rowid(db->sqlite);
        request->answered = request->done = false;
        request->answer[0] = '\0';
    }
    return status;
}

enum status statedb_answer(struct statedb *db, struct statedb_request *request, struct why *why)
{
    sqlite3_stmt *statement = db->statement[ANSWER];
    enum status status = STATUS_OK;

    sqlite3_bind_int64(statement, 1, request->id);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        request->answered = sqlite3_column_int(statement, 0) != 0;
        request->done = sqlite3_column_int(statement, 1) != 0;
        copy_text(statement, 2, request->answer, sizeof request->answer);
    } else if (code == SQLITE_DONE) {
        request->answered = true;
        request->done = false;
        snprintf(request->answer, sizeof request->answer, "the request is gone");
    } else {
        status = failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}

enum status statedb_take_back(struct statedb *db, int64_t id, struct why *why)
{
    sqlite3_bind_int64(db->statement[TAKE_BACK], 1, id);
    return run(db, TAKE_BACK, why);
}

enum status statedb_next_request(struct statedb *db, struct statedb_request *request, bool *found,
                                 struct why *why)
{
    sqlite3_stmt *statement = db->statement[NEXT_REQUEST];
    enum status status = STATUS_OK;

    memset(request, 0, sizeof *request);
    *found = false;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        request->id = sqlite3_column_int64(statement, 0);
        copy_text(statement, 1, request->verb, sizeof request->verb);
        copy_text(statement, 2, request->subject, sizeof request->subject);
        request->seconds = sqlite3_column_int64(statement, 3);
        copy_text(statement, 4, request->note, sizeof request->note);
        if (!read_time(statement, 5, &request->at)) {
            request->at = 0;
        }
        *found = true;
    } else if (code != SQLITE_DONE) {
        status = failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}

enum status statedb_put_answer(struct statedb *db, const struct statedb_request *request,
                               int64_t wall, struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_ANSWER];
    char at[STAMP_TEXT];

    stamp_write(wall, true, at);
    sqlite3_bind_int64(statement, 1, request->id);
    bind_text(statement, 2, at);
    sqlite3_bind_int(statement, 3, request->done);
    bind_text(statement, 4, request->answer);
    return put(db, PUT_ANSWER, why);
}
