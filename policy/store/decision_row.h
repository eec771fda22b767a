/* A decision as a row of state.db: its columns, and what is read from them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_DECISION_ROW_H
#define SEKISHO_DECISION_ROW_H

#include <sqlite3.h>

/* For the files of state.db alone (tests/floors.sh). */

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
enum column { DECISION_COLUMNS(COLUMN_ENUM) COLUMN_COUNT };

struct statedb_decision;

/* Reads the columns of one row; its texts are borrowed from the row. */
void decision_row_read(sqlite3_stmt *statement, struct statedb_decision *stored);

#endif
