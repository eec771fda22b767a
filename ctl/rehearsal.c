/* A policy judges once more what was recorded, with counts and blocks of its own. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "rehearsal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decide.h"
#include "core/policy_seal.h"
#include "live/book_keep.h"

enum { SWEEP_MS = 3600000 };

struct rehearsal {
    struct policy *policy;
    bool begun; /* the policy is that of a recorded time */
    struct sequence sequence;
    struct book *book;
    int64_t swept;
    struct message message[COURSE_MESSAGES];
};

enum status rehearsal_open(struct policy *policy, struct rehearsal **opened, struct why *why)
{
    struct rehearsal *rehearsal = calloc(1, sizeof *rehearsal);

    *opened = NULL;
    if (rehearsal == NULL) {
        policy_free(policy);
        return why_set(why, STATUS_BROKEN, "no memory to judge again");
    }
    rehearsal->policy = policy;
    message_hash_start();
    rehearsal->book =
        book_new(&rehearsal->sequence, (size_t)policy_number(policy, SETTING_KEYS_MOST));
    if (rehearsal->book == NULL) {
        rehearsal_close(rehearsal);
        return why_set(why, STATUS_BROKEN, "no memory to judge again");
    }
    book_rehearse(rehearsal->book);
    *opened = rehearsal;
    return STATUS_OK;
}

void rehearsal_close(struct rehearsal *rehearsal)
{
    if (rehearsal != NULL) {
        for (size_t i = 0; i < COURSE_MESSAGES; i++) {
            message_end(&rehearsal->message[i]);
        }
        book_free(rehearsal->book);
        policy_free(rehearsal->policy);
        free(rehearsal);
    }
}

const struct policy *rehearsal_policy(const struct rehearsal *rehearsal)
{
    return rehearsal->policy;
}

/* -- the rows in force then ------------------------------------------------------------------- */

static enum status follow_time(struct rehearsal *rehearsal, int64_t wall, struct why *why)
{
    struct policy *policy = NULL;

    /* also when the recorded clock was set back */
    if (rehearsal->begun && wall < policy_next_expiry(rehearsal->policy) &&
        wall >= policy_sealed_at(rehearsal->policy)) {
        return STATUS_OK;
    }
    enum status status = policy_reseal(rehearsal->policy, wall, &policy, why);
    if (status == STATUS_OK) {
        policy_free(rehearsal->policy);
        rehearsal->policy = policy;
        rehearsal->begun = true;
    }
    return status;
}

/* -- blocks by hand ---------------------------------------------------------------------------- */

/* A block that stands in the book for one decision, and what it has taken the place of. */
struct by_hand {
    bool put, instead;
    struct block block, before;
};

static void put_by_hand(struct rehearsal *rehearsal, const struct decision *decision,
                        struct moment now, struct by_hand *hand)
{
    enum reason reason = decision->verdict.reason;
    char subject[DECISION_TEXT + 16], client[IP_TEXT];
    struct why why;

    hand->put = hand->instead = false;
    if (decision->verdict.rule.table != TABLE_NONE) {
        return; /* the row's block: whether there is one now, its limit says */
    }
    if (reason == REASON_IDENTITY_BLOCKED) {
        snprintf(subject, sizeof subject, "identity:%s", decision->login.text.bytes);
    } else if (reason == REASON_CLIENT_BLOCKED || reason == REASON_RELAY_SUSPENDED) {
        ip_text(&decision->client, client);
        snprintf(subject, sizeof subject, "%s:%s",
                 reason == REASON_CLIENT_BLOCKED ? "client" : "relay", client);
    } else {
        return;
    }
    memset(&hand->block, 0, sizeof hand->block);
    if (book_block_key(rehearsal->book, rehearsal->policy, subject, &hand->block, &why) !=
        STATUS_OK) {
        return;
    }
    hand->block.since = now.wall;
    hand->block.until = hand->block.until_steady = INT64_MAX;
    hand->block.by_hand = true;
    hand->instead = book_block_find(rehearsal->book, hand->block.key, &hand->before);
    hand->put = book_block(rehearsal->book, &hand->block, false);
}

static void take_by_hand(struct rehearsal *rehearsal, const struct by_hand *hand)
{
    if (hand->put) {
        book_lift(rehearsal->book, hand->block.key);
        if (hand->instead) {
            book_block(rehearsal->book, &hand->before, false);
        }
    }
}

/* -- one decision ------------------------------------------------------------------------------ */

bool rehearsal_passes_over(const struct decision *decision)
{
    return decision->verdict.reason == REASON_NO_POLICY ||
           decision->verdict.reason == REASON_NO_RECORD ||
           decision->verdict.reason == REASON_INTERNAL_ERROR;
}

/* The login window of then is there now if the policy has windows and the client needs one. */
static void find_facts(const struct policy *policy, const struct decision *decision,
                       struct facts *facts)
{
    struct judgement judgement;

    decision_facts(decision, facts);
    if (decision->verdict.kind != KIND_WINDOW) {
        return;
    }
    facts->window = policy_number(policy, SETTING_LOGIN_WINDOW_SECONDS) > 0;
    if (facts->window) {
        judgement_begin(policy, facts, &judgement);
        facts->window = judgement.kind == KIND_WINDOW;
    }
    if (!facts->window) {
        facts->login = (struct text){"", 0};
    }
}

/* Who aborted what had been let through would do so again. Who went because all was refused would
 * have sent what is let through now; so would he whose message a trap had refused. */
static void end_message(struct rehearsal *rehearsal, struct message *message,
                        const struct course_step *step, struct moment now)
{
    enum outcome outcome = OUTCOME_ACCEPTED;

    if (message->trapped) {
        outcome = OUTCOME_REJECTED;
    } else if (step->stored.decision.outcome == OUTCOME_ABORTED && step->let_through) {
        outcome = OUTCOME_ABORTED;
    }
    book_end(rehearsal->book, message, outcome, "", now);
    message_end(message);
}

/* A mailbox that is there twice is of two messages: in one of them it is recorded once. */
static enum status begin_message(struct rehearsal *rehearsal, struct message *message,
                                 const struct course_step *step, const struct facts *facts,
                                 struct moment now, struct why *why)
{
    struct address recipient;

    address_parse(facts->recipient.bytes, facts->recipient.size, &recipient);
    if (message->start != NULL && message_knows(message, message_mailbox(&recipient))) {
        end_message(rehearsal, message, step, now);
    }
    if (message->start == NULL &&
        message_begin(message, facts->sender.bytes, facts->sender.size,
                      (size_t)policy_number(rehearsal->policy, SETTING_RECIPIENTS_MOST)) !=
            STATUS_OK) {
        return why_set(why, STATUS_BROKEN, "no memory for a message");
    }
    return STATUS_OK;
}

static void sweep(struct rehearsal *rehearsal, struct moment now)
{
    int64_t rows[64];

    if (now.steady - rehearsal->swept >= SWEEP_MS) {
        rehearsal->swept = now.steady;
        while (book_sweep(rehearsal->book, now, rows, 64) == 64) {
        }
    }
}

enum status rehearsal_judge(struct rehearsal *rehearsal, const struct course_step *step,
                            struct moment now, struct verdict *verdict, struct why *why)
{
    const struct decision *decision = &step->stored.decision;
    struct message *message = &rehearsal->message[step->message];
    struct judged judged;
    struct by_hand hand;
    struct facts facts;
    enum status status = follow_time(rehearsal, now.wall, why);

    if (status != STATUS_OK) {
        return status;
    }
    sweep(rehearsal, now);
    find_facts(rehearsal->policy, decision, &facts);
    struct hold hold = {rehearsal->policy, 1, NULL};
    struct question question = {&facts, "", "",
                                decision->mta_refused ? REFUSED_BY_MTA : REFUSED_BY_NOBODY, 0};
    put_by_hand(rehearsal, decision, now, &hand);
    if (facts.post == POST_DOOR) {
        book_judge(rehearsal->book, &hold, &question, NULL, now, &judged);
        *verdict = judged.verdict;
        facts.post = POST_MILTER;
        facts.not_for_mta = false;
    }
    if (decision->post == POST_MILTER || verdict->action == ACTION_PASS) {
        status = begin_message(rehearsal, message, step, &facts, now, why);
        if (status == STATUS_OK) {
            book_judge(rehearsal->book, &hold, &question, message, now, &judged);
            *verdict = judged.verdict;
        }
    }
    take_by_hand(rehearsal, &hand);
    if (step->last && message->start != NULL) {
        end_message(rehearsal, message, step, now);
    }
    return status;
}

void rehearsal_obey(struct rehearsal *rehearsal, const struct statedb_request *request,
                    struct moment now)
{
    struct block block;
    struct why why;
    size_t counts;

    if (strcmp(request->verb, "reset") == 0) {
        book_reset(rehearsal->book, rehearsal->policy, request->subject, now, &counts, &why);
    } else if (book_block_key(rehearsal->book, rehearsal->policy, request->subject, &block, &why) ==
               STATUS_OK) {
        book_lift(rehearsal->book, block.key);
    }
}
