/* The open-relay battery: forged sessions of strangers, judged in memory by a policy. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_PROOF_H
#define SEKISHO_PROOF_H

#include <stddef.h>

#include "core/policy.h"
#include "core/status.h"
#include "core/verdict.h"

/* One forged session and how it ended. */
struct proof_case {
    const char *form; /* what is tried, for a person */
    const char *client, *helo, *sender, *recipient;
    struct verdict verdict;
    bool held; /* refused or deferred, as it must be */
};

/* Runs every case: a stranger at addresses that no client_host row holds, forging the policy's own
 * accounts and names, to third parties in every routing form. Modes of checks are ignored (the
 * battery is judged as the permit door judges). each may be NULL. Returns STATUS_OK when nothing
 * got through; STATUS_BAD otherwise, with why naming the case and the row that opened it. */
enum status proof_run(const struct policy *policy,
                      void (*each)(void *context, const struct proof_case *), void *context,
                      size_t *cases, struct why *why);

#endif
