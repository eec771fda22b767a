/* Requests in state.db: the tool asks, the daemon answers. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb_request.h"

#include <stdio.h>
#include <string.h>

#include "core/stamp.h"
#include "store/statement.h"

const char *const statedb_request_sql[QUERY_COUNT] = {
    [ASK] = "INSERT INTO main.request(verb, subject, seconds, note, at) VALUES(?,?,?,?,?)",
    [ANSWER] = "SELECT answered IS NOT NULL, done, answer FROM main.request WHERE id=?",
    [TAKE_BACK] = "DELETE FROM main.request WHERE id=? AND answered IS NULL",
    [NEXT_REQUEST] = "SELECT id, verb, subject, seconds, note, at FROM main.request"
                     " WHERE answered IS NULL ORDER BY id LIMIT 1",
    [NEXT_LIFT] = "SELECT id, verb, subject, seconds, note, max(at, answered) FROM main.request"
                  " WHERE id > ?1 AND done = 1 AND verb IN ('lift', 'reset') ORDER BY id LIMIT 1",
    [PUT_ANSWER] = "UPDATE main.request SET answered=?2, done=?3, answer=?4 WHERE id=?1",
};

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
    status = statement_run(db, ASK, why);
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
        column_copy(statement, 2, request->answer, sizeof request->answer);
    } else if (code == SQLITE_DONE) {
        request->answered = true;
        request->done = false;
        snprintf(request->answer, sizeof request->answer, "the request is gone");
    } else {
        status = statement_failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}

enum status statedb_take_back(struct statedb *db, int64_t id, struct why *why)
{
    sqlite3_bind_int64(db->statement[TAKE_BACK], 1, id);
    return statement_run(db, TAKE_BACK, why);
}

/* The row that the statement finds, its columns as those of NEXT_REQUEST. */
static enum status read_request(struct statedb *db, enum query query,
                                struct statedb_request *request, bool *found, struct why *why)
{
    sqlite3_stmt *statement = db->statement[query];
    enum status status = STATUS_OK;

    memset(request, 0, sizeof *request);
    *found = false;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        request->id = sqlite3_column_int64(statement, 0);
        column_copy(statement, 1, request->verb, sizeof request->verb);
        column_copy(statement, 2, request->subject, sizeof request->subject);
        request->seconds = sqlite3_column_int64(statement, 3);
        column_copy(statement, 4, request->note, sizeof request->note);
        if (!column_time(statement, 5, &request->at)) {
            request->at = 0;
        }
        *found = true;
    } else if (code != SQLITE_DONE) {
        status = statement_failed(db, code, why);
    }
    sqlite3_reset(statement);
    return status;
}

enum status statedb_next_request(struct statedb *db, struct statedb_request *request, bool *found,
                                 struct why *why)
{
    return read_request(db, NEXT_REQUEST, request, found, why);
}

enum status statedb_next_lift(struct statedb *db, int64_t above, struct statedb_request *request,
                              bool *found, struct why *why)
{
    sqlite3_bind_int64(db->statement[NEXT_LIFT], 1, above);
    return read_request(db, NEXT_LIFT, request, found, why);
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
    return statement_put(db, PUT_ANSWER, why);
}
