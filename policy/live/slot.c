/* The policy in force: acquire, release, replace. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/slot.h"

#include <pthread.h>
#include <stdlib.h>

struct tenant {
    struct policy *policy;
    uint64_t generation;
    unsigned long holders;
    struct tenant *next; /* among the retired */
};

struct slot {
    pthread_mutex_t lock;   /* guards the pointers and every tenant's count */
    struct tenant *tenant;  /* in force */
    struct tenant *retired; /* out of force, perhaps still held */
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
        slot_sweep(slot);
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
    struct tenant *tenant = hold.ticket;

    if (tenant != NULL) {
        pthread_mutex_lock(&slot->lock);
        tenant->holders--;
        pthread_mutex_unlock(&slot->lock);
    }
}

enum status slot_replace(struct slot *slot, struct policy *policy, uint64_t *generation)
{
    struct tenant *tenant = calloc(1, sizeof *tenant);

    if (tenant == NULL) {
        return STATUS_BROKEN;
    }
    tenant->policy = policy;
    pthread_mutex_lock(&slot->lock);
    tenant->generation = ++slot->generation;
    *generation = tenant->generation;
    if (slot->tenant != NULL) {
        slot->tenant->next = slot->retired;
        slot->retired = slot->tenant;
    }
    slot->tenant = tenant;
    pthread_mutex_unlock(&slot->lock);
    slot_sweep(slot);
    return STATUS_OK;
}

void slot_sweep(struct slot *slot)
{
    struct tenant *unheld = NULL;

    pthread_mutex_lock(&slot->lock);
    for (struct tenant **at = &slot->retired; *at != NULL;) {
        struct tenant *tenant = *at;
        if (tenant->holders == 0) {
            *at = tenant->next;
            tenant->next = unheld;
            unheld = tenant;
        } else {
            at = &tenant->next;
        }
    }
    pthread_mutex_unlock(&slot->lock);
    while (unheld != NULL) {
        struct tenant *next = unheld->next;
        tenant_free(unheld);
        unheld = next;
    }
}
