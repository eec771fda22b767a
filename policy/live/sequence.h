/* Decision numbers: blocks of them are reserved on disk before one is given. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_SEQUENCE_H
#define SEKISHO_SEQUENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

/* Numbers from next up to limit - 1 are reserved by the file `sequence` in the state directory and
 * are this process's to give. */
struct sequence {
    atomic_uint_fast64_t next, limit;
};

/* Reserves another block when half of the last is used, or all when there was none: reads the file
 * (a missing one begins at 1) and its copy beside it, of which the higher counts, writes both anew,
 * synced and renamed, then raises the limit. One thread at a time. wall_ms is where numbering goes
 * on if the file cannot be understood: above anything that was ever given. STATUS_OK also when
 * nothing was to be done; why is set when STATUS_OK came after such a damage (otherwise its text is
 * ""). */
enum status sequence_reserve(struct sequence *sequence, const char *path, int64_t wall_ms,
                             struct why *why);

/* Is there a number to be had? */
bool sequence_ready(struct sequence *sequence);

/* The next number, or 0 when none is reserved. Any thread, no lock. */
uint64_t sequence_take(struct sequence *sequence);

#endif
