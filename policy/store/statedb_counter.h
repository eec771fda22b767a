/* Counters in state.db, so that the counts outlive a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_COUNTER_H
#define SEKISHO_STATEDB_COUNTER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/ledger.h"
#include "store/statedb.h"

/* Between begin and commit; in place of what stood at their places. */
enum status statedb_put_counters(struct statedb *db, const struct ledger_row *rows, size_t count,
                                 struct why *why);
/* In ascending order of place, until take says false: enough. A row whose buckets cannot be read is
 * passed over. */
enum status statedb_counters(struct statedb *db,
                             bool (*take)(void *context, const struct ledger_row *), void *context,
                             struct why *why);

#endif
