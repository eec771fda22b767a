/* The judgement: one recipient, by the checks in their order. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_DECIDE_H
#define SEKISHO_DECIDE_H

#include "core/facts.h"
#include "core/policy.h"
#include "core/usage.h"
#include "core/verdict.h"

/* The first half: what the facts mean under a policy, and what those checks say of them that look
 * at nothing counted. */
struct judgement {
    const struct policy *policy;
    const struct facts *facts;
    const struct usage *usage; /* set by judgement_end */
    const struct address *sender, *recipient;
    enum domain_kind recipient_domain;
    struct rule domain_rule; /* why the recipient is local */
    enum sender_kind kind;
    bool local;        /* the recipient is ours, and no route leads away from it */
    bool receive_only; /* the recipient receives from anybody */
    bool login;        /* somebody has authenticated, and is judged as that */
    bool client_host;
    bool window;     /* a stranger's client with a login window: */
    bool identified; /* login or window: facts->login is who sends */
    bool out_of_memory;
    struct rule client_host_rule;
    struct identity identity;
    struct address parsed[2]; /* where the facts bring none */
    struct trail_step
        said[CHECK_COUNT]; /* by the checks that look at nothing counted, where asked */
};

/* Reads the facts; judgement borrows them and must stay where it is. Looks only at its arguments,
 * allocates nothing (but what libidn2 needs for a domain that is not ASCII) and cannot fail. */
void judgement_begin(const struct policy *policy, const struct facts *facts,
                     struct judgement *judgement);
/* Judges, by what is counted against the recipient. May be called again with another usage. */
void judgement_end(struct judgement *judgement, const struct usage *usage, struct verdict *verdict);

/* Both halves. */
void decide(const struct policy *policy, const struct facts *facts, const struct usage *usage,
            struct verdict *verdict);

/* The verdict of something outside the order of judgement (REASON_NO_POLICY ...): action and codes
 * are those of the reason, the trail is empty. */
void decide_nothing(enum reason reason, struct verdict *verdict);

#endif
