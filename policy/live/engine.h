/* Opened once by a daemon; one call per recipient. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_ENGINE_H
#define SEKISHO_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/status.h"
#include "core/verdict.h"
#include "live/keeper.h"
#include "live/message.h"

struct engine;

/* How one recipient was judged. */
struct judged {
    struct verdict verdict;
    uint64_t number;     /* the decision number; 0 when none can be given */
    uint64_t generation; /* of the policy that judged; 0 = none */
    bool repeated;       /* an equal mailbox of this message has had this answer already */
    char help_url[208];  /* "" when none is set */
};

/* Opens: reads the policy, reserves numbers, starts the keeper's thread. See keeper_start for what
 * is a failure and what is not. */
enum status engine_open(const char *policy_path, const char *state_path, keeper_tell *tell,
                        void *context, struct engine **engine, struct why *why);
void engine_close(struct engine *engine);

/* Looks at the policy now (SIGHUP). */
void engine_look(struct engine *engine);

/* A message begins (MAIL): room for its recipients is made here. False when there is no memory. */
bool engine_message(struct engine *engine, struct message *message);

/* Judges one recipient by the policy in force. message is NULL at the permit door. recorded: the
 * door has recorded its refusal of this recipient already, so a refusal gets no number again. Nor
 * does what the door permits: the milter records that. Allocates nothing, reads no file; any
 * thread. (What
 * libidn2 needs for a domain that is not ASCII is the one exception.) */
void engine_rcpt(struct engine *engine, struct message *message, const struct facts *facts,
                 bool recorded, struct judged *judged);

/* Judges the message itself at its end: refused, with the number of the decision that said so, if
 * it has met a trap. */
void engine_end(struct engine *engine, const struct message *message, struct judged *judged);

/* The answer to what is outside the judgement (REASON_INTERNAL_ERROR): numbered like any other. */
void engine_trouble(struct engine *engine, enum reason reason, struct judged *judged);

#endif
