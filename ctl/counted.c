/* What is counted against a session, as the daemon has written it down. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "counted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/decide.h"
#include "core/ledger.h"
#include "store/statedb_block.h"
#include "store/statedb_counter.h"

enum { KEYS = 1000 }; /* what the smallest ledger holds; a session has LIMITS_MOST at most */

struct reading {
    const struct policy *policy;
    struct counted *counted;
    struct ledger *ledger;
    int64_t clock, wall; /* the ledger's, and people's */
    struct ledger_key key[LIMITS_MOST];
    char subject[LIMITS_MOST][LEDGER_SUBJECT];
    char client[SUBJECT_TEXT], identity[SUBJECT_TEXT];
};

enum status counted_clock(struct statedb *db, int64_t wall, int64_t *clock, int64_t *written,
                          struct why *why)
{
    char text[64] = "";
    long long ledger = 0, at = 0;
    enum status status = statedb_value(db, "clock", text, sizeof text, why);

    *clock = -1;
    *written = 0;
    if (status == STATUS_OK && sscanf(text, "%lld %lld", &ledger, &at) == 2 && ledger >= 0) {
        int64_t since = wall > at ? wall - at : 0;
        *clock = ledger > INT64_MAX - since ? -1 : ledger + since;
    }
    if (status == STATUS_OK) {
        status = statedb_value(db, "counters_at", text, sizeof text, why);
    }
    if (status == STATUS_OK) {
        *written = strtoll(text, NULL, 10);
    }
    return status;
}

/* The rows that count one of the session's subjects, and the floors, into a ledger of our own. */
static bool take_counter(void *context, const struct ledger_row *row)
{
    struct reading *reading = context;
    struct usage *usage = &reading->counted->usage;
    bool wanted = row->place < 0;

    for (size_t i = 0; i < usage->limits && row->place >= 0; i++) {
        if (row->group == reading->key[i].group && row->seconds == reading->key[i].seconds &&
            strcmp(row->subject, reading->subject[i]) == 0) {
            reading->key[i].hash = row->hash;
            wanted = true;
        }
    }
    if (wanted) {
        ledger_restore(reading->ledger, row, reading->clock);
    }
    return true;
}

static bool take_block(void *context, const struct block *row)
{
    struct reading *reading = context;
    struct usage *usage = &reading->counted->usage;
    struct subjects subjects;
    char text[SUBJECT_TEXT];
    bool relay, by_wall = row->until_steady == STATEDB_BY_WALL;

    if ((by_wall ? row->until <= reading->wall : row->until_steady <= reading->clock) ||
        subject_parse(reading->policy, row->subject, &subjects, &relay, text, NULL) != STATUS_OK) {
        return true;
    }
    struct blocked blocked = {true, row->rule};
    if (relay && strcmp(text + 5, reading->client + 6) == 0) {
        usage->relay = blocked;
    } else if (!relay && strcmp(text, reading->client) == 0) {
        usage->client = blocked;
    } else if (!relay && strcmp(text, reading->identity) == 0) {
        usage->identity = blocked;
    }
    return true;
}

static enum status read_all(struct statedb *db, struct reading *reading, struct why *why)
{
    struct usage *usage = &reading->counted->usage;
    enum status status =
        counted_clock(db, reading->wall, &reading->clock, &reading->counted->written, why);

    if (status == STATUS_OK) {
        reading->clock = reading->clock < 0 ? 0 : reading->clock;
        status = statedb_counters(db, take_counter, reading, why);
    }
    if (status == STATUS_OK) {
        status = statedb_blocks(db, take_block, reading, why);
    }
    for (size_t i = 0; status == STATUS_OK && i < usage->limits; i++) {
        struct limit_use *use = &usage->limit[i];
        use->count = ledger_count(reading->ledger, &reading->key[i], reading->clock);
        if (use->asked && use->count >= use->limit.allowed && use->limit.allowed > 0) {
            use->wait = ledger_wait(reading->ledger, &reading->key[i], use->limit.allowed - 1,
                                    reading->clock);
        }
    }
    return status;
}

/* Whom the recipient counts for, and by which limits. */
static void find_limits(struct reading *reading, const struct facts *facts)
{
    struct counted *counted = reading->counted;
    struct judgement judgement;
    struct rule mode;
    char text[SUBJECT_TEXT];
    enum check_mode rate = policy_check_mode(reading->policy, CHECK_RATE, &mode);

    judgement_begin(reading->policy, facts, &judgement);
    policy_subjects(reading->policy, facts, judgement.kind, judgement.sender, &counted->subjects);
    if (counted->subjects.counted[SUBJECT_CLIENT]) {
        subject_text(&counted->subjects, SUBJECT_CLIENT, reading->client);
    }
    if (counted->subjects.counted[SUBJECT_IDENTITY]) {
        subject_text(&counted->subjects, SUBJECT_IDENTITY, reading->identity);
    }
    if (rate != MODE_OFF) {
        policy_limits_of(reading->policy, &counted->subjects, facts->post, judgement.local, NULL,
                         &counted->usage);
    }
    for (size_t i = 0; i < counted->usage.limits; i++) {
        const struct limit *limit = &counted->usage.limit[i].limit;
        reading->key[i] = (struct ledger_key){
            .hash = i + 1, /* until a row says another: that of nobody */
            .group = rate == MODE_OBSERVE ? ~limit->group : limit->group,
            .seconds = limit->seconds,
        };
        subject_text(&counted->subjects, policy_counts_for(judgement.kind, limit), text);
        ledger_subject(text, reading->subject[i]);
    }
}

enum status counted_read(const struct ctl *ctl, const struct policy *policy,
                         const struct facts *facts, struct counted *counted, struct why *why)
{
    struct reading *reading = calloc(1, sizeof *reading);
    struct statedb *db = NULL;
    enum status status = STATUS_BROKEN;

    memset(counted, 0, sizeof *counted);
    if (reading == NULL || (reading->ledger = ledger_new(KEYS, 1)) == NULL) {
        why_set(why, status, "no memory");
        goto out;
    }
    reading->policy = policy;
    reading->counted = counted;
    reading->wall = ctl->now.wall;
    if (access(ctl->state, F_OK) != 0) {
        status = why_set(why, STATUS_BUSY, "%.200s: not there", ctl->state);
        goto out;
    }
    status = statedb_open(ctl->state, STATEDB_READ, CTL_WAIT_MS, &db, NULL, why);
    if (status == STATUS_BUSY) {
        status = STATUS_BROKEN; /* there, but not to be read now */
    }
    if (status == STATUS_OK) {
        find_limits(reading, facts);
        status = read_all(db, reading, why);
    }
    if (status == STATUS_OK) {
        counted->known = true;
    } else {
        memset(&counted->usage, 0, sizeof counted->usage);
    }
out:
    statedb_close(db);
    if (reading != NULL) {
        ledger_free(reading->ledger);
    }
    free(reading);
    return status;
}

void counted_recorded(const struct policy *policy, const struct facts *facts,
                      const struct decision *decision, struct counted *counted)
{
    const struct limit_seen *seen = &decision->verdict.limit;
    struct usage *usage = &counted->usage;
    struct judgement judgement;
    struct usage limits;

    memset(counted, 0, sizeof *counted);
    counted->known = true;
    judgement_begin(policy, facts, &judgement);
    policy_subjects(policy, facts, judgement.kind, judgement.sender, &counted->subjects);
    struct blocked blocked = {true, decision->verdict.rule};
    switch (decision->verdict.reason) {
    case REASON_CLIENT_BLOCKED:
        usage->client = blocked;
        break;
    case REASON_IDENTITY_BLOCKED:
        usage->identity = blocked;
        break;
    case REASON_RELAY_SUSPENDED:
        usage->relay = blocked;
        break;
    default:
        break;
    }
    policy_limits_of(policy, &counted->subjects, facts->post, judgement.local, NULL, &limits);
    for (size_t i = 0; i < limits.limits; i++) {
        if (decision->verdict.check == CHECK_RATE && decision->verdict.action != ACTION_PASS &&
            limits.limit[i].limit.rule.row == seen->rule.row) {
            usage->limit[0] = limits.limit[i];
            usage->limit[0].count = seen->count;
            usage->limit[0].wait = seen->wait;
            usage->limits = 1;
        }
    }
}

char *counted_subject(const struct counted *counted, enum reason reason, char to[SUBJECT_TEXT])
{
    enum subject subject = reason == REASON_IDENTITY_BLOCKED ? SUBJECT_IDENTITY : SUBJECT_CLIENT;
    bool blocked = reason == REASON_IDENTITY_BLOCKED || reason == REASON_CLIENT_BLOCKED ||
                   reason == REASON_RELAY_SUSPENDED;

    to[0] = '\0';
    if (blocked && counted->subjects.counted[subject]) {
        subject_text(&counted->subjects, subject, to);
    }
    if (to[0] != '\0' && reason == REASON_RELAY_SUSPENDED && !counted->usage.client.blocked) {
        memmove(to + 5, to + 6, strlen(to + 6) + 1); /* client:IP as relay:IP */
        memcpy(to, "relay", 5);
    }
    return to;
}
