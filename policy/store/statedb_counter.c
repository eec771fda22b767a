/* Counters in state.db, so that the counts outlive a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb_counter.h"

#include "store/statement.h"

const char *const statedb_counter_sql[QUERY_COUNT] = {
    [PUT_COUNTER] = "INSERT OR REPLACE INTO main.counter(place, hash, \"group\", record, since,"
                    " allowed, bucket, seconds, count, subject) VALUES(?,?,?,?,?,?,?,?,?,?)",
    [GET_COUNTERS] =
        "SELECT place, hash, \"group\", record, since, allowed, bucket, seconds, count,"
        " subject FROM main.counter ORDER BY place",
};

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
        status = statement_put(db, PUT_COUNTER, why);
    }
    return status;
}

struct counter_taker {
    bool (*take)(void *, const struct ledger_row *);
    void *context;
};

static bool take_counter(void *context, sqlite3_stmt *statement)
{
    const struct counter_taker *taker = context;
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
    column_copy(statement, 9, row.subject, sizeof row.subject);
    return taker->take(taker->context, &row);
}

enum status statedb_counters(struct statedb *db,
                             bool (*take)(void *context, const struct ledger_row *), void *context,
                             struct why *why)
{
    struct counter_taker taker = {take, context};
    return statement_each(db, GET_COUNTERS, take_counter, &taker, why);
}
