/* The judgement: one recipient, by the checks in their order. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_DECIDE_H
#define SEKISHO_DECIDE_H

#include "core/facts.h"
#include "core/policy.h"
#include "core/verdict.h"

/* Judges. Looks only at its arguments, allocates nothing (but what libidn2 needs for a domain that
 * is not ASCII) and cannot fail. */
void decide(const struct policy *policy, const struct facts *facts, const struct usage *usage,
            struct moment now, struct verdict *verdict);

/* The verdict of something outside the order of judgement (REASON_NO_POLICY ...): action and codes
 * are those of the reason, the trail is empty. */
void decide_nothing(enum reason reason, struct verdict *verdict);

#endif
