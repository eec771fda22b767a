/* Decisions in state.db: written, ended, and read as they were written. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_DECISION_H
#define SEKISHO_STATEDB_DECISION_H

#include <stdbool.h>

#include "core/decision.h"
#include "store/statedb.h"

/* -- writing: between begin and commit -------------------------------------------------------- */

/* A decision, with outcome and queue id where they are known; of one that is there already (by its
 * number) only these are changed. One without a number (0) is passed over. Texts longer than
 * DECISION_TEXT are cut. */
enum status statedb_put_decision(struct statedb *db, const struct decision *decision,
                                 struct why *why);
/* What became of the decisions that an end record names: outcome and queue id. */
enum status statedb_put_end(struct statedb *db, const struct decision *end, struct why *why);

/* -- reading: see statedb_log.h --------------------------------------------------------------- */

/* A decision as it was stored; texts borrowed for the call. */
struct statedb_decision {
    struct decision decision; /* charges, steady, subjects but that of verdict.limit, and the times
                                 of a block are not kept */
    const char *at;           /* UTC, 2026-11-24 03:00:00.123 */
    bool ended;               /* outcome is known */
};

#endif
