/* From rows to a policy: checks no single row can show, and the maps of one moment. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICY_SEAL_H
#define SEKISHO_POLICY_SEAL_H

#include <stdint.h>

#include "core/policy.h"
#include "core/policy_build.h"
#include "core/status.h"

/* Makes the policy for the wall time now (Unix milliseconds): rows whose expires has come are not
 * in force. Checks what no single row shows (a spam trap that is receive-only, client_host_most).
 * The build stays the caller's, to be freed; no row may be added after the first seal. */
enum status policy_seal(const struct policy_build *build, int64_t now, struct policy **policy,
                        struct why *why);

/* The same rules for another moment, from memory. */
enum status policy_reseal(const struct policy *policy, int64_t now, struct policy **resealed,
                          struct why *why);

#endif
