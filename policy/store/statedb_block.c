/* Blocks in state.db: those that began or changed, and an administrator's. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb_block.h"

#include <string.h>

#include "core/stamp.h"
#include "store/statement.h"

const char *const statedb_block_sql[QUERY_COUNT] = {
    [CHANGE_BLOCK] = "UPDATE main.block SET subject=?2, since=?3, until=?4, reason=?5, number=?6,"
                     " row_table=?7, row_id=?8, strikes=?9, by_hand=?10, note=?11, until_steady=?12"
                     " WHERE id=?1 AND subject=?2",
    [PUT_BLOCK] = "INSERT OR REPLACE INTO main.block(subject, since, until, reason, number,"
                  " row_table, row_id, strikes, by_hand, note, until_steady)"
                  " VALUES(?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
    [DROP_BLOCK] = "DELETE FROM main.block WHERE id=?1",
    [GET_BLOCKS] = "SELECT id, subject, since, until, reason, number, row_table, row_id, strikes,"
                   " by_hand, note, until_steady FROM main.block ORDER BY id",
};

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
        status = statement_put(db, query, why);
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
    return statement_put(db, DROP_BLOCK, why);
}

struct block_taker {
    bool (*take)(void *, const struct block *);
    void *context;
};

static bool take_block(void *context, sqlite3_stmt *statement)
{
    const struct block_taker *taker = context;
    struct block block = {0};
    size_t size;
    const char *subject = column_text(statement, 1, &size);
    bool lasting = sqlite3_column_type(statement, 3) == SQLITE_NULL;

    if (size == 0 || size >= sizeof block.subject || strlen(subject) != size ||
        !column_time(statement, 2, &block.since) ||
        (!lasting && !column_time(statement, 3, &block.until))) {
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
    column_copy(statement, 10, block.note, sizeof block.note);
    if (lasting) {
        block.until = block.until_steady = INT64_MAX;
    } else if (sqlite3_column_type(statement, 11) == SQLITE_INTEGER) {
        block.until_steady = sqlite3_column_int64(statement, 11);
    } else {
        block.until_steady = STATEDB_BY_WALL;
    }
    return taker->take(taker->context, &block);
}

enum status statedb_blocks(struct statedb *db, bool (*take)(void *context, const struct block *),
                           void *context, struct why *why)
{
    struct block_taker taker = {take, context};
    return statement_each(db, GET_BLOCKS, take_block, &taker, why);
}
