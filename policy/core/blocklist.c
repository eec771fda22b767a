/* Who is blocked: a bounded table by key, and the rows that state.db shall lose. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/blocklist.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The blocks stand close together, the last fills the place of one that goes. When they end and
 * what is to be done with them stands apart in small arrays, so that looking for the one that ends
 * first reads a few octets of each. */

enum { CHUNK = 256 };
#define MOST ((size_t)1 << 30)
#define NONE SIZE_MAX

struct blocklist {
    size_t most, used;
    struct block **chunks; /* never moved when the list grows */
    size_t chunk_count;
    int64_t *ends;  /* until_steady of each */
    bool *by_hand;  /* of each */
    bool *to_write; /* of each: has changed since it was copied for state.db */
    size_t to_write_count;
    uint32_t *index; /* open addressing by key: place + 1, 0 = free; at most half full */
    size_t index_mask;
    unsigned index_shift;
    int64_t *gone; /* rows of state.db whose block is gone */
    size_t gone_count, gone_room;
};

static struct block *block_at(const struct blocklist *list, size_t place)
{
    return &list->chunks[place / CHUNK][place % CHUNK];
}

/* ---- the index ---- */

static size_t index_home(const struct blocklist *list, uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> list->index_shift);
}

/* Where the key stands in the index, or the free field where it would. */
static size_t index_find(const struct blocklist *list, uint64_t key)
{
    size_t at = index_home(list, key);
    while (list->index[at] != 0 && block_at(list, list->index[at] - 1)->key != key) {
        at = (at + 1) & list->index_mask;
    }
    return at;
}

static size_t place_find(const struct blocklist *list, uint64_t key)
{
    uint32_t found = list->index[index_find(list, key)];
    return found != 0 ? found - 1 : NONE;
}

/* Empties a field and moves up what had stepped aside for it. */
static void index_remove(struct blocklist *list, size_t hole)
{
    size_t mask = list->index_mask;
    for (size_t at = (hole + 1) & mask; list->index[at] != 0; at = (at + 1) & mask) {
        size_t home = index_home(list, block_at(list, list->index[at] - 1)->key);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            list->index[hole] = list->index[at];
            hole = at;
        }
    }
    list->index[hole] = 0;
}

/* ---- places ---- */

/* A row that is not noted here, for want of memory, is read once more at the next start. */
static void note_gone(struct blocklist *list, int64_t row)
{
    if (row == 0) {
        return;
    }
    if (list->gone_count == list->gone_room) {
        size_t room = list->gone_room > 0 ? 2 * list->gone_room : 64;
        int64_t *gone = realloc(list->gone, room * sizeof *gone);
        if (gone == NULL) {
            return;
        }
        list->gone = gone;
        list->gone_room = room;
    }
    list->gone[list->gone_count++] = row;
}

static void set_to_write(struct blocklist *list, size_t place, bool to_write)
{
    list->to_write_count += (size_t)to_write;
    list->to_write_count -= (size_t)list->to_write[place];
    list->to_write[place] = to_write;
}

static void place_clear(struct blocklist *list, size_t place)
{
    struct block *block = block_at(list, place);
    size_t last = list->used - 1;
    note_gone(list, block->row);
    set_to_write(list, place, false);
    index_remove(list, index_find(list, block->key));
    if (place != last) {
        list->index[index_find(list, block_at(list, last)->key)] = (uint32_t)place + 1;
        *block = *block_at(list, last);
        list->ends[place] = list->ends[last];
        list->by_hand[place] = list->by_hand[last];
        list->to_write[place] = list->to_write[last];
        list->to_write[last] = false;
    }
    list->used--;
}

/* Removes the automatic block that ends first; false if there is none. */
static bool make_room(struct blocklist *list)
{
    size_t first = NONE;
    for (size_t i = 0; i < list->used; i++) {
        if (!list->by_hand[i] && (first == NONE || list->ends[i] < list->ends[first])) {
            first = i;
        }
    }
    if (first != NONE) {
        place_clear(list, first);
    }
    return first != NONE;
}

/* Is there memory for one more? */
static bool can_grow(struct blocklist *list)
{
    if (list->used == list->most) {
        return false;
    }
    size_t chunk = list->used / CHUNK;
    if (list->chunks[chunk] == NULL) {
        list->chunks[chunk] = malloc(CHUNK * sizeof **list->chunks);
    }
    return list->chunks[chunk] != NULL;
}

/* ---- what the header says ---- */

struct blocklist *blocklist_new(size_t most)
{
    struct blocklist *list = calloc(1, sizeof *list);
    bool done = false;
    if (list == NULL) {
        goto out;
    }
    most = most < 1 ? 1 : most < MOST ? most : MOST;
    unsigned bits = 1;
    while (((size_t)1 << bits) < 2 * most) {
        bits++;
    }
    list->most = most;
    list->index_shift = 64 - bits;
    list->index_mask = ((size_t)1 << bits) - 1;
    list->chunk_count = (most + CHUNK - 1) / CHUNK;
    /* as large as they will ever be: pages nobody has touched cost nothing */
    list->index = calloc((size_t)1 << bits, sizeof *list->index);
    list->ends = calloc(most, sizeof *list->ends);
    list->by_hand = calloc(most, sizeof *list->by_hand);
    list->to_write = calloc(most, sizeof *list->to_write);
    list->chunks = calloc(list->chunk_count, sizeof *list->chunks);
    done = list->index != NULL && list->ends != NULL && list->by_hand != NULL &&
           list->to_write != NULL && list->chunks != NULL;
out:
    if (!done) {
        blocklist_free(list);
        list = NULL;
    }
    return list;
}

void blocklist_free(struct blocklist *list)
{
    if (list == NULL) {
        return;
    }
    for (size_t i = 0; list->chunks != NULL && i < list->chunk_count; i++) {
        free(list->chunks[i]);
    }
    free(list->chunks);
    free(list->index);
    free(list->ends);
    free(list->by_hand);
    free(list->to_write);
    free(list->gone);
    free(list);
}

const struct block *blocklist_find(const struct blocklist *list, uint64_t key, int64_t steady)
{
    size_t place = place_find(list, key);
    return place != NONE && steady < list->ends[place] ? block_at(list, place) : NULL;
}

static bool is_remembered(int64_t end, int64_t steady)
{
    return end > steady || steady - end < BLOCK_MEMORY_MS;
}

int64_t blocklist_length(const struct blocklist *list, uint64_t key, int64_t seconds,
                         int64_t longest, int64_t steady, unsigned *strikes)
{
    size_t place = place_find(list, key);
    unsigned strike = 1;
    if (place != NONE && is_remembered(list->ends[place], steady)) {
        unsigned before = block_at(list, place)->strikes;
        strike = before < UINT_MAX ? before + 1 : before;
    }
    if (strikes != NULL) {
        *strikes = strike;
    }
    for (unsigned i = 1; i < strike && seconds > 0 && seconds < longest; i++) {
        seconds = seconds <= longest / 2 ? 2 * seconds : longest;
    }
    return seconds < longest ? seconds : longest;
}

bool blocklist_put(struct blocklist *list, const struct block *block, bool changed)
{
    if (block->key == 0) {
        return false;
    }
    struct block copy = *block; /* it may be one of this list, whose place is about to change */
    size_t place = place_find(list, copy.key);
    if (place != NONE) {
        int64_t row = block_at(list, place)->row;
        if (copy.row == 0) {
            copy.row = row;
        } else if (copy.row != row) {
            note_gone(list, row);
        }
    } else {
        if (!can_grow(list) && !make_room(list)) {
            return false;
        }
        place = list->used++;
        list->index[index_find(list, copy.key)] = (uint32_t)place + 1;
    }
    copy.subject[BLOCK_SUBJECT - 1] = '\0';
    copy.note[BLOCK_NOTE - 1] = '\0';
    *block_at(list, place) = copy;
    list->ends[place] = copy.until_steady;
    list->by_hand[place] = copy.by_hand;
    set_to_write(list, place, changed);
    return true;
}

bool blocklist_remove(struct blocklist *list, uint64_t key)
{
    size_t place = place_find(list, key);
    if (place == NONE) {
        return false;
    }
    place_clear(list, place);
    return true;
}

void blocklist_written(struct blocklist *list, uint64_t key, int64_t row)
{
    size_t place = place_find(list, key);
    if (place == NONE) {
        note_gone(list, row); /* went while it was written */
        return;
    }
    struct block *block = block_at(list, place);
    if (block->row != row) {
        note_gone(list, block->row);
        block->row = row;
    }
}

size_t blocklist_changed(struct blocklist *list, struct block *blocks, size_t room)
{
    size_t copied = 0;
    for (size_t i = 0; i < list->used && copied < room && list->to_write_count > 0; i++) {
        if (list->to_write[i]) {
            blocks[copied++] = *block_at(list, i);
            set_to_write(list, i, false);
        }
    }
    return copied;
}

void blocklist_touch(struct blocklist *list)
{
    for (size_t i = 0; i < list->used; i++) {
        block_at(list, i)->row = 0;
        set_to_write(list, i, true);
    }
    list->gone_count = 0;
}

size_t blocklist_sweep(struct blocklist *list, int64_t steady, int64_t *rows, size_t room)
{
    size_t told = 0;
    for (size_t i = 0; i < list->used && list->gone_count < room;) {
        if (is_remembered(list->ends[i], steady)) {
            i++;
        } else {
            place_clear(list, i); /* another stands here now */
        }
    }
    while (told < room && list->gone_count > 0) {
        rows[told++] = list->gone[--list->gone_count];
    }
    return told;
}

void blocklist_unwritten(struct blocklist *list, uint64_t key)
{
    size_t place = place_find(list, key);
    if (place != NONE) {
        set_to_write(list, place, true);
    }
}

void blocklist_untold(struct blocklist *list, int64_t row)
{
    note_gone(list, row);
}

const struct block *blocklist_at(const struct blocklist *list, size_t n)
{
    return n < list->used ? block_at(list, n) : NULL;
}

size_t blocklist_count(const struct blocklist *list)
{
    return list->used;
}
