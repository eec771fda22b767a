/* Ledger, blocks and journal under one lock: ask, judge, charge, record; then answer. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_BOOK_H
#define SEKISHO_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/decision.h"
#include "core/policy_limit.h"
#include "live/message.h"
#include "live/sequence.h"
#include "live/slot.h"
#include "live/windows.h"

struct book;

/* Who has refused this recipient already, before we were asked. */
enum refused_by { REFUSED_BY_NOBODY, REFUSED_BY_MTA, REFUSED_BY_DOOR };

/* One recipient, as milter or door bring it. */
struct question {
    const struct facts *facts;
    const char *session, *queue; /* "" = unknown */
    enum refused_by refused;
    uint64_t resolved; /* by what the MTA merges recipients (message_resolved); 0 = it does not */
};

/* How one recipient was judged. */
struct judged {
    struct verdict verdict;
    uint64_t number;            /* the decision number; 0 when none can be given */
    uint64_t generation;        /* of the policy that judged; 0 = none */
    bool repeated;              /* an equal mailbox of this message has had this answer already */
    char blocked[SUBJECT_TEXT]; /* whom this decision has blocked; "" = nobody */
    char help_url[208];         /* "" when none is set */
    char window[WINDOW_LOGIN];  /* of KIND_WINDOW: whose login window the client has */
};

/* No journal yet: what needs a permission is deferred. NULL when memory runs out. sequence must
 * outlive it. */
struct book *book_new(struct sequence *sequence, size_t keys_most);
void book_free(struct book *book);

/* From here on nothing is recorded and no number given, and permissions are given all the same: for
 * whoever judges what has been judged already. Never of a daemon's book. */
void book_rehearse(struct book *book);

/* -- the SMTP path: any thread, allocates nothing (but as ledger.h and decide.h say) ----------- */

/* Judges one recipient by the policy held (policy NULL: none is in force), counts and records it.
 * message is NULL at the permit door.
 *
 * What passes is charged to the limits that ask for it, until the message is over (book_end). A
 * refusal is charged to limits on refusals when it is ours of address, sender, helo, relay or trap,
 * or the MTA's own: but not what a stranger with the null sender meets at the MTA or a trap (the
 * bounces of mail that somebody forged in our name), not what a block or a limit has said, and
 * nothing that a client or a login meets while blocked, at the door or before the check block. A
 * permission that cannot be recorded is not given; a refusal is, without a number. Where the check
 * rate is only observed, all counts are of a second kind, which never blocks anybody. What the door
 * has refused is neither recorded nor counted again, what it permits is recorded by the milter.
 *
 * A stranger whose client has a login window is judged as its login; nobody's, where the setting
 * login_window_seconds is 0. */
void book_judge(struct book *book, const struct hold *hold, const struct question *question,
                struct message *message, struct moment now, struct judged *judged);

/* Judges by the policy held as book_judge would if nothing were counted, waiting for the lock as it
 * does; counts and records nothing: whoever asks wants to know whether there is an answer. */
void book_probe(struct book *book, const struct hold *hold, const struct facts *facts,
                struct verdict *verdict);

/* Records an answer outside the judgement (REASON_INTERNAL_ERROR). */
void book_trouble(struct book *book, enum reason reason, struct moment now, struct judged *judged);

/* The message is over: what it was charged stays charged (OUTCOME_ACCEPTED) or is given back, and
 * its decisions get queue id and outcome. May be called any number of times, then message_end. */
void book_end(struct book *book, struct message *message, enum outcome outcome, const char *queue,
              struct moment now);

#endif
