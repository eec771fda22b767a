/* A connection to state.db and its statements: prepared, run, bound to and read. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statement.h"

#include <stdio.h>

#include "core/stamp.h"
#include "store/db.h"

static const char *const *const sets[] = {
    statedb_sql,        statedb_decision_sql, statedb_log_sql,
    statedb_block_sql,  statedb_counter_sql,  statedb_note_sql,
    statedb_window_sql, statedb_prune_sql,    statedb_request_sql};

static const char *sql_of(enum query query)
{
    const char *sql = NULL;

    for (size_t i = 0; sql == NULL && i < sizeof sets / sizeof *sets; i++) {
        sql = sets[i][query];
    }
    return sql;
}

enum status statement_prepare(struct statedb *db, struct why *why)
{
    enum status status = STATUS_OK;

    for (int i = 0; status == STATUS_OK && i < QUERY_COUNT; i++) {
        int code = sqlite3_prepare_v3(db->sqlite, sql_of((enum query)i), -1,
                                      SQLITE_PREPARE_PERSISTENT, &db->statement[i], NULL);
        if (code != SQLITE_OK) {
            status = why_set(why, db_status(code), "%s: %s", db->path, sqlite3_errmsg(db->sqlite));
        }
    }
    return status;
}

void statement_finalize(struct statedb *db)
{
    for (int i = 0; i < QUERY_COUNT; i++) {
        sqlite3_finalize(db->statement[i]);
    }
}

void statement_undo(struct statedb *db)
{
    if (!sqlite3_get_autocommit(db->sqlite)) {
        sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    }
}

enum status statement_failed(struct statedb *db, int code, struct why *why)
{
    enum status status = (code & 0xff) == SQLITE_PROTOCOL
                             ? STATUS_BUSY
                             : db_status(code); /* a race for a WAL lock */

    why_set(why, status, "%s: %s", db->path, sqlite3_errmsg(db->sqlite));
    statement_undo(db);
    return status;
}

enum status statement_run(struct statedb *db, enum query query, struct why *why)
{
    int code = sqlite3_step(db->statement[query]);
    enum status status = STATUS_OK;

    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        status = statement_failed(db, code, why);
    }
    sqlite3_reset(db->statement[query]);
    return status;
}

enum status statement_put(struct statedb *db, enum query query, struct why *why)
{
    if (sqlite3_get_autocommit(db->sqlite)) {
        return why_set(why, STATUS_BROKEN, "%s: what was being written has been undone", db->path);
    }
    return statement_run(db, query, why);
}

enum status statement_each(struct statedb *db, enum query query,
                           bool (*row)(void *context, sqlite3_stmt *), void *context,
                           struct why *why)
{
    sqlite3_stmt *statement = db->statement[query];
    enum status status = STATUS_OK;
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW && row(context, statement)) {
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        status = statement_failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}

void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC); /* NULL is NULL */
}

void bind_number(sqlite3_stmt *statement, int at, uint64_t number)
{
    if (number == 0) {
        sqlite3_bind_null(statement, at);
    } else {
        sqlite3_bind_int64(statement, at, (sqlite3_int64)number);
    }
}

void bind_rule(sqlite3_stmt *statement, int at, const struct rule *rule)
{
    if (rule->table == TABLE_NONE) {
        sqlite3_bind_null(statement, at);
        sqlite3_bind_null(statement, at + 1);
    } else {
        bind_text(statement, at, table_name(rule->table));
        sqlite3_bind_int64(statement, at + 1, rule->row);
    }
}

const char *column_text(sqlite3_stmt *statement, int column, size_t *size)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    if (size != NULL) {
        *size = text != NULL ? (size_t)sqlite3_column_bytes(statement, column) : 0;
    }
    return text != NULL ? text : "";
}

void column_copy(sqlite3_stmt *statement, int column, char *to, size_t room)
{
    snprintf(to, room, "%s", column_text(statement, column, NULL));
}

struct rule column_rule(sqlite3_stmt *statement, int column)
{
    struct rule rule = {table_named(column_text(statement, column, NULL)),
                        sqlite3_column_int64(statement, column + 1)};
    return rule;
}

bool column_time(sqlite3_stmt *statement, int column, int64_t *wall)
{
    size_t size;
    const char *text = column_text(statement, column, &size);

    return stamp_read(text, size, wall);
}
