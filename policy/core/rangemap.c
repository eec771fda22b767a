/* From an address to the narrowest range that holds it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/rangemap.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_FROM = 8192 }; /* pieces; fewer are found as fast without an index of 256 KB */

/* The map is made by one sweep over the ranges in the order of their first addresses. A heap keeps
 * the ranges that are open at the sweep's place, the winner on top; what has ended is taken out
 * only when it comes to the top. A piece begins wherever the winner changes. */

struct sweep {
    const struct rangemap_item *items;
    uint32_t *heap;
    size_t open;
};

static int item_rank(const struct rangemap_item *a, const struct rangemap_item *b)
{
    struct ip width_a = range_width(&a->range), width_b = range_width(&b->range);
    int difference = ip_compare(&width_a, &width_b);
    if (difference == 0) {
        difference = (int)b->strictness - (int)a->strictness;
    }
    if (difference == 0) {
        difference = a->order < b->order ? -1 : 1;
    }
    return difference;
}

static bool heap_before(const struct sweep *sweep, size_t a, size_t b)
{
    return item_rank(&sweep->items[sweep->heap[a]], &sweep->items[sweep->heap[b]]) < 0;
}

static void heap_swap(struct sweep *sweep, size_t a, size_t b)
{
    uint32_t kept = sweep->heap[a];
    sweep->heap[a] = sweep->heap[b];
    sweep->heap[b] = kept;
}

static void heap_push(struct sweep *sweep, uint32_t item)
{
    size_t at = sweep->open++;
    sweep->heap[at] = item;
    while (at > 0 && heap_before(sweep, at, (at - 1) / 2)) {
        heap_swap(sweep, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void heap_pop(struct sweep *sweep)
{
    size_t at = 0;
    sweep->heap[0] = sweep->heap[--sweep->open];
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < sweep->open; child++) {
            if (heap_before(sweep, child, least)) {
                least = child;
            }
        }
        if (least == at) {
            return;
        }
        heap_swap(sweep, at, least);
        at = least;
    }
}

static int by_first(const void *a, const void *b)
{
    const struct rangemap_item *x = a, *y = b;
    int difference = ip_compare(&x->range.first, &y->range.first);
    if (difference == 0) {
        difference = x->order < y->order ? -1 : x->order > y->order;
    }
    return difference;
}

/* The next address; false after the last of all. */
static bool ip_next(struct ip *ip)
{
    for (int i = 15; i >= 0; i--) {
        if (++ip->byte[i] != 0) {
            return true;
        }
    }
    return false;
}

static void piece_begin(struct rangemap *map, bool ipv4, const struct ip *at, uint32_t value)
{
    if (ipv4) {
        uint32_t last = map->count4 > 0 ? map->value4[map->count4 - 1] : 0;
        uint32_t first = ip_ipv4_number(at);
        if (map->count4 > 0 && map->first4[map->count4 - 1] == first) {
            map->value4[map->count4 - 1] = value;
        } else if (last != value) {
            map->first4[map->count4] = first;
            map->value4[map->count4++] = value;
        }
    } else {
        uint32_t last = map->count6 > 0 ? map->value6[map->count6 - 1] : 0;
        if (map->count6 > 0 && ip_compare(&map->first6[map->count6 - 1], at) == 0) {
            map->value6[map->count6 - 1] = value;
        } else if (last != value) {
            map->first6[map->count6] = *at;
            map->value6[map->count6++] = value;
        }
    }
}

/* Closes what ends before `before` (everything, when it is NULL) and begins the pieces in between.
 */
static void sweep_until(struct sweep *sweep, struct rangemap *map, bool ipv4,
                        const struct ip *before)
{
    while (sweep->open > 0) {
        struct ip end = sweep->items[sweep->heap[0]].range.last;
        if (before != NULL && ip_compare(&end, before) >= 0) {
            return;
        }
        while (sweep->open > 0 && ip_compare(&sweep->items[sweep->heap[0]].range.last, &end) <= 0) {
            heap_pop(sweep);
        }
        if (!ip_next(&end) || (ipv4 && !ip_is_ipv4(&end))) {
            return;
        }
        piece_begin(map, ipv4, &end,
                    sweep->open > 0 ? sweep->items[sweep->heap[0]].payload + 1 : 0);
    }
}

static void sweep_family(struct sweep *sweep, struct rangemap *map, bool ipv4, size_t count)
{
    sweep->open = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ip *first = &sweep->items[i].range.first;
        if (ip_is_ipv4(first) != ipv4) {
            continue;
        }
        sweep_until(sweep, map, ipv4, first);
        heap_push(sweep, (uint32_t)i);
        piece_begin(map, ipv4, first, sweep->items[sweep->heap[0]].payload + 1);
    }
    sweep_until(sweep, map, ipv4, NULL);
}

/* Gives back what the guess of 2n + 1 pieces was too much; a failure to shrink does no harm. */
static void *shrink(void *block, size_t size)
{
    void *smaller = realloc(block, size > 0 ? size : 1);
    return smaller != NULL ? smaller : block;
}

static void fill_index(struct rangemap *map)
{
    size_t piece = 0;

    for (uint32_t block = 0; block < RANGEMAP_INDEX; block++) {
        while (piece < map->count4 && map->first4[piece] >> 16 < block) {
            piece++;
        }
        map->index4[block] = (uint32_t)piece;
    }
}

int rangemap_build(struct rangemap *map, struct rangemap_item *items, size_t count)
{
    struct sweep sweep = {.items = items};
    size_t count4 = 0;
    int answer = -1;

    memset(map, 0, sizeof *map);
    if (count == 0) {
        return 0;
    }
    if (count > UINT32_MAX / 2) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        count4 += ip_is_ipv4(&items[i].range.first);
    }
    size_t pieces4 = 2 * count4 + 1, pieces6 = 2 * (count - count4) + 1;
    qsort(items, count, sizeof *items, by_first);
    sweep.heap = malloc(count * sizeof *sweep.heap);
    map->first4 = malloc(pieces4 * sizeof *map->first4);
    map->value4 = malloc(pieces4 * sizeof *map->value4);
    map->first6 = malloc(pieces6 * sizeof *map->first6);
    map->value6 = malloc(pieces6 * sizeof *map->value6);
    if (sweep.heap == NULL || map->first4 == NULL || map->value4 == NULL || map->first6 == NULL ||
        map->value6 == NULL) {
        goto out;
    }
    sweep_family(&sweep, map, true, count);
    sweep_family(&sweep, map, false, count);
    map->first4 = shrink(map->first4, map->count4 * sizeof *map->first4);
    map->value4 = shrink(map->value4, map->count4 * sizeof *map->value4);
    map->first6 = shrink(map->first6, map->count6 * sizeof *map->first6);
    map->value6 = shrink(map->value6, map->count6 * sizeof *map->value6);
    if (map->count4 >= INDEX_FROM) {
        map->index4 = malloc(RANGEMAP_INDEX * sizeof *map->index4);
        if (map->index4 == NULL) {
            goto out;
        }
        fill_index(map);
    }
    answer = 0;
out:
    free(sweep.heap);
    if (answer != 0) {
        rangemap_free(map);
    }
    return answer;
}

int64_t rangemap_find(const struct rangemap *map, const struct ip *ip)
{
    size_t low = 0, high;
    uint32_t value = 0;

    if (ip_is_ipv4(ip)) {
        uint32_t key = ip_ipv4_number(ip);
        high = map->count4;
        if (map->index4 != NULL) {
            low = map->index4[key >> 16];
            high = map->index4[(key >> 16) + 1];
        }
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (map->first4[middle] <= key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        value = low > 0 ? map->value4[low - 1] : 0;
    } else {
        high = map->count6;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (ip_compare(&map->first6[middle], ip) <= 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        value = low > 0 ? map->value6[low - 1] : 0;
    }
    return value == 0 ? RANGEMAP_NONE : (int64_t)value - 1;
}

void rangemap_free(struct rangemap *map)
{
    free(map->index4);
    free(map->first4);
    free(map->value4);
    free(map->first6);
    free(map->value6);
    memset(map, 0, sizeof *map);
}
