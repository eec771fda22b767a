/* A policy judges once more what was recorded, with counts and blocks of its own. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CTL_REHEARSAL_H
#define SEKISHO_CTL_REHEARSAL_H

#include "course.h"

struct rehearsal;

/* The policy is the rehearsal's from then on, also on failure. */
enum status rehearsal_open(struct policy *policy, struct rehearsal **rehearsal, struct why *why);
void rehearsal_close(struct rehearsal *rehearsal);
/* For the texts of its rows. */
const struct policy *rehearsal_policy(const struct rehearsal *rehearsal);

/* Is it of those that no row has judged: no policy, no record, no memory? */
bool rehearsal_passes_over(const struct decision *decision);

/* Judges the next decision as the daemon's book would, `now` being when it was made: by the rows in
 * force then, and charges what follows. Where the permit door had refused and would let pass now,
 * the milter is asked as well, as the mail server would. A block by hand that was met then is met
 * again: it is no matter of the policy. STATUS_BAD: the policy would not have loaded at that time
 * (why). */
enum status rehearsal_judge(struct rehearsal *rehearsal, const struct course_step *step,
                            struct moment now, struct verdict *verdict, struct why *why);
/* Does what an administrator did then (lift, reset). */
void rehearsal_obey(struct rehearsal *rehearsal, const struct statedb_request *request,
                    struct moment now);

#endif
