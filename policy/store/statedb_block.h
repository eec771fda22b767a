/* Blocks in state.db: those that began or changed, and an administrator's. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_BLOCK_H
#define SEKISHO_STATEDB_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/blocklist.h"
#include "store/statedb.h"

/* -- writing: between begin and commit -------------------------------------------------------- */

/* A block that began or changed: by its row, or a new row (its id is written to block->row), which
 * takes the place of an earlier one of the same subject. */
enum status statedb_put_block(struct statedb *db, struct block *block, struct why *why);
enum status statedb_drop_block(struct statedb *db, int64_t row, struct why *why);

/* -- reading --------------------------------------------------------------------------------- */

/* Until take says false: enough. key is 0: not kept. until_steady is STATEDB_BY_WALL where an
 * administrator made the row or changed its until. Rows whose subject or times cannot be read are
 * passed over. */
enum status statedb_blocks(struct statedb *db, bool (*take)(void *context, const struct block *),
                           void *context, struct why *why);

#endif
