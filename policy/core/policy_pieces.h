/* What a policy says of every address, in pieces and in rows: for lists that others read. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICY_PIECES_H
#define SEKISHO_POLICY_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"
#include "core/range.h"
#include "core/status.h"

/* A range all of whose addresses are judged alike as far as blocks and ip_range go. */
struct policy_piece {
    struct range range;
    bool strangers; /* a stranger from here is refused by the check listed, whatever he sends */
    bool everyone;  /* and who is logged in too */
    int64_t left;   /* of a block in force: seconds until it ends, INT64_MAX = until lifted; 0: a
                       stranger from here is not refused by the check block */
};

/* A block of a client as state.db has it. */
struct policy_block {
    struct range range;
    int64_t left; /* seconds, above 0 */
};

/* ::ffff:0:0/96 is IPv4's, whatever range of IPv6 goes over it: writes the parts of the range that
 * are left, ascending, and returns how many. A range of IPv4 is one part. */
size_t policy_parts(const struct range *range, bool ipv4, struct range parts[2]);

/* Tells the pieces that have anything to say, disjoint and ascending, IPv4 first, neighbours that
 * say the same as one. What an exemption spares, for one sender even, is not refused; nor is
 * anybody where the check is not enforced. Recipients that only receive, and a check_mode that
 * changes later, are the reader's to know. false from take: enough. STATUS_BROKEN: no memory. */
enum status policy_pieces(const struct policy *policy, const struct policy_block *blocks,
                          size_t count, bool (*take)(void *context, const struct policy_piece *),
                          void *context, struct why *why);

/* A row that speaks of strangers' addresses. */
struct policy_listed_row {
    struct range range;
    enum listing listing; /* LISTING_ACCEPT: also a client_host row, an exemption from `listed` */
    struct rule rule;
};

/* Tells the rows in force in an order in which the first that holds an address is the one that
 * speaks for it: exemptions, then the administrator's own by the narrowest-row rule, then imported
 * ones. None where the check is not enforced. */
enum status policy_listed_rows(const struct policy *policy,
                               bool (*take)(void *context, const struct policy_listed_row *),
                               void *context, struct why *why);

#endif
