/* The whole policy as SQL: the same text for the same rows, and the same rows from the text. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/policydump.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/jsonl.h"
#include "core/verdict.h"
#include "store/db.h"
#include "store/schema.h"

enum {
    STEERING_MOST = 40, /* characters written as char(N); a text with more is written in hex */
    ROWS_TOGETHER =
        1000 /* ids of one INSERT, which is compiled once: loading is 10 times as fast */
};

struct dump {
    sqlite3 *db, *scratch;
    bool (*put)(void *, const char *, size_t);
    void *context;
    bool stopped;
};

static void put(struct dump *dump, const char *text, size_t size)
{
    dump->stopped = dump->stopped || !dump->put(dump->context, text, size);
}

static void put_text(struct dump *dump, const char *text)
{
    put(dump, text, strlen(text));
}

/* -- values --------------------------------------------------------------------------------- */

static void put_hex(struct dump *dump, const void *octets, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *octet = octets;

    put_text(dump, "x'");
    for (size_t i = 0; i < size; i++) {
        char pair[2] = {digits[octet[i] >> 4], digits[octet[i] & 15]};
        put(dump, pair, sizeof pair);
    }
    put_text(dump, "'");
}

/* Between quotes, which are doubled. */
static void put_quoted(struct dump *dump, const char *text, size_t size)
{
    put_text(dump, "'");
    while (size > 0) {
        const char *quote = memchr(text, '\'', size);
        size_t length = quote != NULL ? (size_t)(quote - text) + 1 : size;
        put(dump, text, length);
        if (quote != NULL) {
            put_text(dump, "'");
        }
        text += length;
        size -= length;
    }
    put_text(dump, "'");
}

/* How many characters of the text must not be seen raw; more than STEERING_MOST if it is no UTF-8.
 */
static size_t count_steering(const char *text, size_t size)
{
    uint32_t character;
    size_t length, count = 0;

    while (size > 0 && count <= STEERING_MOST) {
        size_t good = jsonl_steering(text, size, &character, &length);
        if (good == size) {
            break;
        }
        if (character == 0) {
            return STEERING_MOST + 1;
        }
        count++;
        text += good + length;
        size -= good + length;
    }
    return count;
}

/* A line end, what steers a terminal and what turns the writing are named by their number. */
static void put_string(struct dump *dump, const char *text, size_t size)
{
    uint32_t character;
    size_t length;
    char named[24];

    if (count_steering(text, size) > STEERING_MOST) {
        put_text(dump, "CAST(");
        put_hex(dump, text, size);
        put_text(dump, " AS TEXT)");
        return;
    }
    for (bool first = true; first || size > 0; first = false) {
        size_t good = size > 0 ? jsonl_steering(text, size, &character, &length) : 0;
        if (good > 0 || size == 0 || first) {
            put_text(dump, first ? "" : "||");
            put_quoted(dump, text, good);
        }
        if (good < size) {
            snprintf(named, sizeof named, "||char(%" PRIu32 ")", character);
            put_text(dump, named);
            good += length;
        }
        text += good;
        size -= good;
    }
}

static void put_value(struct dump *dump, sqlite3_stmt *statement, int column)
{
    char number[32];

    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        snprintf(number, sizeof number, "%" PRId64,
                 (int64_t)sqlite3_column_int64(statement, column));
        put_text(dump, number);
        break;
    case SQLITE_FLOAT:
        snprintf(number, sizeof number, "%.17g", sqlite3_column_double(statement, column));
        put_text(dump, number);
        break;
    case SQLITE_TEXT: {
        const char *text = (const char *)sqlite3_column_text(statement, column);
        put_string(dump, text != NULL ? text : "", (size_t)sqlite3_column_bytes(statement, column));
        break;
    }
    case SQLITE_BLOB: {
        const void *octets = sqlite3_column_blob(statement, column);
        put_hex(dump, octets, (size_t)sqlite3_column_bytes(statement, column));
        break;
    }
    default:
        put_text(dump, "NULL");
    }
}

/* -- tables --------------------------------------------------------------------------------- */

static enum status say(struct dump *dump, const char *table, struct why *why)
{
    return why_set(why, db_status(sqlite3_errcode(dump->db)), "%s: %s", table,
                   sqlite3_errmsg(dump->db));
}

/* Who has written into sqlite_master by hand could have put more behind the statement, for whoever
 * loads the text. */
static enum status check_statement(struct dump *dump, const char *table, const char *sql,
                                   struct why *why)
{
    sqlite3_stmt *statement = NULL;
    const char *rest = "";
    int code = sqlite3_prepare_v2(dump->scratch, sql, -1, &statement, &rest);
    bool good = code == SQLITE_OK && statement != NULL && rest[0] == '\0';

    sqlite3_finalize(statement);
    /* a comment that is open at the end is no fault, and would hide the semicolon */
    char *whole = sqlite3_mprintf("%s;", sql);
    good = good && whole != NULL && sqlite3_complete(whole) != 0;
    sqlite3_free(whole);
    if (good && sqlite3_exec(dump->scratch, sql, NULL, NULL, NULL) != SQLITE_OK) {
        good = false;
    }
    return good ? STATUS_OK
                : why_set(why, STATUS_BAD,
                          "%s: its text in the file is more than one statement, or has no end: %s",
                          table, sqlite3_errmsg(dump->scratch));
}

/* The statements that made the table and its indices. */
static enum status dump_schema(struct dump *dump, const char *table, struct why *why)
{
    static const char sql[] =
        "SELECT sql FROM main.sqlite_master WHERE tbl_name=?1 AND sql NOT NULL "
        "AND type IN ('table','index') ORDER BY type DESC, name";
    sqlite3_stmt *statement = NULL;
    enum status status = STATUS_OK;
    int code = sqlite3_prepare_v2(dump->db, sql, -1, &statement, NULL);

    if (code == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
        while (status == STATUS_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
            const char *text = (const char *)sqlite3_column_text(statement, 0);
            status = text != NULL ? check_statement(dump, table, text, why) : say(dump, table, why);
            if (status == STATUS_OK) {
                put_text(dump, "\n");
                put_text(dump, text);
                put_text(dump, ";\n");
            }
        }
    }
    if (status == STATUS_OK && code != SQLITE_DONE) {
        status = say(dump, table, why);
    }
    sqlite3_finalize(statement);
    return status;
}

static enum status dump_rows(struct dump *dump, const char *table, const char *order,
                             struct why *why)
{
    sqlite3_stmt *statement = NULL;
    sqlite3_int64 together = 0;
    enum status status = STATUS_OK;
    bool open = false;
    char sql[160];

    snprintf(sql, sizeof sql, "SELECT \"%s\"/%d, * FROM main.\"%s\" ORDER BY \"%s\"", order,
             ROWS_TOGETHER, table, order);
    int code = sqlite3_prepare_v2(dump->db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW || dump->stopped) {
            break;
        }
        bool next = !open || sqlite3_column_int64(statement, 0) != together;
        together = sqlite3_column_int64(statement, 0);
        if (next) {
            put_text(dump, open ? ";\n" : "");
            snprintf(sql, sizeof sql, "INSERT INTO \"%s\" VALUES\n", table);
            put_text(dump, sql);
        }
        put_text(dump, next ? "(" : ",(");
        open = true;
        for (int i = 1; i < sqlite3_column_count(statement); i++) {
            put_text(dump, i > 1 ? "," : "");
            put_value(dump, statement, i);
        }
        put_text(dump, ")\n");
    }
    if (open) {
        put_text(dump, ";\n");
    }
    if (code != SQLITE_DONE && !dump->stopped) {
        status = say(dump, table, why);
    }
    sqlite3_finalize(statement);
    return status;
}

/* So that no id is given twice, also after the row with the highest was deleted. */
static enum status dump_last_id(struct dump *dump, const char *table, struct why *why)
{
    sqlite3_int64 last = 0;
    char sql[160];

    snprintf(sql, sizeof sql, "SELECT max(seq) FROM main.sqlite_sequence WHERE name='%s'", table);
    enum status status = db_integer(dump->db, table, sql, &last, why);
    if (status == STATUS_OK && last > 0) {
        snprintf(sql, sizeof sql, "INSERT INTO sqlite_sequence(name,seq) VALUES('%s',%lld);\n",
                 table, (long long)last);
        put_text(dump, sql);
    }
    return status;
}

/* The policy's own, and what SQLite makes for it. */
static enum status count_others(struct dump *dump, size_t *others, struct why *why)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(dump->db, "SELECT type, tbl_name FROM main.sqlite_master", -1,
                                  &statement, NULL);

    *others = 0;
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW) {
            break;
        }
        const char *type = (const char *)sqlite3_column_text(statement, 0);
        const char *table = (const char *)sqlite3_column_text(statement, 1);
        bool known = type != NULL && table != NULL &&
                     (strcmp(type, "table") == 0 || strcmp(type, "index") == 0) &&
                     (table_named(table) != TABLE_NONE || strcmp(table, "version") == 0 ||
                      strncmp(table, "sqlite_", 7) == 0);
        *others += !known;
    }
    enum status status = code == SQLITE_DONE ? STATUS_OK : say(dump, "sqlite_master", why);
    sqlite3_finalize(statement);
    return status;
}

enum status policydump(struct policydb *db,
                       bool (*put_octets)(void *context, const char *text, size_t size),
                       void *context, size_t *others, struct why *why)
{
    struct dump dump = {policydb_connection(db), NULL, put_octets, context, false};
    char head[256];
    enum status status =
        db_open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, 0, &dump.scratch, why);

    if (status == STATUS_OK) {
        status = count_others(&dump, others, why);
    }
    snprintf(
        head, sizeof head,
        "-- sekisho export sql: the whole policy. sqlite3 -bail policy.db < this makes it anew.\n"
        "BEGIN;\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\n",
        SCHEMA_APPLICATION_ID, SCHEMA_POLICY_VERSION);
    put_text(&dump, head);
    for (int t = TABLE_NONE; status == STATUS_OK && t < TABLE_COUNT; t++) {
        const char *table = t == TABLE_NONE ? "version" : table_name((enum table)t);
        status = dump_schema(&dump, table, why);
        if (status == STATUS_OK) {
            status = dump_rows(&dump, table, t == TABLE_NONE ? "schema" : "id", why);
        }
    }
    put_text(&dump, "\nDELETE FROM sqlite_sequence;\n");
    for (int t = TABLE_NONE + 1; status == STATUS_OK && t < TABLE_COUNT; t++) {
        status = dump_last_id(&dump, table_name((enum table)t), why);
    }
    if (status == STATUS_OK) {
        put_text(&dump, "COMMIT;\n");
    }
    if (status == STATUS_OK && dump.stopped) {
        status = why_set(why, STATUS_BROKEN, "cannot be written");
    }
    sqlite3_close(dump.scratch);
    return status;
}
