/* Notes in state.db: what is worth telling in the report. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb_note.h"

#include "core/stamp.h"
#include "store/statement.h"

const char *const statedb_note_sql[QUERY_COUNT] = {
    [PUT_NOTE] = "INSERT INTO main.note(at, kind, subject, number, text) VALUES(?,?,?,?,?)",
};

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
    return statement_put(db, PUT_NOTE, why);
}
