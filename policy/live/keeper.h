/* The thread that keeps the policy fresh: the only one of the daemon that touches SQLite. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_KEEPER_H
#define SEKISHO_KEEPER_H

#include "core/status.h"
#include "live/book.h"
#include "live/sequence.h"
#include "live/slot.h"

/* Whom the keeper tells what it does: priority as syslog(3) has it (LOG_ERR ...). */
typedef void keeper_tell(void *context, int priority, const char *sentence);

struct keeper;

/* Looks once (policy.db, else the last good one of the state directory), reserves numbers, then
 * starts the thread. The state directory is made if its parent is there. Returns STATUS_BAD when
 * another process holds the state directory; a missing or bad policy, or a state directory that
 * cannot be written, is no failure: the keeper tells it and goes on trying. slot, sequence and book
 * must outlive it. */
enum status keeper_start(const char *policy_path, const char *state_path, struct slot *slot,
                         struct sequence *sequence, struct book *book, keeper_tell *tell,
                         void *context, struct keeper **keeper, struct why *why);
/* Looks at the policy now. Any thread. */
void keeper_look(struct keeper *keeper);
/* When the thread last went round (steady clock, ms): at least once a second but while a large
 * policy is read. Any thread. */
int64_t keeper_pulse(const struct keeper *keeper);
/* What is in force and what is wrong, as one printable sentence. Any thread. */
enum { KEEPER_SENTENCE = 1024 };
void keeper_say(struct keeper *keeper, char sentence[KEEPER_SENTENCE]);
void keeper_stop(struct keeper *keeper);

#endif
