/* Opened once by a daemon; one call per recipient. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_ENGINE_H
#define SEKISHO_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/status.h"
#include "core/verdict.h"
#include "live/book.h"
#include "live/keeper.h"
#include "live/message.h"

struct engine;

/* Opens: reads the policy, reserves numbers, starts the keeper's thread. See keeper_start for what
 * is a failure and what is not. */
enum status engine_open(const char *policy_path, const char *state_path, keeper_tell *tell,
                        void *context, struct engine **engine, struct why *why);
void engine_close(struct engine *engine);

/* Looks at the policy now (SIGHUP). */
void engine_look(struct engine *engine);

/* For a watchdog. engine_probe judges a recipient of its own and gives the answer to nobody: it
 * comes back if judgements come to an end. The others are keeper_pulse and keeper_say. */
void engine_probe(struct engine *engine);
int64_t engine_pulse(const struct engine *engine);
void engine_say(struct engine *engine, char sentence[KEEPER_SENTENCE]);

/* A message begins (MAIL), from this sender as it was typed: room for its recipients is made here.
 * False when there is no memory. */
bool engine_message(struct engine *engine, struct message *message, const char *sender,
                    size_t size);

/* Judges one recipient by the policy in force, counts and records it (book_judge). message is NULL
 * at the permit door. Allocates nothing, reads no file; any thread. (What libidn2 needs for a
 * domain that is not ASCII is the one exception.) */
void engine_rcpt(struct engine *engine, struct message *message, const struct question *question,
                 struct judged *judged);

/* Judges the message itself at its end: refused, with the number of the decision that said so, if
 * it has met a trap. */
void engine_end(struct engine *engine, const struct message *message, struct judged *judged);

/* The message is over, one way or another (book_end), and forgotten. May be called at any time. */
void engine_over(struct engine *engine, struct message *message, enum outcome outcome,
                 const char *queue);

/* The answer to what is outside the judgement (REASON_INTERNAL_ERROR): numbered like any other. */
void engine_trouble(struct engine *engine, enum reason reason, struct judged *judged);

#endif
