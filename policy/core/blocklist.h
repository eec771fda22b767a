/* Who is blocked just now, until when and why. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_BLOCKLIST_H
#define SEKISHO_BLOCKLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/verdict.h"

/* Blocks are in force while steady < until; they stay for BLOCK_MEMORY_MS longer, so that the next
 * block of the same subject can be twice as long. Bounded: when it is full, the automatic block
 * that ends first makes room; one that was added by hand never does. */
enum { BLOCK_SUBJECT = 352, BLOCK_NOTE = 200 };
#define BLOCK_MEMORY_MS INT64_C(86400000)

struct blocklist; /* owns its memory; one caller at a time */

struct block {
    uint64_t key;                /* keyed hash of the subject, never 0 */
    char subject[BLOCK_SUBJECT]; /* client:192.0.2.1, identity:taro, relay:192.0.2.1: printable */
    int64_t since, until; /* wall clock, Unix ms, for people; until INT64_MAX = until lifted */
    int64_t until_steady; /* what counts; INT64_MAX = until lifted */
    unsigned strikes;     /* 1 for the first; each block within a day of the end of the last: +1 */
    bool by_hand;
    enum reason reason; /* why; REASON_NONE by hand */
    struct rule rule;   /* the row that led to it */
    uint64_t number;    /* the decision that did; 0 = none */
    char note[BLOCK_NOTE];
    int64_t row; /* block.id in state.db; 0 = not written yet */
};

struct blocklist *blocklist_new(size_t most);
void blocklist_free(struct blocklist *list);

/* The block in force for that key, or NULL. Valid until the list is changed. */
const struct block *blocklist_find(const struct blocklist *list, uint64_t key, int64_t steady);

/* How long a block of this subject would be now: seconds, doubled for each earlier block that ended
 * less than a day ago, at most `longest` (never below seconds' own first value capped by longest).
 * strikes (may be NULL) is the number it would have. */
int64_t blocklist_length(const struct blocklist *list, uint64_t key, int64_t seconds,
                         int64_t longest, int64_t steady, unsigned *strikes);

/* Puts it in force, in place of any other of that key (a block with row 0 takes its row over);
 * false when its key is 0, or there is no room or no memory and no automatic block to make room.
 * changed: shall it be written to state.db? */
bool blocklist_put(struct blocklist *list, const struct block *block, bool changed);
/* Forgets the key altogether, its strikes too; false if there was none. blocklist_sweep tells the
 * row. */
bool blocklist_remove(struct blocklist *list, uint64_t key);
/* Notes the row that state.db gave to a block that was written. If the block has gone meanwhile,
 * blocklist_sweep tells the row. */
void blocklist_written(struct blocklist *list, uint64_t key, int64_t row);

/* Copies up to room blocks that are to be written, and marks them as written. */
size_t blocklist_changed(struct blocklist *list, struct block *blocks, size_t room);
/* Marks all as to be written, as new rows: state.db was lost. */
void blocklist_touch(struct blocklist *list);
/* Forgets blocks whose memory is over. Tells the rows of state.db whose blocks are gone, forgotten
 * now or removed or pushed out before, each once, up to room a call; returns how many: as many as
 * room = call again. */
size_t blocklist_sweep(struct blocklist *list, int64_t steady, int64_t *rows, size_t room);
/* state.db could not be told: the block that blocklist_changed gave is to be written still, if it
 * is there; the row that blocklist_sweep gave is told once more. */
void blocklist_unwritten(struct blocklist *list, uint64_t key);
void blocklist_untold(struct blocklist *list, int64_t row);
/* The n-th block in no particular order; NULL after the last. */
const struct block *blocklist_at(const struct blocklist *list, size_t n);
size_t blocklist_count(const struct blocklist *list);

#endif
