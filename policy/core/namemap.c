/* From a name to the rows that carry it: sorted, bounded, no hashing to attack. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/namemap.h"

#include <stdlib.h>
#include <string.h>

static int by_key(const void *a, const void *b)
{
    const struct namemap_entry *x = a, *y = b;
    int difference = strcmp(x->key, y->key);
    if (difference == 0) {
        difference = x->order < y->order ? -1 : x->order > y->order;
    }
    return difference;
}

void namemap_build(struct namemap *map, struct namemap_entry *entries, size_t count)
{
    if (count > 0) {
        qsort(entries, count, sizeof *entries, by_key);
    }
    map->entries = entries;
    map->count = count;
}

struct namemap_span namemap_find(const struct namemap *map, const char *key)
{
    struct namemap_span span = {NULL, 0};
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(map->entries[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == map->count || strcmp(map->entries[low].key, key) != 0) {
        return span;
    }
    span.entries = &map->entries[low];
    while (low + span.count < map->count && strcmp(map->entries[low + span.count].key, key) == 0) {
        span.count++;
    }
    return span;
}
