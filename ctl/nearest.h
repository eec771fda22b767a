/* The counters that are nearest to their limits. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_NEAREST_H
#define SEKISHO_NEAREST_H

#include "core/ledger.h"
#include "core/policy_limit.h"
#include "core/usage.h"
#include "ctl.h"

enum { NEAREST_SHOWN = 50, NEAREST_MOST = 512 };

/* A counter as it is shown. */
struct nearest_entry {
    char subject[LEDGER_SUBJECT];
    uint64_t group, count, allowed;
    uint32_t seconds;
    bool named, observed;
    struct limit limit;
    const char *name; /* the policy's */
};

/* What is asked is filled in, the rest is zeroes. */
struct nearest {
    const struct policy *policy;
    const char *subject; /* as the ledger keeps it; NULL: all */
    bool unnamed;        /* also what no row of the policy counts any more */
    int64_t now;         /* the ledger's clock; below 0: not known */
    size_t most;         /* NEAREST_MOST at most */
    /* the nearest first: */
    struct nearest_entry entries[NEAREST_MOST];
    size_t count;
    bool more; /* and others, which are less near */
};

/* For statedb_counters; context is a struct nearest. */
bool nearest_take(void *context, const struct ledger_row *row);

#endif
