/* The policy in force: acquire, release, replace. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_SLOT_H
#define SEKISHO_SLOT_H

#include <stdint.h>

#include "core/policy.h"
#include "core/status.h"

struct slot;

/* A policy held for the length of one call. policy is NULL when none is in force. */
struct hold {
    const struct policy *policy;
    uint64_t generation; /* 1 for the first policy of this process, one more for each after it */
    void *ticket;        /* the slot's own */
};

/* NULL when memory or mutexes run out. */
struct slot *slot_new(void);
/* Nobody may hold anything any more. */
void slot_free(struct slot *slot);

/* Takes hold of the policy in force; whoever holds it gives it back with slot_release. Any thread;
 * neither allocates nor frees. */
struct hold slot_acquire(struct slot *slot);
void slot_release(struct slot *slot, struct hold hold);

/* Puts a policy in force; the slot owns it from then on. Writes the new generation. STATUS_BROKEN
 * (memory): the policy is still the caller's. */
enum status slot_replace(struct slot *slot, struct policy *policy, uint64_t *generation);

/* Frees the policies that are out of force and held by nobody any more: freeing a large one takes a
 * while, so it is not done by whoever lets go last. Called now and then by one thread. */
void slot_sweep(struct slot *slot);

#endif
