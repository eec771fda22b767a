/* What is older than retention goes out of state.db. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb_prune.h"

#include "core/stamp.h"
#include "store/statement.h"

const char *const statedb_prune_sql[QUERY_COUNT] = {
    [PRUNE_DECISIONS] = "DELETE FROM main.decision WHERE number IN"
                        " (SELECT number FROM main.decision WHERE at < ?1 ORDER BY at LIMIT ?2)",
    [PRUNE_NOTES] = "DELETE FROM main.note WHERE id IN"
                    " (SELECT id FROM main.note WHERE at < ?1 ORDER BY id LIMIT ?2)",
    [PRUNE_REQUESTS] = "DELETE FROM main.request WHERE id IN (SELECT id FROM main.request"
                       " WHERE at < ?1 AND answered IS NOT NULL ORDER BY id LIMIT ?2)",
};

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
        status = statement_put(db, prunes[i], why);
        if (status == STATUS_OK) {
            *gone += (size_t)sqlite3_changes(db->sqlite);
        }
    }
    return status;
}
