/* What is counted against a session, as the daemon has written it down. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_COUNTED_H
#define SEKISHO_COUNTED_H

#include "core/policy_limit.h"
#include "core/usage.h"
#include "ctl.h"

struct counted {
    bool known;      /* false: usage is that of nobody */
    int64_t written; /* when the daemon wrote it, Unix ms; 0 = not known */
    struct usage usage;
    struct subjects subjects; /* borrows from the facts */
};

/* The ledger's clock now (-1: it is not written down), and when the counters were written down
 * last, Unix ms (0: never). */
enum status counted_clock(struct statedb *db, int64_t wall, int64_t *clock, int64_t *written,
                          struct why *why);

/* Limits, their counts and the blocks that a recipient with these facts would meet now. Reads
 * state.db alone: the daemon is at most ten seconds ahead of it. STATUS_BUSY: there is no state.db.
 * Any other but STATUS_OK: it cannot be read; known is false then. */
enum status counted_read(const struct ctl *ctl, const struct policy *policy,
                         const struct facts *facts, struct counted *counted, struct why *why);

/* The block and the limit that a recorded decision met, as far as this policy still has them. */
void counted_recorded(const struct policy *policy, const struct facts *facts,
                      const struct decision *decision, struct counted *counted);

/* The subject of the block that speaks for a reason: client:IP, relay:IP or identity:NAME. Returns
 * to; "" for other reasons. */
char *counted_subject(const struct counted *counted, enum reason reason, char to[SUBJECT_TEXT]);

#endif
