/* What the book has on disk: journal to state.db, and counts and blocks back after a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_RECORDER_H
#define SEKISHO_RECORDER_H

#include "core/policy.h"
#include "core/status.h"
#include "live/book_keep.h"

/* Owns the journal of a state directory, which the caller holds for itself. */
struct recorder;

/* Reads the key of the hashes and the clock (made if they are not there), puts back into the book
 * the counters and blocks of state.db (blocks not without a policy) and what the records say,
 * attaches the journal. tell is told of damage.
 * Any other status than STATUS_OK: not now, try again later; nothing is attached then. So a
 * state.db that is locked or cannot be read at the start, or is of a newer sekisho, keeps the
 * daemon from permitting anything: it has counts that the journal has not. */
enum status recorder_open(const char *folder, const char *state_path, struct book *book,
                          const struct policy *policy, struct moment now,
                          void (*tell)(void *context, const char *sentence), void *context,
                          struct recorder **recorder, struct why *why);
/* Once a second: brings records to the disk and into state.db (made if it is not there; a damaged
 * one is set aside under a new name), writes a snapshot of the counters every ten seconds, prepares
 * room for more, lets the oldest records go that state.db has in decisions and counters when more
 * than ring_size are there or they are a day old, and removes decisions that are older than
 * retention, a few at a time. policy may be NULL. Any other status than STATUS_OK: something is in
 * the way; the book goes on in the room that is there, at most twice ring_size. */
enum status recorder_step(struct recorder *recorder, const struct policy *policy, struct moment now,
                          struct why *why);
/* Where the journal says that it has taken a segment (journal_wake); recorder_room prepares the
 * next (recorder_step does as well, and says what is in the way). NULL is allowed there. */
void recorder_wake(struct recorder *recorder, int file);
void recorder_room(struct recorder *recorder);
/* Detaches and closes; nothing is lost. NULL is allowed. */
void recorder_close(struct recorder *recorder);

#endif
