/* A connection to state.db and its statements: prepared, run, bound to and read. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEMENT_H
#define SEKISHO_STATEMENT_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/status.h"
#include "core/verdict.h"

/* For the files of state.db alone (tests/floors.sh). What a query says stands in the file that
 * binds its values and reads its columns. */

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
    NEXT_LIFT,
    PUT_ANSWER,
    QUERY_COUNT
};

/* The SQL of each file, by query; NULL where it is another's. */
extern const char *const statedb_sql[QUERY_COUNT];
extern const char *const statedb_decision_sql[QUERY_COUNT];
extern const char *const statedb_log_sql[QUERY_COUNT];
extern const char *const statedb_block_sql[QUERY_COUNT];
extern const char *const statedb_counter_sql[QUERY_COUNT];
extern const char *const statedb_note_sql[QUERY_COUNT];
extern const char *const statedb_window_sql[QUERY_COUNT];
extern const char *const statedb_prune_sql[QUERY_COUNT];
extern const char *const statedb_request_sql[QUERY_COUNT];

/* One connection; one thread at a time. */
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

/* Prepares them all, which asks whether every table and column is there. */
enum status statement_prepare(struct statedb *db, struct why *why);
/* Gives up what was prepared. */
void statement_finalize(struct statedb *db);

/* Undoes what was begun and is not committed, if anything is. */
void statement_undo(struct statedb *db);
/* What SQLite said, and the transaction is over. */
enum status statement_failed(struct statedb *db, int code, struct why *why);
/* Runs a statement that gives no row. */
enum status statement_run(struct statedb *db, enum query query, struct why *why);
/* As statement_run, between begin and commit only. */
enum status statement_put(struct statedb *db, enum query query, struct why *why);
/* Takes the rows of a statement until `row` says false: enough. */
enum status statement_each(struct statedb *db, enum query query,
                           bool (*row)(void *context, sqlite3_stmt *), void *context,
                           struct why *why);

/* Texts are borrowed until the statement has run; NULL is NULL. */
void bind_text(sqlite3_stmt *statement, int at, const char *text);
/* NULL for 0. */
void bind_number(sqlite3_stmt *statement, int at, uint64_t number);
/* Table and id of a row, at `at` and behind it; NULL for what is built in. */
void bind_rule(sqlite3_stmt *statement, int at, const struct rule *rule);

/* The text of a column, "" for NULL; ended by NUL, a blob's octets too. Borrowed until the next
 * row. size may be NULL. */
const char *column_text(sqlite3_stmt *statement, int column, size_t *size);
/* Copies the text, cut to fit. */
void column_copy(sqlite3_stmt *statement, int column, char *to, size_t room);
/* Table and id of a row, as bind_rule has them. */
struct rule column_rule(sqlite3_stmt *statement, int column);
/* A time as Unix ms; false if it cannot be read. */
bool column_time(sqlite3_stmt *statement, int column, int64_t *wall);

#endif
