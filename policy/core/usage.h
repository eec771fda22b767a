/* What is counted against a recipient: limits as far as they are used, and blocks. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_USAGE_H
#define SEKISHO_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/verdict.h"

/* A policy has at most so many rules of limits (rate_limit rows that share name and subject). */
enum { LIMITS_MOST = 64 };

/* The rate_limit row that speaks for a subject in one rule. */
struct limit {
    struct rule rule;
    uint64_t group; /* names the rule's count: equal for rows that count the same thing */
    enum subject subject;
    enum counts counts;
    enum direction direction;
    enum consequence then;
    uint64_t allowed;
    uint32_t seconds, block_for;
};

struct limit_use {
    struct limit limit;
    uint64_t count; /* in the last seconds, before this recipient */
    int64_t wait;   /* ms until one more passes; 0 = now */
    bool asked;     /* this recipient would count: one of its direction, and for messages the first
                       of this message */
};

/* A block that concerns the recipient. */
struct blocked {
    bool blocked;
    struct rule rule; /* the row that led to it; TABLE_NONE = by hand */
};

/* Unrelated names that the client has shown in the last hour, this recipient's too. */
struct gateway_use {
    bool asked; /* it asks for a right to relay that is the client's own */
    unsigned helos, senders;
    unsigned allowed; /* of each; more of both make a gateway */
};

/* Zeroed: nobody is blocked, nothing is counted. */
struct usage {
    struct blocked client, identity, relay;
    struct gateway_use gateway;
    size_t limits;
    struct limit_use limit[LIMITS_MOST];
};

#endif
