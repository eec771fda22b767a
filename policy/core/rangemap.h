/* From an address to the narrowest range that holds it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_RANGEMAP_H
#define SEKISHO_RANGEMAP_H

#include <stddef.h>
#include <stdint.h>

#include "core/range.h"

/* One candidate, for building. Of ranges that hold an address the one with the fewest addresses
 * speaks, of equal ones the strictest, then the one with the lower order. */
struct rangemap_item {
    struct range range;
    uint32_t payload; /* what a lookup answers: an index of the caller's */
    uint32_t order;
    unsigned char strictness;
};

/* A flat map: disjoint pieces, each with the payload of its winner; IPv4 and IPv6 apart, so ::/0
 * speaks for no IPv4 client. The arrays live where the builder put them. */
struct rangemap {
    uint32_t *index4; /* RANGEMAP_INDEX numbers, or NULL for a small map: [n] is how many pieces
                         begin before the n-th block of 65,536 addresses */
    uint32_t *first4; /* host order, ascending */
    uint32_t *value4; /* payload + 1, 0 = nobody */
    size_t count4;
    struct ip *first6;
    uint32_t *value6;
    size_t count6;
};

enum { RANGEMAP_NONE = -1, RANGEMAP_INDEX = 65537 };

/* Builds the map with malloc; items is sorted in place. Returns 0, or -1 when memory runs out (the
 * map is then empty). O(n log n) time, a transient heap of 8 bytes an item, and at most 2n+1
 * pieces. */
int rangemap_build(struct rangemap *map, struct rangemap_item *items, size_t count);

/* The payload of the winner, or RANGEMAP_NONE. No allocation, O(log n). */
int64_t rangemap_find(const struct rangemap *map, const struct ip *ip);

/* Frees what rangemap_build allocated. */
void rangemap_free(struct rangemap *map);

#endif
