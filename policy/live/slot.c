/* The policy in force: acquire, release, replace. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/slot.h"

#include <pthread.h>
#include <stdlib.h>

struct tenant {
    struct policy *policy;
    uint64_t generation;
    unsigned long holders; /* the slot itself is one of them while the policy is in force */
};

struct slot {
    pthread_mutex_t lock; /* guards the pointer and every tenant's count */
    struct tenant *tenant;
    uint64_t generation;
};

struct slot *slot_new(void)
{
    struct slot *slot = calloc(1, sizeof *slot);

    if (slot != NULL && pthread_mutex_init(&slot->lock, NULL) != 0) {
        free(slot);
        slot = NULL;
    }
    return slot;
}

static void tenant_free(struct tenant *tenant)
{
    if (tenant != NULL) {
        policy_free(tenant->policy);
        free(tenant);
    }
}

void slot_free(struct slot *slot)
{
    if (slot != NULL) {
        tenant_free(slot->tenant);
        pthread_mutex_destroy(&slot->lock);
        free(slot);
    }
}

struct hold slot_acquire(struct slot *slot)
{
    struct hold hold = {NULL, 0, NULL};

    pthread_mutex_lock(&slot->lock);
    if (slot->tenant != NULL) {
        slot->tenant->holders++;
        hold = (struct hold){slot->tenant->policy, slot->tenant->generation, slot->tenant};
    }
    pthread_mutex_unlock(&slot->lock);
    return hold;
}

void slot_release(struct slot *slot, struct hold hold)
{
    struct tenant *tenant = hold.ticket, *last = NULL;

    if (tenant == NULL) {
        return;
    }
    pthread_mutex_lock(&slot->lock);
    if (--tenant->holders == 0) {
        last = tenant;
    }
    pthread_mutex_unlock(&slot->lock);
    tenant_free(last); /* a large one takes a while: not under the lock */
}

enum status slot_replace(struct slot *slot, struct policy *policy, uint64_t *generation)
{
    struct tenant *tenant = calloc(1, sizeof *tenant), *last = NULL;

    if (tenant == NULL) {
        return STATUS_BROKEN;
    }
    tenant->policy = policy;
    tenant->holders = 1;
    pthread_mutex_lock(&slot->lock);
    tenant->generation = ++slot->generation;
    *generation = tenant->generation;
    if (slot->tenant != NULL && --slot->tenant->holders == 0) {
        last = slot->tenant;
    }
    slot->tenant = tenant;
    pthread_mutex_unlock(&slot->lock);
    tenant_free(last);
    return STATUS_OK;
}
