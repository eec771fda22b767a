/* Opened once by a daemon; one call per recipient. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decide.h"
#include "live/moment.h"
#include "live/slot.h"

struct engine {
    struct slot *slot;
    struct sequence sequence;
    struct keeper *keeper;
};

enum { RECIPIENTS_WITHOUT_POLICY = 1000 };

enum status engine_open(const char *policy_path, const char *state_path, keeper_tell *tell,
                        void *context, struct engine **opened, struct why *why)
{
    struct engine *engine = calloc(1, sizeof *engine);
    enum status status = STATUS_BROKEN;

    *opened = NULL;
    if (engine == NULL || (engine->slot = slot_new()) == NULL) {
        why_set(why, status, "no memory for the engine");
        goto out;
    }
    message_hash_start();
    status = keeper_start(policy_path, state_path, engine->slot, &engine->sequence, tell, context,
                          &engine->keeper, why);
    if (status == STATUS_OK) {
        *opened = engine;
        engine = NULL;
    }
out:
    engine_close(engine);
    return status;
}

void engine_close(struct engine *engine)
{
    if (engine != NULL) {
        keeper_stop(engine->keeper);
        slot_free(engine->slot);
        free(engine);
    }
}

void engine_look(struct engine *engine)
{
    keeper_look(engine->keeper);
}

bool engine_message(struct engine *engine, struct message *message)
{
    struct hold hold = slot_acquire(engine->slot);
    size_t most = hold.policy != NULL ? (size_t)policy_number(hold.policy, SETTING_RECIPIENTS_MOST)
                                      : RECIPIENTS_WITHOUT_POLICY;

    slot_release(engine->slot, hold);
    return message_begin(message, most) == STATUS_OK;
}

/* Gives the number of a decision that will be recorded. A permission that nobody can account for is
 * not given. */
static void number_it(struct engine *engine, bool record, struct judged *judged)
{
    bool there = sequence_ready(&engine->sequence);

    if (record) {
        judged->number = sequence_take(&engine->sequence);
        there = judged->number != 0;
    }
    if (!there && judged->verdict.action == ACTION_PASS &&
        judged->verdict.reason != REASON_PASS_SUBMISSION) {
        decide_nothing(REASON_NO_RECORD, &judged->verdict);
    }
}

static void take_help_url(const struct policy *policy, struct judged *judged)
{
    if (policy != NULL) {
        snprintf(judged->help_url, sizeof judged->help_url, "%s",
                 policy_text(policy, SETTING_HELP_URL));
    }
}

/* An answer of ours without a judgement; number 0 is left out. */
static void speak(struct engine *engine, enum reason reason, struct judged *judged)
{
    struct hold hold = slot_acquire(engine->slot);

    memset(judged, 0, sizeof *judged);
    judged->generation = hold.generation;
    take_help_url(hold.policy, judged);
    decide_nothing(reason, &judged->verdict);
    slot_release(engine->slot, hold);
}

void engine_trouble(struct engine *engine, enum reason reason, struct judged *judged)
{
    speak(engine, reason, judged);
    number_it(engine, true, judged);
}

void engine_end(struct engine *engine, const struct message *message, struct judged *judged)
{
    speak(engine, message->trapped ? REASON_SPAM_TRAP : REASON_PASS_LOCAL, judged);
    judged->number = message->trap_number;
}

static void no_policy(const struct facts *facts, struct verdict *verdict)
{
    decide_nothing(facts->submission ? REASON_PASS_SUBMISSION : REASON_NO_POLICY, verdict);
    if (facts->submission) {
        verdict->kind = KIND_SUBMISSION;
    }
}

void engine_rcpt(struct engine *engine, struct message *message, const struct facts *facts,
                 bool recorded, struct judged *judged)
{
    static const struct usage usage;
    struct hold hold = slot_acquire(engine->slot);
    struct address recipient;
    uint64_t mailbox = 0;
    size_t most = message != NULL ? message->room : 0;

    memset(judged, 0, sizeof *judged);
    judged->generation = hold.generation;
    if (hold.policy != NULL) {
        size_t allowed = (size_t)policy_number(hold.policy, SETTING_RECIPIENTS_MOST);
        most = allowed < most ? allowed : most;
        take_help_url(hold.policy, judged);
    }
    if (message != NULL) {
        address_parse(facts->recipient.bytes, facts->recipient.size, &recipient);
        mailbox = message_mailbox(&recipient);
        if (message_recall(message, mailbox, &judged->verdict, &judged->number)) {
            judged->repeated = true;
            goto out;
        }
    }
    if (hold.policy == NULL) {
        no_policy(facts, &judged->verdict);
    } else if (message != NULL && message->count >= most && !facts->submission) {
        decide_nothing(REASON_TOO_MANY_RECIPIENTS, &judged->verdict);
    } else {
        decide(hold.policy, facts, &usage, &judged->verdict);
        if (message != NULL && message->trapped && judged->verdict.action == ACTION_PASS &&
            !facts->submission) {
            decide_nothing(REASON_SPAM_TRAP, &judged->verdict);
            judged->verdict.rule = message->trap_rule;
        }
    }
    number_it(engine, judged->verdict.action == ACTION_PASS ? facts->post != POST_DOOR : !recorded,
              judged);
    if (message != NULL) {
        if (judged->verdict.reason == REASON_SPAM_TRAP && !message->trapped) {
            message->trapped = true;
            message->trap_number = judged->number;
            message->trap_rule = judged->verdict.rule;
        }
        message_remember(message, mailbox, &judged->verdict, judged->number);
    }
out:
    slot_release(engine->slot, hold);
}
