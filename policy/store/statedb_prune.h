/* What is older than retention goes out of state.db. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_PRUNE_H
#define SEKISHO_STATEDB_PRUNE_H

#include <stddef.h>
#include <stdint.h>

#include "store/statedb.h"

/* Removes up to `most` decisions, notes and answered requests that are older than a wall time (Unix
 * ms), the oldest first; *gone is how many. Between begin and commit. */
enum status statedb_prune(struct statedb *db, int64_t before, size_t most, size_t *gone,
                          struct why *why);

#endif
