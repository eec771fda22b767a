/* policy.db: copied whole in one read transaction, then read and checked at leisure. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/policydb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/db.h"
#include "store/schema.h"

/* Rows after which whoever waits for the processor has it: a million rows are a second's work, and
 * mail goes on meanwhile. */
enum { YIELD_EVERY = 256 };

struct policydb {
    sqlite3 *memory;
    char *path;
    bool borrowed; /* memory is somebody's connection to the file */
};

/* What can be seen before SQLite looks: SQLite would take an empty file for an empty database, wait
 * at a FIFO, and make a -shm file for a database in WAL mode. */
enum status policydb_look(const char *path, struct why *why)
{
    unsigned char header[100];
    struct stat seen;
    enum status status = STATUS_BROKEN;
    ssize_t size = 0;
    int file = -1;

    if (lstat(path, &seen) != 0) {
        return why_set(why, errno == ENOENT || errno == ENOTDIR ? STATUS_BUSY : STATUS_BROKEN,
                       "%s: %s%s", path, strerror(errno),
                       errno == ENOENT ? "; sekisho init makes one" : "");
    }
    if (S_ISLNK(seen.st_mode)) {
        return why_set(why, STATUS_BAD, "%s: is a symbolic link; put the database itself there",
                       path);
    }
    if (!S_ISREG(seen.st_mode)) {
        return why_set(why, STATUS_BAD, "%s: is not a file but a %s", path,
                       S_ISDIR(seen.st_mode)    ? "folder"
                       : S_ISFIFO(seen.st_mode) ? "FIFO"
                       : S_ISSOCK(seen.st_mode) ? "socket"
                                                : "device");
    }
    file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) {
        return why_set(why, errno == ENOENT ? STATUS_BUSY : STATUS_BROKEN,
                       "%s: cannot be opened: %s", path, strerror(errno));
    }
    size = read(file, header, sizeof header);
    if (size < 0) {
        why_set(why, STATUS_BROKEN, "%s: cannot be read: %s", path, strerror(errno));
    } else if (size == 0) {
        status = why_set(why, STATUS_BAD, "%s: is empty; make a policy with sekisho init", path);
    } else if (size < (ssize_t)sizeof header || memcmp(header, "SQLite format 3", 16) != 0) {
        status = why_set(why, STATUS_BAD, "%s: is not an SQLite database", path);
    } else if (header[18] == 2 || header[19] == 2) {
        status = why_set(why, STATUS_BAD,
                         "%s: is in WAL mode, which a reader without write access cannot open; say "
                         "PRAGMA journal_mode=DELETE in the sqlite3 shell",
                         path);
    } else {
        status = STATUS_OK;
    }
    close(file);
    return status;
}

/* Copies all pages under one read lock. */
static enum status copy_pages(sqlite3 *from, sqlite3 *to, const char *path, int wait_ms,
                              struct why *why)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    int code = SQLITE_NOMEM;

    if (backup != NULL) {
        /* The backup's own lock does not use the busy handler: wait here, in small steps. */
        for (int waited = 0;; waited += 20) {
            code = sqlite3_backup_step(backup, -1);
            if (db_status(code) != STATUS_BUSY || waited >= wait_ms) {
                break;
            }
            sqlite3_sleep(20);
        }
        int finish = sqlite3_backup_finish(backup);
        if (code == SQLITE_DONE) {
            return STATUS_OK;
        }
        code = finish != SQLITE_OK && db_status(code) != STATUS_BUSY ? finish : code;
    }
    if ((code & 0xff) == SQLITE_READONLY || code == SQLITE_BUSY_RECOVERY ||
        (code & 0xff) == SQLITE_CANTOPEN) {
        return why_set(
            why, STATUS_BUSY,
            "%s: an edit was interrupted; open it once with the sqlite3 shell as its owner, "
            "which rolls the edit back",
            path);
    }
    if (db_status(code) == STATUS_BUSY) {
        return why_set(why, STATUS_BUSY, "%s: an editor holds its lock", path);
    }
    return why_set(why, db_status(code), "%s: %s", path, sqlite3_errstr(code));
}

/* In UTF-16 the schema's CHECKs measure something else than they say. */
static enum status check_encoding(struct policydb *db, struct why *why)
{
    sqlite3_int64 utf8 = 0;
    enum status status = db_integer(db->memory, db->path,
                                    "SELECT encoding='UTF-8' FROM pragma_encoding", &utf8, why);

    return status == STATUS_OK && utf8 == 0
               ? why_set(why, STATUS_BAD, "%s: is in UTF-16; a policy must be in UTF-8", db->path)
               : status;
}

/* Is it a sekisho policy of this version, undamaged, its tables real tables? */
static enum status check_copy(struct policydb *db, struct why *why)
{
    sqlite3_int64 application = 0, version = 0, row = 0;
    sqlite3_stmt *statement = NULL;
    enum status status;
    int code;

    status = db_run(db->memory, db->path, "PRAGMA ignore_check_constraints=ON", why);
    if (status == STATUS_OK && !db->borrowed) {
        status = db_run(db->memory, db->path, "PRAGMA query_only=ON", why);
    }
    if (status == STATUS_OK) {
        status = db_integer(db->memory, db->path, "PRAGMA application_id", &application, why);
    }
    if (status == STATUS_OK) {
        status = db_integer(db->memory, db->path, "PRAGMA user_version", &version, why);
    }
    if (status != STATUS_OK) {
        return status;
    }
    /* .dump and restore lose both numbers; the version row stays. */
    struct why inner;
    status = db_integer(db->memory, db->path,
                        "SELECT schema FROM version WHERE typeof(schema)='integer' "
                        "ORDER BY schema DESC LIMIT 1",
                        &row, &inner);
    if (status != STATUS_OK && sqlite3_errcode(db->memory) != SQLITE_ERROR) {
        return why_set(why, status, "%s", inner.text);
    }
    if (row == 0 || (application != 0 && application != SCHEMA_APPLICATION_ID)) {
        return why_set(why, STATUS_BAD, "%s: is an SQLite database, but not a sekisho policy",
                       db->path);
    }
    status = check_encoding(db, why);
    if (status != STATUS_OK) {
        return status;
    }
    if (row > SCHEMA_POLICY_VERSION || version > SCHEMA_POLICY_VERSION) {
        return why_set(why, STATUS_BAD,
                       "%s: was made by a newer sekisho (schema %lld, this one knows %d)", db->path,
                       (long long)(row > version ? row : version), SCHEMA_POLICY_VERSION);
    }
    for (int t = TABLE_NONE + 1; t < TABLE_COUNT; t++) {
        const char *name = table_name((enum table)t);
        const char *type = NULL, *sql = NULL;
        code = sqlite3_prepare_v2(db->memory,
                                  "SELECT type, sql FROM sqlite_master WHERE name=?1 AND type IN "
                                  "('table','view')",
                                  -1, &statement, NULL);
        if (code == SQLITE_OK) {
            sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
            code = sqlite3_step(statement);
        }
        if (code == SQLITE_ROW) {
            type = (const char *)sqlite3_column_text(statement, 0);
            sql = (const char *)sqlite3_column_text(statement, 1);
        }
        if (code != SQLITE_ROW && code != SQLITE_DONE) {
            status = why_set(why, db_status(code), "%s: %s", db->path, sqlite3_errmsg(db->memory));
        } else if (type == NULL || sql == NULL) {
            status = why_set(why, STATUS_BAD, "%s: the table %s is missing", db->path, name);
        } else if (strcmp(type, "table") != 0 || sqlite3_strnicmp(sql, "CREATE TABLE", 12) != 0) {
            status =
                why_set(why, STATUS_BAD, "%s: %s must be a table, not a view or a virtual table",
                        db->path, name);
        }
        sqlite3_finalize(statement);
        statement = NULL;
        if (status != STATUS_OK) {
            return status;
        }
    }
    code = sqlite3_prepare_v2(db->memory, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    const unsigned char *answer = code == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
    if (answer == NULL && db_status(sqlite3_errcode(db->memory)) != STATUS_OK) {
        status = why_set(why, db_status(sqlite3_errcode(db->memory)), "%s: %s", db->path,
                         sqlite3_errmsg(db->memory));
    } else if (answer == NULL || strcmp((const char *)answer, "ok") != 0) {
        status = why_set(why, STATUS_BAD, "%s: is damaged: %.120s", db->path,
                         answer != NULL ? (const char *)answer : sqlite3_errmsg(db->memory));
    }
    sqlite3_finalize(statement);
    return status;
}

enum status policydb_open(const char *path, int wait_ms, struct policydb **opened, struct why *why)
{
    struct policydb *db = calloc(1, sizeof *db);
    sqlite3 *file = NULL;
    enum status status;

    *opened = NULL;
    if (db == NULL || (db->path = strdup(path)) == NULL) {
        status = why_set(why, STATUS_BROKEN, "%s: no memory to read it", path);
        goto out;
    }
    status = policydb_look(path, why);
    if (status != STATUS_OK) {
        goto out;
    }
    status = db_open(path, SQLITE_OPEN_READONLY, wait_ms, &file, why);
    if (status != STATUS_OK) {
        goto out;
    }
    status = db_open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, 0, &db->memory, why);
    if (status != STATUS_OK) {
        goto out;
    }
    status = copy_pages(file, db->memory, path, wait_ms, why);
    if (status != STATUS_OK) {
        goto out;
    }
    sqlite3_close(file);
    file = NULL;
    status = check_copy(db, why);
    if (status != STATUS_OK) {
        goto out;
    }
    *opened = db;
    db = NULL;
out:
    sqlite3_close(file);
    policydb_close(db);
    return status;
}

enum status policydb_on(struct sqlite3 *connection, const char *path, struct policydb **borrowed,
                        struct why *why)
{
    struct policydb *db = calloc(1, sizeof *db);
    enum status status;

    *borrowed = NULL;
    if (db == NULL || (db->path = strdup(path)) == NULL) {
        free(db);
        return why_set(why, STATUS_BROKEN, "%s: no memory to read it", path);
    }
    db->memory = connection;
    db->borrowed = true;
    status = check_copy(db, why);
    if (status == STATUS_OK) {
        status = db_run(connection, path, "PRAGMA ignore_check_constraints=OFF", why);
    }
    if (status == STATUS_OK) {
        *borrowed = db;
    } else {
        policydb_close(db);
    }
    return status;
}

struct sqlite3 *policydb_connection(struct policydb *db)
{
    return db->memory;
}

void policydb_close(struct policydb *db)
{
    if (db != NULL) {
        if (!db->borrowed) {
            sqlite3_close(db->memory);
        }
        free(db->path);
        free(db);
    }
}

/* -- rows ----------------------------------------------------------------------------------- */

struct reading {
    struct policydb *db;
    void (*fault)(void *, const struct policydb_fault *);
    void *context;
    struct why *first;
    enum status worst;
};

static void tell_fault(struct reading *reading, enum table table, int64_t row, enum status status,
                       const struct why *why)
{
    struct policydb_fault fault = {table, row, why->text};

    if (reading->worst == STATUS_OK && reading->first != NULL) {
        *reading->first = *why;
    }
    if (reading->worst == STATUS_OK || status == STATUS_BROKEN) {
        reading->worst = status;
    }
    if (reading->fault != NULL) {
        reading->fault(reading->context, &fault);
    }
}

static struct cell cell_of(sqlite3_stmt *statement, int column)
{
    struct cell cell = {CELL_OTHER, 0, "", 0};

    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
        cell.type = CELL_NULL;
        break;
    case SQLITE_INTEGER:
        cell.type = CELL_INTEGER;
        cell.integer = sqlite3_column_int64(statement, column);
        break;
    case SQLITE_TEXT:
        cell.text = (const char *)sqlite3_column_text(statement, column);
        cell.size = (size_t)sqlite3_column_bytes(statement, column);
        cell.type = cell.text != NULL ? CELL_TEXT : CELL_OTHER;
        break;
    default:
        break;
    }
    return cell;
}

static void read_table(struct reading *reading, enum table table, struct policy_build *build)
{
    const char *const *columns = policy_columns(table);
    struct cell cells[12];
    sqlite3_stmt *statement = NULL;
    struct why why;
    char sql[512];
    size_t rows = 0;
    int count = 0, code;

    int used = snprintf(sql, sizeof sql, "SELECT id");
    for (; columns[count] != NULL; count++) {
        used += snprintf(sql + used, sizeof sql - (size_t)used, ",\"%s\".\"%s\"", table_name(table),
                         columns[count]);
    }
    snprintf(sql + used, sizeof sql - (size_t)used, " FROM main.\"%s\" ORDER BY id",
             table_name(table));
    code = sqlite3_prepare_v2(reading->db->memory, sql, -1, &statement, NULL);
    if (code != SQLITE_OK) {
        why_set(&why, db_status(code), "%s: %s", table_name(table),
                sqlite3_errmsg(reading->db->memory));
        tell_fault(reading, table, 0, db_status(code), &why);
        return;
    }
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(statement, 0);
        enum status status;
        if (sqlite3_column_type(statement, 0) != SQLITE_INTEGER) {
            status =
                why_set(&why, STATUS_BAD, "%s: a row has no number as its id", table_name(table));
        } else {
            for (int i = 0; i < count; i++) {
                cells[i] = cell_of(statement, i + 1);
            }
            status = policy_build_row(build, table, id, cells, &why);
        }
        if (status != STATUS_OK) {
            tell_fault(reading, table, id, status, &why);
        }
        if (++rows % YIELD_EVERY == 0) {
            sched_yield();
        }
    }
    if (code != SQLITE_DONE) {
        why_set(&why, db_status(code), "%s: %s", table_name(table),
                sqlite3_errmsg(reading->db->memory));
        tell_fault(reading, table, 0, db_status(code), &why);
    }
    sqlite3_finalize(statement);
}

enum status policydb_read(struct policydb *db,
                          void (*fault)(void *context, const struct policydb_fault *),
                          void *context, struct policy_build **read, struct why *why)
{
    struct reading reading = {db, fault, context, why, STATUS_OK};
    struct policy_build *build = policy_build_new();

    *read = NULL;
    if (build == NULL) {
        return why_set(why, STATUS_BROKEN, "%s: no memory to read it", db->path);
    }
    for (int t = TABLE_NONE + 1; t < TABLE_COUNT; t++) {
        read_table(&reading, (enum table)t, build);
    }
    if (reading.worst == STATUS_OK) {
        *read = build;
    } else {
        policy_build_free(build);
    }
    return reading.worst;
}

/* -- writing -------------------------------------------------------------------------------- */

/* Makes a rename last: the folder's own entry on disk. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int file = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (file >= 0) {
        fsync(file);
        close(file);
    }
    free(folder);
}

/* A name beside path that nobody else uses. */
static char *name_beside(const char *path)
{
    size_t room = strlen(path) + 32;
    char *name = malloc(room);

    if (name != NULL) {
        snprintf(name, room, "%s.new.%ld", path, (long)getpid());
    }
    return name;
}

enum status policydb_keep(struct policydb *db, const char *path, struct why *why)
{
    char *beside = name_beside(path);
    sqlite3 *file = NULL;
    enum status status = STATUS_BROKEN;

    if (beside == NULL) {
        return why_set(why, STATUS_BROKEN, "%s: no memory to write it", path);
    }
    unlink(beside);
    status = db_open(beside, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, 0, &file, why);
    if (status == STATUS_OK) {
        status = copy_pages(db->memory, file, beside, 0, why);
    }
    sqlite3_close(file);
    if (status == STATUS_OK && rename(beside, path) != 0) {
        status = why_set(why, STATUS_BROKEN, "%s: cannot be renamed: %s", path, strerror(errno));
    }
    if (status == STATUS_OK) {
        sync_folder(path);
    } else {
        unlink(beside);
    }
    free(beside);
    return status;
}

static enum status insert(sqlite3 *db, const char *sql, const char *first, const char *second,
                          struct why *why)
{
    sqlite3_stmt *statement = NULL;
    enum status status = STATUS_OK;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (code == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, first, -1, SQLITE_STATIC);
        if (second != NULL) {
            sqlite3_bind_text(statement, 2, second, -1, SQLITE_STATIC);
        }
        code = sqlite3_step(statement);
    }
    if (code != SQLITE_DONE) {
        status = why_set(why, db_status(code), "%s: %s", first, sqlite3_errmsg(db));
    }
    sqlite3_finalize(statement);
    return status;
}

/* The rows every start has: a small company's, to be read and changed. */
static const char start_rows[] =
    "INSERT INTO client_host(range,note) VALUES"
    "('127.0.0.0/8','this machine'),('::1','this machine');"
    "INSERT INTO receive_only(address,note) VALUES"
    "('postmaster','RFC 5321: must receive; nobody logs in as it'),"
    "('abuse','RFC 2142: complaints come here; nobody logs in as it');"
    "INSERT INTO identity(name,may_send,senders,note) VALUES"
    "('*',1,'own','whoever has a password may send as himself');"
    "INSERT INTO "
    "rate_limit(name,subject,who,counts,direction,allowed,seconds,\"then\",block_for,note)"
    " VALUES"
    "('login-hour','identity','*','recipients','out',200,3600,'tempfail',3600,"
    "'one login, to the outside'),"
    "('login-day','identity','*','recipients','out',1000,86400,'block',3600,"
    "'a stolen password stops here'),"
    "('host-hour','client','*','recipients','out',500,3600,'tempfail',3600,"
    "'one client host, to the outside'),"
    "('probing','client','*','refusals','any',20,600,'block',3600,"
    "'a stranger who tries doors'),"
    "('everyone-hour','everyone','*','recipients','out',2000,3600,'tempfail',3600,"
    "'all of us together'),"
    "('window-hour','login-window','*','recipients','out',20,3600,'tempfail',3600,"
    "'one client in login windows, to the outside');";

enum status policydb_create(const char *path, const struct policydb_start *start, struct why *why)
{
    char *beside = name_beside(path);
    sqlite3 *db = NULL;
    enum status status = STATUS_BROKEN;
    struct stat seen;
    int file = -1;

    if (beside == NULL) {
        return why_set(why, STATUS_BROKEN, "%s: no memory to make it", path);
    }
    if (lstat(path, &seen) == 0) {
        status = why_set(why, STATUS_BAD, "%s: exists already and was left as it is", path);
        goto out;
    }
    file = open(beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (file < 0) {
        status = why_set(why, STATUS_BROKEN, "%s: cannot be made: %s%s", path, strerror(errno),
                         errno == ENOENT ? "; make its folder first" : "");
        goto out;
    }
    close(file);
    status = db_open(beside, SQLITE_OPEN_READWRITE, 0, &db, why);
    if (status == STATUS_OK) {
        status = db_run(db, path, schema_policy_sql, why);
    }
    if (status == STATUS_OK) {
        status = db_run(db, path, "BEGIN", why);
    }
    for (size_t i = 0; status == STATUS_OK && start->domains[i] != NULL; i++) {
        status =
            insert(db, "INSERT INTO local_domain(domain) VALUES(?1)", start->domains[i], NULL, why);
    }
    if (status == STATUS_OK && start->host_name != NULL) {
        status = insert(db, "INSERT INTO own_name(name,note) VALUES(?1,'this host')",
                        start->host_name, NULL, why);
    }
    if (status == STATUS_OK) {
        status = insert(db,
                        "INSERT INTO setting(name,value,note) VALUES(?2,?1,'a login without @ owns "
                        "login@this') ON CONFLICT(name) DO UPDATE SET value=excluded.value",
                        start->domains[0], "login_domain", why);
    }
    if (status == STATUS_OK) {
        status = db_run(db, path, start_rows, why);
    }
    if (status == STATUS_OK) {
        status = db_run(db, path, "COMMIT", why);
    }
    sqlite3_close(db);
    /* link, unlike rename, never replaces what somebody else made meanwhile */
    if (status == STATUS_OK && link(beside, path) != 0) {
        status =
            why_set(why, errno == EEXIST ? STATUS_BAD : STATUS_BROKEN, "%s: %s", path,
                    errno == EEXIST ? "exists already and was left as it is" : strerror(errno));
    }
    unlink(beside);
    if (status == STATUS_OK) {
        sync_folder(path);
    }
out:
    free(beside);
    return status;
}

/* -- which rows there are ------------------------------------------------------------------- */

enum status policydb_ids(struct policydb *db, enum table table,
                         bool (*take)(void *context, int64_t row), void *context, struct why *why)
{
    sqlite3_stmt *statement = NULL;
    char sql[128];
    int code;

    snprintf(sql, sizeof sql, "SELECT id FROM main.\"%s\"%s ORDER BY id", table_name(table),
             table == TABLE_IP_RANGE ? " WHERE source IS NULL" : "");
    code = sqlite3_prepare_v2(db->memory, sql, -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW && !take(context, sqlite3_column_int64(statement, 0))) {
            code = SQLITE_DONE;
        }
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE
               ? STATUS_OK
               : why_set(why, db_status(code), "%s: %s", db->path, sqlite3_errmsg(db->memory));
}
