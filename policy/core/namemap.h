/* From a name to the rows that carry it: sorted, bounded, no hashing to attack. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_NAMEMAP_H
#define SEKISHO_NAMEMAP_H

#include <stddef.h>
#include <stdint.h>

/* One entry of a name table: key is ended by NUL, in the form it is compared in. */
struct namemap_entry {
    const char *key;
    uint32_t payload; /* an index of the caller's */
    uint32_t order;   /* entries of one key keep this order */
    uint64_t prefix;  /* the key's first octets as a number, made by namemap_build: a search reads
                         a key only where they are equal */
};

/* A view of entries that the caller owns. */
struct namemap {
    const struct namemap_entry *entries;
    size_t count;
};

/* Entries of one key, side by side. */
struct namemap_span {
    const struct namemap_entry *entries;
    size_t count;
};

/* Sorts the entries in place and makes the view. */
void namemap_build(struct namemap *map, struct namemap_entry *entries, size_t count);

/* The entries of a key; count 0 when there is none. O(log n), no allocation. */
struct namemap_span namemap_find(const struct namemap *map, const char *key);

#endif
