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
    struct book *book;
    struct keeper *keeper;
};

enum { RECIPIENTS_WITHOUT_POLICY = 1000 };

enum status engine_open(const char *policy_path, const char *state_path, keeper_tell *tell,
                        void *context, struct engine **opened, struct why *why)
{
    struct engine *engine = calloc(1, sizeof *engine);
    enum status status = STATUS_BROKEN;

    *opened = NULL;
    message_hash_start();
    if (engine == NULL || (engine->slot = slot_new()) == NULL ||
        (engine->book = book_new(&engine->sequence,
                                 (size_t)setting_kind(SETTING_KEYS_MOST)->number)) == NULL) {
        why_set(why, status, "no memory for the engine");
        goto out;
    }
    status = keeper_start(policy_path, state_path, engine->slot, &engine->sequence, engine->book,
                          tell, context, &engine->keeper, why);
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
        book_free(engine->book);
        slot_free(engine->slot);
        free(engine);
    }
}

void engine_look(struct engine *engine)
{
    keeper_look(engine->keeper);
}

void engine_probe(struct engine *engine)
{
    struct hold hold = slot_acquire(engine->slot);
    struct text empty = {"", 0}, recipient = {"<probe@probe.invalid>", 21};
    struct verdict verdict;
    struct facts facts;

    memset(&facts, 0, sizeof facts);
    facts.post = POST_MILTER;
    facts.client_name = facts.helo = facts.host = facts.login = facts.sender = empty;
    facts.recipient = recipient;
    book_probe(engine->book, &hold, &facts, &verdict);
    slot_release(engine->slot, hold);
}

int64_t engine_pulse(const struct engine *engine)
{
    return keeper_pulse(engine->keeper);
}

void engine_say(struct engine *engine, char sentence[KEEPER_SENTENCE])
{
    keeper_say(engine->keeper, sentence);
}

bool engine_message(struct engine *engine, struct message *message, const char *sender, size_t size)
{
    struct hold hold = slot_acquire(engine->slot);
    size_t most = hold.policy != NULL ? (size_t)policy_number(hold.policy, SETTING_RECIPIENTS_MOST)
                                      : RECIPIENTS_WITHOUT_POLICY;

    slot_release(engine->slot, hold);
    return message_begin(message, sender, size, most) == STATUS_OK;
}

/* An answer of ours without a judgement. */
static void speak(struct engine *engine, enum reason reason, struct judged *judged)
{
    struct hold hold = slot_acquire(engine->slot);

    memset(judged, 0, sizeof *judged);
    judged->generation = hold.generation;
    decide_nothing(reason, &judged->verdict);
    if (hold.policy != NULL && judged->verdict.action != ACTION_PASS) {
        snprintf(judged->help_url, sizeof judged->help_url, "%s",
                 policy_text(hold.policy, SETTING_HELP_URL));
    }
    slot_release(engine->slot, hold);
}

void engine_trouble(struct engine *engine, enum reason reason, struct judged *judged)
{
    speak(engine, reason, judged);
    book_trouble(engine->book, reason, moment_now(), judged);
}

void engine_end(struct engine *engine, const struct message *message, struct judged *judged)
{
    speak(engine, message->trapped ? REASON_SPAM_TRAP : REASON_PASS_LOCAL, judged);
    judged->number = message->trap_number;
}

void engine_over(struct engine *engine, struct message *message, enum outcome outcome,
                 const char *queue)
{
    /* most often there is no message to end, and the clocks are not asked */
    if (engine != NULL && message->start != NULL) {
        book_end(engine->book, message, outcome, queue, moment_now());
    }
    message_end(message);
}

void engine_rcpt(struct engine *engine, struct message *message, const struct question *question,
                 struct judged *judged)
{
    struct hold hold = slot_acquire(engine->slot);

    book_judge(engine->book, &hold, question, message, moment_now(), judged);
    slot_release(engine->slot, hold);
}
