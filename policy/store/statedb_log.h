/* The decisions of state.db that somebody asks for: by time, number, client, address, reason. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_LOG_H
#define SEKISHO_STATEDB_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/statedb.h"
#include "store/statedb_decision.h"

/* What `sekisho log` asks. Texts NULL = any; they compare without ASCII case. sender and recipient
 * compare as addresses do (brackets, quotes, a domain in another script); one that begins with @ is
 * a whole domain, "" or <> is the null sender. */
struct statedb_filter {
    int64_t since, until; /* since <= at < until: wall clock, Unix ms; 0 = open */
    uint64_t number;      /* this one only; 0 = any */
    uint64_t above;       /* numbers above this, */
    uint64_t upto;        /* and up to this; 0 = open */
    const char *client;   /* an address, or a range as range_parse reads it */
    const char *login, *sender, *recipient, *reason, *action;
    bool newest_first;
    size_t most; /* 0 = all */
};
/* In the order of their numbers, until take says false: enough. STATUS_BAD also: client is no
 * address and no range. */
enum status statedb_decisions(struct statedb *db, const struct statedb_filter *filter,
                              bool (*take)(void *context, const struct statedb_decision *),
                              void *context, struct why *why);

#endif
