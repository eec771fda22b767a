/* From a name to the rows that carry it: sorted, bounded, no hashing to attack. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/namemap.h"

#include <stdlib.h>
#include <string.h>

/* The first eight octets, the first the highest; after the end all are 0. So numbers compare as
 * strcmp compares the texts, as far as they go. */
static uint64_t prefix_of(const char *key)
{
    uint64_t prefix = 0;

    for (int shift = 56; shift >= 0 && *key != '\0'; shift -= 8) {
        prefix |= (uint64_t)(unsigned char)*key++ << shift;
    }
    return prefix;
}

static int compare(uint64_t prefix, const char *key, const struct namemap_entry *entry)
{
    if (prefix != entry->prefix) {
        return prefix < entry->prefix ? -1 : 1;
    }
    return strcmp(key, entry->key);
}

static int by_key(const void *a, const void *b)
{
    const struct namemap_entry *x = a, *y = b;
    int difference = compare(x->prefix, x->key, y);
    if (difference == 0) {
        difference = x->order < y->order ? -1 : x->order > y->order;
    }
    return difference;
}

void namemap_build(struct namemap *map, struct namemap_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        entries[i].prefix = prefix_of(entries[i].key);
    }
    if (count > 0) {
        qsort(entries, count, sizeof *entries, by_key);
    }
    map->entries = entries;
    map->count = count;
}

struct namemap_span namemap_find(const struct namemap *map, const char *key)
{
    struct namemap_span span = {NULL, 0};
    uint64_t prefix = prefix_of(key);
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(prefix, key, &map->entries[middle]) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == map->count || compare(prefix, key, &map->entries[low]) != 0) {
        return span;
    }
    span.entries = &map->entries[low];
    while (low + span.count < map->count &&
           compare(prefix, key, &map->entries[low + span.count]) == 0) {
        span.count++;
    }
    return span;
}
